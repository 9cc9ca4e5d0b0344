"""Smoothing of single windows to a steady label: exponential, hysteresis, minimum dwell."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_live.model.card import SAMPLE_RATE_HZ, SmoothingSpec


@dataclass(frozen=True, slots=True)
class Smoothed:
    """Smoothed state after one more window."""

    probabilities: NDArray[np.float64]
    """Smoothed distribution, shape (labels,), sums to 1."""
    label_index: int
    """The steady label."""
    confidence: float
    """Smoothed probability of that label."""


class Smoother:
    """Smooth probabilities over time and hold on to a label.

    All times are seconds of the stream, so the behaviour does not depend on the hop. With
    ``spec.seconds == 0`` the label is the most probable one of each window.

    Parameters
    ----------
    spec : SmoothingSpec
        Time constant, margin and dwell.
    """

    def __init__(self, spec: SmoothingSpec) -> None:
        self.spec = spec
        self.reset()

    def reset(self) -> None:
        """Clear all windows: as new."""
        self._latest: Smoothed | None = None
        self._at_sample = 0
        self._label_since_sample = 0

    def process(self, probabilities: NDArray[np.float32], end_sample: int) -> Smoothed:
        """Take one window's probabilities and the 16 kHz sample at which it ends."""
        # A quantized softmax does not sum to 1 exactly; the smoothed distribution does.
        raw = probabilities.astype(np.float64)
        raw /= raw.sum()
        before = self._latest
        # Without smoothing there is no dwell either: each window stands for itself.
        if before is None or self.spec.seconds == 0.0:
            smooth, label = raw, int(raw.argmax())
            self._label_since_sample = end_sample
        else:
            elapsed_seconds = (end_sample - self._at_sample) / SAMPLE_RATE_HZ
            kept = math.exp(-elapsed_seconds / self.spec.seconds)
            smooth = kept * before.probabilities + (1.0 - kept) * raw
            label = self._hold(before.label_index, smooth, end_sample)
        self._at_sample = end_sample
        self._latest = Smoothed(smooth, label, float(smooth[label]))
        return self._latest

    def _hold(self, label: int, smooth: NDArray[np.float64], end_sample: int) -> int:
        best = int(smooth.argmax())
        dwelt_seconds = (end_sample - self._label_since_sample) / SAMPLE_RATE_HZ
        if (
            best == label
            or dwelt_seconds < self.spec.minimum_dwell_seconds
            or smooth[best] < smooth[label] + self.spec.switch_margin
        ):
            return label
        self._label_since_sample = end_sample
        return best
