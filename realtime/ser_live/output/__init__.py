"""Predictions, segments and events in files that other programs read."""

from ser_live.output.files import OutputFile, Outputs, check_outputs
from ser_live.output.formats import Format, Record, format_of

__all__ = ["Format", "OutputFile", "Outputs", "Record", "check_outputs", "format_of"]
