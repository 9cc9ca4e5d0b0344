"""What is done about a reader that is too slow, and what that costs."""

from typing import Literal

from ser_live.errors import SerError
from ser_live.prediction import Prediction
from ser_live.sources.contract import Source

Policy = Literal["latest", "block", "error"]

_STALE_SECONDS = 1.0
_LATE_SECONDS = 2.0
_SLOW_SHARE = 0.5


class Backlog:
    """Leave out what is too old to be of use, by a policy.

    Parameters
    ----------
    source : Source
        Where audio waits.
    policy : str or None
        As in `ser_live.listen`.
    """

    def __init__(self, source: Source, policy: Policy | None) -> None:
        if policy not in (None, "latest", "block", "error"):
            raise SerError(f"policy is {policy!r}, wanted latest, block or error")
        self.source = source
        self.policy: Policy = policy or ("latest" if source.is_live else "block")
        self.reset()

    def reset(self) -> None:
        """Forget what was late: as new."""
        self.work_share = 0.0  # seconds of recognition per second of audio, lately
        self.skipped_predictions = 0
        self.news = ""
        """A sentence where being late has just begun or ended."""
        self._skipped_before: int | None = None
        self._dropped_frames = 0

    def keep(self, predictions: list[Prediction], hop_seconds: float) -> list[Prediction]:
        """Give those that are worth giving.

        Raises
        ------
        SerError
            With policy "error", if audio was lost.
        """
        self.news = ""
        if self.policy == "block":
            return predictions
        counters = self.source.counters
        if self.policy == "error":
            self._require_no_loss(counters.dropped)
            return predictions
        late_seconds = counters.buffered / self.source.sample_rate_hz
        self._judge(late_seconds)
        if late_seconds <= _STALE_SECONDS:
            return predictions
        if self.work_share > _SLOW_SHARE and late_seconds > _LATE_SECONDS:
            self.source.skip_to_newest(hop_seconds)
        self.skipped_predictions += len(predictions)
        return []

    def keep_before_hole(
        self, predictions: list[Prediction], hole_seconds: float
    ) -> list[Prediction]:
        """Give those that are worth giving though a hole follows them.

        Where the reader's own slowness made the hole, they have waited for as long as it is.
        """
        dropped_frames = self.source.counters.dropped
        is_ours, self._dropped_frames = dropped_frames > self._dropped_frames, dropped_frames
        if self.policy != "latest" or not is_ours or hole_seconds <= _STALE_SECONDS:
            return predictions
        self.skipped_predictions += len(predictions)
        return []

    def _judge(self, late_seconds: float) -> None:
        if self._skipped_before is None and late_seconds > _STALE_SECONDS:
            self._skipped_before = self.skipped_predictions
            self.news = (
                f"{late_seconds:.1f} s of audio wait; predictions older than that are left out"
            )
        elif self._skipped_before is not None and late_seconds < _STALE_SECONDS / 2.0:
            skipped = self.skipped_predictions - self._skipped_before
            self._skipped_before = None
            self.news = f"caught up; {skipped} predictions were left out"

    def _require_no_loss(self, dropped_frames: int) -> None:
        if dropped_frames:
            raise SerError(
                f"{self.source.name}: {dropped_frames} frames were lost because predictions "
                "were not taken in time; take them faster, or use policy 'latest'"
            )
