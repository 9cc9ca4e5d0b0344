"""Measure and calibrate trained networks."""
