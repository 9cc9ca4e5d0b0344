"""What happens beside the predictions: one frozen record per event."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ser_live.prediction import Prediction

EventKind = Literal[
    "device_lost",
    "device_restored",
    "gap",
    "overload",
    "input_silent",
    "input_clipping",
    "input_offset",
    "hop_changed",
    "model_swapped",
]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a user of the stream should know."""

    kind: EventKind
    """What it is."""
    at_seconds: float
    """When, on the stream's own clock."""
    detail: str
    """One sentence: what came of it, what to do."""

    def to_dict(self) -> dict[str, object]:
        """Give the record as plain JSON values: the line that ``ser-live --events`` prints."""
        return {"event": self.kind, "at_seconds": self.at_seconds, "detail": self.detail}


def in_order(
    predictions: Iterable[Prediction], events: Iterable[Event]
) -> list[Prediction | Event]:
    """Return predictions and events in the order of the stream; predictions first at one time."""
    return sorted(
        (*predictions, *events),
        key=lambda item: item.at_seconds if isinstance(item, Event) else item.end_seconds,
    )
