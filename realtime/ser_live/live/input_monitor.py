"""What is wrong with what a microphone hears: silence of the digital kind, clipping, an offset."""

import platform
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.events import EventKind

_SILENT_SECONDS = 2.0
_CLIPPED_SHARE = 0.001
_FULL_SCALE = 1.0 - 2.0**-15
_OFFSET = 0.02
_OFFSET_GONE = 0.01
_SECOND_SECONDS = 1.0
_QUIET_SECONDS = 10
_MUTE_HINTS = {
    "Darwin": "allow your terminal under System Settings, Privacy & Security, Microphone",
    "Windows": "see Settings, Privacy & security, Microphone, and the mute key",
    "Linux": "see 'pactl list sources': muted, or the wrong source?",
}

Finding = tuple[EventKind, str]


class InputMonitor:
    """Watch the samples of a microphone and say once per episode what is wrong.

    Parameters
    ----------
    sample_rate_hz : int
        Rate of the samples.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.reset()

    def reset(self) -> None:
        """Forget everything heard: as new."""
        self._level: float | None = None
        self._constant_frames = 0
        self._is_silent = False
        self._is_offset = False
        self._seconds_since_clipping = _QUIET_SECONDS
        self._begin_second()

    def process(self, samples: NDArray[Any]) -> list[Finding]:
        """Take samples of shape (frames, channels), finite; float in [-1, 1] or int16."""
        if samples.size == 0:
            return []
        scale = 32768.0 if samples.dtype == np.int16 else 1.0
        low, high = float(samples.min()) / scale, float(samples.max()) / scale
        found = self._silence(low, high, len(samples))
        self._frames += len(samples)
        self._values += samples.size
        self._sum += float(samples.sum(dtype=np.float64)) / scale
        if max(-low, high) >= _FULL_SCALE:
            loud = np.abs(samples.astype(np.float32)) >= _FULL_SCALE * scale
            self._clipped += int(np.count_nonzero(loud))
        if self._frames >= _SECOND_SECONDS * self.sample_rate_hz:
            found += self._clipping() + self._offset()
            self._begin_second()
        return found

    def _silence(self, low: float, high: float, frames: int) -> list[Finding]:
        if low != high or (self._level is not None and low != self._level):
            self._constant_frames = frames if low == high else 0
            self._is_silent = False
            self._level = low if low == high else None
            return []
        self._level = low
        self._constant_frames += frames
        long = self._constant_frames >= _SILENT_SECONDS * self.sample_rate_hz
        if self._is_silent or not long:
            return []
        self._is_silent = True
        hint = _MUTE_HINTS.get(platform.system(), "is it muted, or access to it denied?")
        return [("input_silent", f"every sample is {low:g} for {_SILENT_SECONDS:g} s; {hint}")]

    def _clipping(self) -> list[Finding]:
        share = self._clipped / self._values
        clips = share >= _CLIPPED_SHARE
        quiet = self._seconds_since_clipping >= _QUIET_SECONDS
        self._seconds_since_clipping = 0 if clips else self._seconds_since_clipping + 1
        if not clips or not quiet:
            return []
        return [("input_clipping", f"{100 * share:.1f} % of a second clips; lower the input level")]

    def _offset(self) -> list[Finding]:
        mean = self._sum / self._values
        before, self._is_offset = (
            self._is_offset,
            abs(mean) >= (_OFFSET_GONE if self._is_offset else _OFFSET),
        )
        if before or not self._is_offset or self._is_silent:
            return []
        detail = f"the mean is {mean:+.3f} of full scale, not 0; the input has a fault"
        return [("input_offset", f"{detail}: try another input or cable")]

    def _begin_second(self) -> None:
        self._frames = 0
        self._values = 0
        self._clipped = 0
        self._sum = 0.0
