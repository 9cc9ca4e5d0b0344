"""Remedies for recognition or readers that are too slow: leave out, or recognize less often."""

from typing import Literal

from ser_live.errors import SerError
from ser_live.prediction import Prediction
from ser_live.sources.contract import Source, SourceCounters

Policy = Literal["latest", "block", "error"]

_STALE_SECONDS = 1.0
_LATE_SECONDS = 2.0
_SLOW_SHARE = 0.5
_WIDEST_HOPS = 8
_SPAN_SECONDS = 4.0
_CALM_SECONDS = 10.0
_MARGIN = 0.7


class Backpressure:
    """Policy for predictions and audio that are too old to be of use.

    Parameters
    ----------
    source : Source
        Audio waits there.
    policy : str or None
        As in `ser_live.listen`.
    """

    def __init__(self, source: Source, policy: Policy | None) -> None:
        if policy not in (None, "latest", "block", "error"):
            raise SerError(f"policy is {policy!r}, wanted latest, block or error")
        self.source = source
        self.policy: Policy = policy or ("latest" if source.is_live else "block")
        self.work_share = 0.0  # seconds of recognition per second of audio, lately
        self.skipped_predictions = 0
        self.notice = ""
        """A sentence where being late has just begun or ended."""
        self._skipped_before: int | None = None
        self._told = SourceCounters()

    def require_no_loss(self) -> None:
        """Raise SerError with policy "error", if audio was lost."""
        if self.policy == "error" and (dropped_frames := self.source.counters.dropped):
            raise SerError(
                f"{self.source.name}: {dropped_frames} frames were lost because predictions "
                "were not taken in time; take them faster, or use policy 'latest'"
            )

    def keep(self, predictions: list[Prediction], hop_seconds: float) -> list[Prediction]:
        """Return the predictions that are not too old."""
        self.notice = ""
        if self.policy != "latest":
            return predictions
        # The frames that wait tell how late the loop is, also of a source without capture times.
        late_seconds = self.source.counters.buffered / self.source.sample_rate_hz
        self._judge(late_seconds)
        if late_seconds <= _STALE_SECONDS:
            return predictions
        # Audio is dropped only where recognition cannot catch up; a reader that slept once can.
        if self.work_share > _SLOW_SHARE and late_seconds > _LATE_SECONDS:
            self.source.skip_to_newest(hop_seconds)
        self.skipped_predictions += len(predictions)
        return []

    def keep_before_gap(
        self, predictions: list[Prediction], gap_seconds: float
    ) -> list[Prediction]:
        """Return the predictions that are not too old though a gap follows them.

        They have waited for as long as it is, whatever made it.
        """
        if self.policy != "latest" or gap_seconds <= _STALE_SECONDS:
            return predictions
        self.skipped_predictions += len(predictions)
        return []

    def reason_of_drop(self) -> str:
        """Return a sentence on why audio was dropped since the last call; empty if none was."""
        told, self._told = self._told, self.source.counters
        dropped = {
            "that the buffer had no room for": self._told.dropped_overrun - told.dropped_overrun,
            "to be back at the present": self._told.dropped_stale - told.dropped_stale,
            "while this process stood still": self._told.dropped_capture - told.dropped_capture,
        }
        rate_hz = self.source.sample_rate_hz
        parts = [f"{n / rate_hz:.1f} s {reason}" for reason, n in dropped.items() if n]
        return f"audio was dropped: {', '.join(parts)}" if parts else ""

    def _judge(self, late_seconds: float) -> None:
        if self._skipped_before is None and late_seconds > _STALE_SECONDS:
            self._skipped_before = self.skipped_predictions  # to tell the number at the end
            self.notice = (
                f"{late_seconds:.1f} s of audio wait; predictions older than that are left out"
            )
        elif self._skipped_before is not None and late_seconds < _STALE_SECONDS / 2.0:  # no flutter
            skipped = self.skipped_predictions - self._skipped_before
            self._skipped_before = None
            self.notice = f"caught up; {skipped} predictions were left out"


class HopController:
    """Number of hops per prediction, by the cost of recognition.

    The cost is measured over stretches of four seconds of audio. Above the budget the hop
    doubles; it halves again when twice the cost has stayed well below the budget for a while.

    Parameters
    ----------
    budget : float
        Share of the processor time of one core that recognition may take, above 0.
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.hops_per_prediction = 1
        self.share = 0.0
        self._cost_seconds = 0.0
        self._audio_seconds = 0.0
        self._calm_seconds = 0.0

    def process(self, cost_seconds: float, audio_seconds: float) -> bool:
        """Count the processor time of some audio; return True if the hop changed."""
        self._cost_seconds += cost_seconds
        self._audio_seconds += audio_seconds
        if self._audio_seconds < _SPAN_SECONDS:
            return False
        self.share = self._cost_seconds / self._audio_seconds
        passed_seconds, before = self._audio_seconds, self.hops_per_prediction
        self._cost_seconds = self._audio_seconds = 0.0
        self._calm_seconds += passed_seconds
        # Half the hop costs twice as much: without a margin it would widen again at once.
        if self.share > _MARGIN * self.budget / 2.0:
            self._calm_seconds = 0.0
        if self.share > self.budget:
            self.hops_per_prediction = min(2 * before, _WIDEST_HOPS)
        elif self._calm_seconds >= _CALM_SECONDS and before > 1:
            self.hops_per_prediction = before // 2
            self._calm_seconds = 0.0
        return self.hops_per_prediction != before
