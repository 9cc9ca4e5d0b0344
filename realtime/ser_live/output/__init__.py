"""Predictions, segments and events in files that other programs read."""

from ser_live.output.files import Outputs, check_outputs

__all__ = ["Outputs", "check_outputs"]
