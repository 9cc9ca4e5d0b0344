"""Turn samples into predictions."""
