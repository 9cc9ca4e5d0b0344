"""Measure an exported model as it runs: on a stream, and in bad conditions."""
