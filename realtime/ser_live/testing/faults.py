"""Faults of a microphone, as records for `FakeMicrophone`.

All times are seconds of the device's own time, which begins with the first capture.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Fault:
    """Fault at a moment."""

    at_seconds: float

    @property
    def end_seconds(self) -> float:
        """Time at which it is over."""
        return self.at_seconds


@dataclass(frozen=True, slots=True)
class LastingFault(Fault):
    """Fault that lasts for a while."""

    duration_seconds: float

    @property
    def end_seconds(self) -> float:
        """Time at which it is over."""
        return self.at_seconds + self.duration_seconds

    def spoil(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what becomes of samples that were heard meanwhile."""
        return samples


@dataclass(frozen=True, slots=True)
class Jitter(LastingFault):
    """Blocks come late, each by another time, but in order."""

    most_seconds: float = 0.05


@dataclass(frozen=True, slots=True)
class Stall(LastingFault):
    """Nothing comes for a while; then all that was captured meanwhile comes at once."""


@dataclass(frozen=True, slots=True)
class Overrun(LastingFault):
    """The device loses frames and reports an overrun."""

    is_known: bool = True
    """The capture tells how many frames that were; else the timeline falls behind by them."""


@dataclass(frozen=True, slots=True)
class Backlog(LastingFault):
    """The capture process has no room and gives frames up that the device gave."""


@dataclass(frozen=True, slots=True)
class Unplug(Fault):
    """The device goes away and comes back."""

    away_seconds: float
    sample_rate_hz: int | None = None
    """It comes back at this rate, and accepts no other; None: as it was."""
    channels: int | None = None
    """It comes back with so many channels; None: as it was."""
    refusals: int = 0
    """Attempts to open it that fail after it has come back."""

    @property
    def end_seconds(self) -> float:
        """Time at which it is back."""
        return self.at_seconds + self.away_seconds


@dataclass(frozen=True, slots=True)
class Crash(Fault):
    """The audio callback raises; the device itself can be opened again at once."""


@dataclass(frozen=True, slots=True)
class HangOnOpen(Fault):
    """The first attempt to open it from then on hangs; from five seconds on it is given up."""

    hang_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class NotANumber(LastingFault):
    """Samples are NaN (or infinite)."""

    value: float = float("nan")

    def spoil(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return no numbers."""
        return np.full_like(samples, self.value)


@dataclass(frozen=True, slots=True)
class Zeros(LastingFault):
    """Every sample is zero: muted, or access denied."""

    def spoil(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return zeros."""
        return np.zeros_like(samples)


@dataclass(frozen=True, slots=True)
class Clipping(LastingFault):
    """The input level is too high: samples are cut off at full scale."""

    gain: float = 20.0

    def spoil(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return louder samples, cut off."""
        cut: NDArray[np.float32] = np.clip(samples * np.float32(self.gain), -1.0, 1.0)
        return cut


@dataclass(frozen=True, slots=True)
class Offset(LastingFault):
    """A constant is added to every sample."""

    level: float = 0.1

    def spoil(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return shifted samples."""
        return samples + np.float32(self.level)


@dataclass(frozen=True, slots=True)
class ClockJump(Fault):
    """The clock that tells capture times jumps, and stays so."""

    jump_seconds: float


@dataclass(frozen=True, slots=True)
class WrongRate(LastingFault):
    """The device gives more or fewer frames per second than it says."""

    ratio: float = 1.001
    """Frames per second that come, divided by those that it says."""
