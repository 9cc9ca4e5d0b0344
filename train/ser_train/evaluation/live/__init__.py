"""Measure models through the live engine."""
