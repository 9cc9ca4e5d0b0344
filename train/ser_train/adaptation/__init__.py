"""Adapt a trained model to other speakers or labels."""
