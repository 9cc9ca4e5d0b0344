"""Measure speed and memory: ``ser-bench``."""
