"""Tiny model files and sounds; the maker is the public one."""

from ser_live.testing import speech_like
from ser_live.testing.models import (
    TINY_LABELS as LABELS,
)
from ser_live.testing.models import (
    tiny_card,
    tiny_graph,
    with_golden,
    write_graph,
)
from ser_live.testing.models import (
    write_tiny_model as write_model,
)

__all__ = [
    "LABELS",
    "speech_like",
    "tiny_card",
    "tiny_graph",
    "with_golden",
    "write_graph",
    "write_model",
]
