"""What a live loop gives: one record per block, and the account of all."""

from dataclasses import dataclass

from ser_live.events import Event
from ser_live.latency import RecognizerStats, StageLatency
from ser_live.prediction import Prediction
from ser_live.sources.contract import SourceCounters

_FULL_SCALE = 1.0 - 2.0**-15


@dataclass(frozen=True, slots=True)
class LiveStep:
    """What one block of the source brought."""

    items: tuple[Prediction | Event, ...]
    """What became due and what happened, in the order of the stream: none, one or many."""
    peak: float
    """Largest absolute sample; 1 is full scale."""
    rms: float
    """Root of the mean square of all samples."""
    seconds: float
    """Length of the stream up to here."""

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The predictions among the items."""
        return tuple(item for item in self.items if isinstance(item, Prediction))

    @property
    def events(self) -> tuple[Event, ...]:
        """The events among the items."""
        return tuple(item for item in self.items if isinstance(item, Event))

    @property
    def is_clipping(self) -> bool:
        """Samples reach full scale."""
        return self.peak >= _FULL_SCALE


@dataclass(frozen=True, slots=True)
class LiveStats:
    """What a live loop has done up to now."""

    recognizer: RecognizerStats
    source: SourceCounters
    stages: tuple[StageLatency, ...]
    """queue (capture to the loop), the recognizer's stages and total, lag (capture to
    prediction); queue and lag are counted where the source knows capture times."""
    replaced_samples: int
    """NaN or infinite samples that became zero."""
    degraded: int
    """Predictions with a gap, an overrun or replaced samples in their window."""
    skipped_predictions: int
    """Predictions that were too old when their turn came, and were left out (policy latest)."""
    missing_seconds: float
    """Length of all gaps on the timeline."""
