"""Places of a stream where samples are lost or replaced, and the predictions that they touch."""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.model.card import LONGEST_WINDOW_SECONDS
from ser_live.prediction import Prediction


class Gaps:
    """Stretches of the timeline that were lost, filled or replaced."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all of them: as new."""
        self.replaced_samples = 0
        self.degraded_predictions = 0
        self._stretches: deque[tuple[float, float]] = deque()

    def add(self, start_seconds: float, end_seconds: float) -> None:
        """Remember a stretch; its length is 0 where it is unknown how much is missing."""
        self._stretches.append((start_seconds, end_seconds))

    def fill(self, samples: NDArray[Any], start_frame: int, sample_rate_hz: int) -> NDArray[Any]:
        """Replace NaN and infinity by zero, in a copy, and remember where they were.

        Parameters
        ----------
        samples : ndarray, shape (frames, channels)
        start_frame : int
            Place of the first one on the timeline.
        sample_rate_hz : int
        """
        if samples.dtype == np.int16 or (finite := np.isfinite(samples)).all():
            return samples
        # The recognizer refuses NaN: its filters would never get rid of one.
        self.replaced_samples += int(samples.size - np.count_nonzero(finite))
        bad = start_frame + np.flatnonzero(~finite.all(axis=1))
        self.add(bad[0] / sample_rate_hz, (bad[-1] + 1) / sample_rate_hz)
        return np.where(finite, samples, samples.dtype.type(0))

    def degrade(self, prediction: Prediction) -> bool:
        """Return whether a gap lies in the window of a prediction, and count it if so."""
        start, end = prediction.start_seconds, prediction.end_seconds
        # No window reaches further back than the longest one that a card may ask for.
        while self._stretches and self._stretches[0][1] < end - LONGEST_WINDOW_SECONDS:
            self._stretches.popleft()
        degraded = any(start < gap[1] and gap[0] < end for gap in self._stretches)
        self.degraded_predictions += degraded
        return degraded
