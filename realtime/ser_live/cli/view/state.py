"""Everything that one frame of the live view shows."""

from dataclasses import dataclass
from typing import Literal

from ser_live.events import Event
from ser_live.live.listener import LiveStats
from ser_live.prediction import Prediction

TIMELINE_SECONDS = 60.0
"""How far back a frame looks."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the timeline."""

    start_seconds: float
    end_seconds: float
    prediction: Prediction | None
    """What was recognized; None: a hole, nobody has this audio."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is nothing to recognize just now."""

    kind: Literal["device_lost", "input_silent", "no_audio"]
    seconds: float
    """How long that has gone on."""
    detail: str
    """What the event said; empty without one."""


@dataclass(frozen=True, slots=True)
class ViewState:
    """Everything that one frame shows."""

    source: str
    """Name of the source."""
    format: str
    """Rate and channels in words."""
    model: str
    """Name of the model."""
    hop_seconds: float
    """From one prediction to the next."""
    is_hop_widened: bool
    """More than asked for, to save time."""
    warm_up_seconds: float
    """Speech before the first answer."""
    notice: str
    """A sentence that must not be overlooked, or nothing."""
    is_recording: bool
    """What is heard is kept on disk."""
    note: str
    """The latest of what the source wants a person to know, or nothing."""
    labels: tuple[str, ...]
    prediction: Prediction | None
    """The latest one; None before the first and just after a hole."""
    seconds: float
    """Length of the stream; goes on while the device is away."""
    held_seconds: float
    """How long the present label or state has held."""
    timeline: tuple[Stretch, ...]
    """The last minute."""
    trouble: Trouble | None
    """Why there is nothing to recognize; None while there is."""
    behind_seconds: float
    """Audio that waits, if that is more than usual; else 0."""
    news: Event | None
    """The event to tell of now."""
    news_seconds: float
    """For how long it has been told."""
    events: tuple[Event, ...]
    """The latest ones, the newest first."""
    rms_dbfs: float
    """Level of the last moment."""
    peak_dbfs: float
    is_clipping: bool
    """Samples have reached full scale lately."""
    stats: LiveStats

    @property
    def away_seconds(self) -> float:
        """How long the device has been away."""
        is_away = self.trouble is not None and self.trouble.kind == "device_lost"
        return self.trouble.seconds if self.trouble is not None and is_away else 0.0
