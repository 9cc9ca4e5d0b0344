"""Predictions, segments and events in files that other programs read."""

from ser_live.output.files import Outputs, check_outputs
from ser_live.output.formats import json_record

__all__ = ["Outputs", "check_outputs", "json_record"]
