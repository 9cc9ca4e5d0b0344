"""Scripted device: its samples at any time, and the faults that it suffers."""

import math
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ser_live.errors import SerError
from ser_live.testing.faults import (
    ClockJump,
    Crash,
    Fault,
    HangOnOpen,
    Jitter,
    LastingFault,
    Stall,
    Unplug,
)

Signal = Callable[[NDArray[np.float64]], ArrayLike]
_TINY_SECONDS = 1e-9  # sums of decimal fractions are off by less


class FakeDevice:
    """Device that hears a signal and suffers faults, in its own time.

    Parameters
    ----------
    signal : callable or array_like
        Heard by it: a function of an array of times in seconds, or samples of shape (n,) or
        (n, channels) at ``sample_rate_hz`` that are repeated for ever.
    faults : sequence of Fault
        Faults that it suffers.
    sample_rate_hz, channels : int
        Format of its samples.
    block_seconds : float
        It hands over so much at a time.
    seconds : float or None
        After so long no more comes; None: it never ends.
    seed : int
        Of the jitter.
    """

    def __init__(
        self,
        signal: Signal | ArrayLike,
        faults: Sequence[Fault] = (),
        sample_rate_hz: int = 16000,
        channels: int = 1,
        block_seconds: float = 0.02,
        seconds: float | None = None,
        seed: int = 0,
    ) -> None:
        ordered = _checked(faults)
        self.sample_rate_hz = sample_rate_hz
        self.channels = channels
        self.block_seconds = block_seconds
        self.seconds = math.inf if seconds is None else seconds
        self.felt: list[Fault] = []
        """Faults that took effect, up to now."""
        self.captured_frames = 0
        """Frames that it gave."""
        self.end_seconds = 0.0
        """Its time at the end of the last frame that it handed over."""
        self.untold_seconds = 0.0
        """Lag of a timeline of its frames, because a loss was not reported."""
        self.ended_by = "the device is gone"
        self.losses = 0
        self.clock_offset_seconds = 0.0
        self.random = np.random.default_rng(seed)
        self._signal = signal if callable(signal) else _repeated(signal, sample_rate_hz)
        self._moments = deque(fault for fault in ordered if not isinstance(fault, LastingFault))
        self._coming = deque(fault for fault in ordered if isinstance(fault, LastingFault))
        self._present: list[LastingFault] = []
        self._known: set[Fault] = set()
        self._hangs: deque[HangOnOpen] = deque()
        self._back_at_seconds = 0.0
        self._refusals = 0

    def hang_seconds(self, now_seconds: float) -> float:
        """Return how long an attempt to open it hangs."""
        self.pass_to(now_seconds, is_capturing=False)
        return self._hangs.popleft().hang_seconds if self._hangs else 0.0

    def open(self, now_seconds: float) -> None:
        """Open it, or raise SerError."""
        self.pass_to(now_seconds, is_capturing=False)
        if now_seconds < self._back_at_seconds:
            raise SerError("the device is away; plug it in again")
        if self._refusals > 0:
            self._refusals -= 1
            raise SerError("the device is busy; try again")

    def pass_to(self, seconds: float, *, is_capturing: bool) -> None:
        """Let all momentary faults up to this time take effect."""
        while self._moments and self._moments[0].at_seconds <= seconds:
            fault = self._moments.popleft()
            match fault:
                case HangOnOpen():
                    self._hangs.append(fault)
                case ClockJump():
                    self.clock_offset_seconds += fault.jump_seconds
                case Crash():
                    if not is_capturing:
                        continue
                    self.losses += 1
                    self.ended_by = "capture failed (a fault of the callback)"
                case Unplug():
                    self._unplug(fault)
            self.felt.append(fault)

    def delay_seconds(self, start_seconds: float, end_seconds: float) -> float:
        """Return how late a block is handed over."""
        delay = 0.0
        for fault in self._lasting_between(start_seconds, end_seconds):
            if isinstance(fault, Jitter):
                delay = max(delay, float(self.random.uniform(0.0, fault.most_seconds)))
                self._feel(fault)
            elif isinstance(fault, Stall):
                delay = max(delay, fault.end_seconds - end_seconds)
                self._feel(fault)
        return delay

    def faults_between(self, start_seconds: float, end_seconds: float) -> list[LastingFault]:
        """Return the faults of the samples of a block."""
        present = self._lasting_between(start_seconds, end_seconds)
        faults = [fault for fault in present if not isinstance(fault, Jitter | Stall)]
        for fault in faults:
            self._feel(fault)
        return faults

    def hear(self, times: NDArray[np.float64], faults: list[LastingFault]) -> NDArray[np.float32]:
        """Return the samples at some times, shape (frames, channels)."""
        samples = np.asarray(self._signal(times), np.float32)
        if samples.ndim == 1:
            samples = samples[:, np.newaxis]
        if samples.shape[1] != self.channels:
            samples = np.repeat(samples[:, :1], self.channels, axis=1)
        for fault in faults:
            where = within(times, fault)[:, np.newaxis]
            samples = np.where(where, fault.spoil(samples), samples)
        return samples

    def _lasting_between(self, start_seconds: float, end_seconds: float) -> list[LastingFault]:
        """Return the lasting faults of a block; blocks are asked for in order."""
        while self._coming and self._coming[0].at_seconds < end_seconds:
            self._present.append(self._coming.popleft())
        self._present = [f for f in self._present if f.end_seconds > start_seconds]
        return [f for f in self._present if f.at_seconds < end_seconds]

    def _unplug(self, fault: Unplug) -> None:
        self.losses += 1
        self.ended_by = "the device is gone"
        self._back_at_seconds = max(self._back_at_seconds, fault.end_seconds)
        self._refusals += fault.refusals
        self.sample_rate_hz = fault.sample_rate_hz or self.sample_rate_hz
        self.channels = fault.channels or self.channels

    def _feel(self, fault: Fault) -> None:
        if fault not in self._known:
            self._known.add(fault)
            self.felt.append(fault)


def within(times: NDArray[np.float64], *faults: LastingFault) -> NDArray[np.bool_]:
    """Return which of some times lie within any of some faults."""
    inside = np.zeros(times.size, bool)
    for fault in faults:
        since, till = fault.at_seconds - _TINY_SECONDS, fault.end_seconds - _TINY_SECONDS
        inside |= (times >= since) & (times < till)
    return inside


def _repeated(samples: ArrayLike, rate_hz: int) -> Signal:
    loop = np.asarray(samples, np.float32)
    if loop.ndim not in (1, 2) or len(loop) == 0:
        raise SerError(
            f"signal has shape {loop.shape}, wanted (n,) or (n, channels) with n > 0, or a function"
        )
    return lambda times: loop[np.rint(times * rate_hz).astype(np.int64) % len(loop)]


def _checked(faults: Sequence[Fault]) -> list[Fault]:
    for fault in faults:
        if not isinstance(fault, Fault):
            raise SerError(
                f"{fault!r} is no fault, wanted one of ser_live.testing, as Unplug(1.0, 2.0)"
            )
        if not 0.0 <= fault.at_seconds <= fault.end_seconds:
            raise SerError(f"{fault!r} has a time below 0, wanted seconds of the device's time")
    return sorted(faults, key=lambda fault: fault.at_seconds)
