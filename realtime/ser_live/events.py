"""Events beside the predictions: one frozen record each."""

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
    "input_channels",
    "input_format",
    "input_narrow_band",
    "hop_changed",
    "model_swapped",
    "draining",
]


@dataclass(frozen=True, slots=True)
class Event:
    """An event that a user of the stream should know of.

    Examples
    --------
    >>> from ser_live import Event, listen
    >>> items = list(listen("talk.wav", events=True))
    >>> [item.kind for item in items if isinstance(item, Event)]  # nothing is wrong with it
    []
    """

    kind: EventKind
    """Kind of the event."""
    at_seconds: float
    """Time on the stream's own clock."""
    detail: str
    """One sentence: the consequence, and what to do."""

    def to_dict(self) -> dict[str, object]:
        """Return the record as plain JSON values: the line that ``ser-live --events`` prints."""
        return {"event": self.kind, "at_seconds": self.at_seconds, "detail": self.detail}


def in_order(
    predictions: Iterable[Prediction], events: Iterable[Event]
) -> list[Prediction | Event]:
    """Return predictions and events in the order of the stream; predictions first at one time."""
    return sorted(
        (*predictions, *events),
        key=lambda item: item.at_seconds if isinstance(item, Event) else item.end_seconds,
    )
