"""Faults of the input: samples that are lost or no numbers, silence, clipping, an offset."""

import math
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.engine.resample import FULL_SCALE, as_float
from ser_live.events import Event
from ser_live.model.card import LONGEST_WINDOW_SECONDS
from ser_live.prediction import Prediction
from ser_live.sources.devices import silence_hint

_SILENT_SECONDS = 2.0
_CLIPPED_SHARE = 0.001
_OFFSET = 0.02
_OFFSET_GONE = 0.01
_QUIET_SECONDS = 10


class Gaps:
    """Stretches of the timeline that were lost, filled or replaced."""

    def __init__(self) -> None:
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


class InputMonitor:
    """Watch the samples of a microphone and tell once per episode what is wrong.

    Shares and means are those of whole seconds of the stream, so the findings are the same
    however it is cut into blocks.

    Parameters
    ----------
    sample_rate_hz : int
        Rate of the samples.
    """

    _sum: float

    def __init__(self, sample_rate_hz: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._level = np.nan
        self._constant_values = 0
        self._is_silent = False
        self._is_offset = False
        self._seconds_since_clipping = _QUIET_SECONDS
        self._begin_second()

    def process(self, samples: NDArray[Any], start_frame: int) -> list[Event]:
        """Take a block and return what showed in it.

        Parameters
        ----------
        samples : ndarray, shape (frames, channels), int16 or float
            Finite; full scale is 1.0 for floats.
        start_frame : int
            Place of the first one on the timeline.
        """
        found: list[Event] = []
        start = 0
        while start < len(samples):
            end = start + self.sample_rate_hz - self._frames  # of the second at most
            second = as_float(samples[start:end])
            values = second.ravel()
            found += self._silence(values, samples.shape[1], start_frame + start)
            self._frames += len(second)
            self._values += values.size
            # One addition after the other: `sum` adds in an order that depends on the length.
            sums = values.astype(np.float64)
            sums[0] += self._sum
            self._sum = float(np.cumsum(sums)[-1])
            self._clipped += int(np.count_nonzero(np.abs(values) >= FULL_SCALE))
            start += len(second)
            if self._frames == self.sample_rate_hz:
                end_seconds = (start_frame + start) / self.sample_rate_hz
                found += self._clipping(end_seconds) + self._offset(end_seconds)
                self._begin_second()
        return found

    def _silence(self, values: NDArray[np.float32], channels: int, start: int) -> list[Event]:
        """Find where a value has stayed the same for long, on all channels."""
        long_values = round(_SILENT_SECONDS * self.sample_rate_hz) * channels
        begins = np.append(0, np.flatnonzero(values[1:] != values[:-1]) + 1)
        lengths = np.diff(np.append(begins, values.size))
        before = self._constant_values if values[0] == self._level else 0
        lengths[0] += before
        was_silent = before >= long_values
        hint = silence_hint()
        found = []
        for run in np.flatnonzero(lengths >= long_values):
            if run == 0 and was_silent:
                continue  # told when it began
            reached = int(begins[run]) + long_values - (before if run == 0 else 0)
            level = values[begins[run]]
            detail = f"every sample is {level:g} for {_SILENT_SECONDS:g} s; {hint}"
            reached_seconds = (start + math.ceil(reached / channels)) / self.sample_rate_hz
            found.append(Event("input_silent", reached_seconds, detail))
        self._level, self._constant_values = float(values[-1]), int(lengths[-1])
        self._is_silent = self._constant_values >= long_values
        return found

    def _clipping(self, end_seconds: float) -> list[Event]:
        share = self._clipped / self._values
        clips = share >= _CLIPPED_SHARE
        quiet = self._seconds_since_clipping >= _QUIET_SECONDS
        self._seconds_since_clipping = 0 if clips else self._seconds_since_clipping + 1
        if not clips or not quiet:
            return []
        detail = f"{100 * share:.1f} % of a second clips; lower the input level"
        return [Event("input_clipping", end_seconds, detail)]

    def _offset(self, end_seconds: float) -> list[Event]:
        mean = self._sum / self._values
        before, self._is_offset = (
            self._is_offset,
            abs(mean) >= (_OFFSET_GONE if self._is_offset else _OFFSET),
        )
        if before or not self._is_offset or self._is_silent:
            return []
        detail = f"the mean is {mean:+.3f} of full scale, not 0; the input has a fault"
        return [Event("input_offset", end_seconds, f"{detail}: try another input or cable")]

    def _begin_second(self) -> None:
        self._frames = 0
        self._values = 0
        self._clipped = 0
        self._sum = 0.0
