"""Microphone for tests: the real one on a scripted device, in virtual or in real time."""

import math
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ser_live.errors import SerError
from ser_live.latency import StageLatency
from ser_live.sources import capture_protocol as protocol
from ser_live.sources.capture_process import AudioSink
from ser_live.sources.microphone import Clock, Microphone
from ser_live.testing.clock import Alarm, VirtualClock
from ser_live.testing.device import FakeDevice, Signal, within
from ser_live.testing.faults import Backlog, Fault, LastingFault, Overrun, WrongRate

_OPEN_SECONDS = 5.0  # what the capture process is given
_JOIN_SECONDS = 1.0


class FakeMicrophone(Microphone):
    """Real `Microphone` (buffer, watchdog, back-off, accounting) on a scripted device.

    In virtual time, the default, an hour of it takes seconds: time passes only while a caller
    waits for samples, or sleeps on ``clock``. Give ``clock=microphone.clock.monotonic`` to
    `listen`, so that it measures lags in the same time.

    Parameters
    ----------
    signal : callable or array_like
        Heard by it: a function of an array of times in seconds (of the device's time, so that
        each sample tells where it belongs), or samples of shape (n,) or (n, channels) at
        ``sample_rate_hz`` that are repeated for ever.
    faults : sequence of Fault
        Faults that it suffers, see `ser_live.testing`.
    sample_rate_hz, channels : int
        Format of the device.
    seconds : float or None
        The source ends after so much of the device's time; None: it never ends.
    block_seconds : float
        The device hands over so much at a time.
    buffer_seconds, reconnect
        As in `Microphone`.
    clock : Clock or None
        None: a new `VirtualClock`; `SystemClock()`: the script runs in real time.
    seed : int
        Of the jitter.
    name : str
        Of the device.
    """

    def __init__(
        self,
        signal: Signal | ArrayLike,
        faults: Sequence[Fault] = (),
        *,
        sample_rate_hz: int = 16000,
        channels: int = 1,
        seconds: float | None = None,
        block_seconds: float = 0.02,
        buffer_seconds: float = 10.0,
        reconnect: bool = True,
        clock: Clock | None = None,
        seed: int = 0,
        name: str = "fake microphone",
    ) -> None:
        self.clock: Clock = VirtualClock() if clock is None else clock
        self.hardware = FakeDevice(
            signal, faults, sample_rate_hz, channels, block_seconds, seconds, seed
        )
        self._began_at: float | None = None
        super().__init__(name, buffer_seconds, reconnect, self._capture_of, self.clock)

    @property
    def device_seconds(self) -> float:
        """The device's time, which begins with the first capture."""
        return 0.0 if self._began_at is None else self.clock.monotonic() - self._began_at

    def begin(self) -> float:
        """Let the device's time begin, if it has not, and return it."""
        if self._began_at is None:
            self._began_at = self.clock.monotonic()
            return 0.0  # time passes meanwhile
        return self.device_seconds

    def clock_seconds(self, device_seconds: float) -> float:
        """Return the clock's time at a time of the device."""
        return device_seconds + (self._began_at or 0.0)

    def end(self) -> None:
        """End when the script is over and everything was read."""
        if self.counters.buffered == 0:
            self.close()

    def _capture_of(self, device: object, *_: object) -> "FakeCapture":
        return FakeCapture(self, str(device))


class FakeCapture:
    """Capture from a `FakeDevice`, as `ser_live.sources.capture_process.Capture`.

    It gives blocks as the capture process would send them, from its start until the device is
    lost.

    Parameters
    ----------
    microphone : FakeMicrophone
        Has the device and the time; told when the script is over and its reader waits for more.
    name : str
        Of the device.
    """

    def __init__(self, microphone: FakeMicrophone, name: str) -> None:
        self.failure: str | None = None
        self.callback: StageLatency | None = None
        self.microphone = microphone
        self.device: FakeDevice = microphone.hardware
        self._name = name
        self._is_over = False
        self._arrived = threading.Event()
        self._closed = threading.Event()
        self._alarm: Alarm | None = None
        self._thread: threading.Thread | None = None
        # Of the frames: what is carried from block to block, and lost before the next one.
        self._carry = 0.0
        self._gaps: set[LastingFault] = set()
        self._missing = self._given_up = 0
        self._untold_seconds = 0.0
        self._has_given = False

    def open(self) -> protocol.Opened:
        """Open the device, or raise SerError."""
        device, microphone = self.device, self.microphone
        if microphone.device_seconds >= device.seconds:
            microphone.end()
            raise SerError("the script is over")
        hang_seconds = device.hang_seconds(microphone.device_seconds)
        if hang_seconds:
            microphone.clock.wait(self._closed, min(hang_seconds, _OPEN_SECONDS))
        if hang_seconds >= _OPEN_SECONDS:
            raise SerError(f"the device did not open within {_OPEN_SECONDS:g} s")
        device.open(microphone.device_seconds)
        return protocol.Opened(self._name, device.sample_rate_hz, device.channels)

    def start(self, sink: AudioSink) -> None:
        """Begin to capture."""
        self._sink = sink
        self._due_seconds = self.microphone.begin()
        self._losses = self.device.losses
        self._block = math.ceil(self._due_seconds / self.device.block_seconds - 1e-6)
        self._look_ahead()
        if isinstance(self.microphone.clock, VirtualClock):
            self._ask_for_call(self.microphone.clock)
        else:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def expect(self, frames: int) -> None:
        """Do nothing: waking costs nothing here."""

    def wait(self, timeout_seconds: float) -> None:
        """Wait until something came or capture ended, but no longer than that."""
        if self._is_over:
            self.microphone.end()
        self.microphone.clock.wait(self._arrived, timeout_seconds)
        self._arrived.clear()

    def close(self) -> None:
        """End it."""
        self._closed.set()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)
        self._arrived.set()

    @property
    def _due_at(self) -> float:
        """Clock's time at which the next block is handed over."""
        return self.microphone.clock_seconds(self._due_seconds)

    def _ask_for_call(self, clock: VirtualClock) -> None:
        if not self._is_over and self.failure is None:
            self._alarm = clock.call_at(self._due_at, lambda: self._step(clock))

    def _step(self, clock: VirtualClock) -> None:
        if not self._closed.is_set():
            self._hand_over()
            self._ask_for_call(clock)

    def _run(self) -> None:
        while not self._is_over and self.failure is None:
            if self._closed.wait(max(0.0, self._due_at - self.microphone.clock.monotonic())):
                return
            self._hand_over()

    def _hand_over(self) -> None:
        """Hand over the block that is due, in pieces where frames are lost inside it."""
        start, end = self._span
        self.device.pass_to(end - 1e-9, is_capturing=True)
        if self.device.losses == self._losses:
            faults = self.device.faults_between(start, end)
            times, step_seconds = self._times(faults)
            for audio in self._pieces(times, step_seconds, faults):
                self._sink(audio)
            self._block += 1
            self._look_ahead()
        else:
            self.failure = self.device.ended_by
        self._arrived.set()

    @property
    def _span(self) -> tuple[float, float]:
        block_seconds = self.device.block_seconds
        return self._block * block_seconds, (self._block + 1) * block_seconds

    def _look_ahead(self) -> None:
        start, end = self._span
        self._is_over = start >= self.device.seconds - 1e-9
        due = end + self.device.delay_seconds(start, end)
        self._due_seconds = max(self._due_seconds, due)

    def _times(self, faults: list[LastingFault]) -> tuple[NDArray[np.float64], float]:
        """Return the capture times of a block's frames, and how far apart they are."""
        rate_hz = self.device.sample_rate_hz
        first, stop = (round(seconds * rate_hz) for seconds in self._span)
        count = stop - first
        ratios = [fault.ratio for fault in faults if isinstance(fault, WrongRate)]
        if not ratios:
            return np.arange(first, stop, dtype=np.float64) / rate_hz, 1.0 / rate_hz
        wanted = count * math.prod(ratios) + self._carry
        come = int(wanted)
        self._carry = wanted - come
        self._untold_seconds += (count - come) / rate_hz
        step_seconds = count / rate_hz / max(1, come)
        times = first / rate_hz + np.arange(come, dtype=np.float64) * step_seconds
        return times, step_seconds

    def _pieces(
        self, times: NDArray[np.float64], step_seconds: float, faults: list[LastingFault]
    ) -> list[protocol.Audio]:
        gaps = [fault for fault in faults if isinstance(fault, Overrun | Backlog)]
        if not gaps:
            return [self._audio(times, step_seconds, faults)] if times.size else []
        lost = within(times, *gaps)
        pieces = []
        for part in np.split(np.arange(times.size), np.flatnonzero(np.diff(lost)) + 1):
            if part.size and lost[part[0]]:
                self._lose(times[part], gaps)
            elif part.size:
                pieces.append(self._audio(times[part], step_seconds, faults))
        return pieces

    def _lose(self, times: NDArray[np.float64], gaps: list[Overrun | Backlog]) -> None:
        """Remember lost frames until something comes after them."""
        self._gaps.update(gap for gap in gaps if within(times, gap).any())
        given_up = within(times, *(gap for gap in gaps if isinstance(gap, Backlog)))
        untold = (gap for gap in gaps if isinstance(gap, Overrun) and not gap.is_known)
        unknown = within(times, *untold) & ~given_up
        self._given_up += int(given_up.sum())
        self._missing += int((~unknown).sum())
        self._untold_seconds += int(unknown.sum()) / self.device.sample_rate_hz

    def _audio(
        self, times: NDArray[np.float64], step_seconds: float, faults: list[LastingFault]
    ) -> protocol.Audio:
        device, end_seconds = self.device, float(times[-1]) + step_seconds
        audio = protocol.Audio(
            samples=device.hear(times, faults),
            captured_at=self.microphone.clock_seconds(end_seconds + device.clock_offset_seconds),
            missing_frames=self._missing,
            dropped_frames=self._given_up,
            overruns=sum(isinstance(fault, Overrun) for fault in self._gaps),
        )
        # Where a capture begins anew, its capture time tells everything.
        if device.end_seconds == 0.0 or self._has_given:
            device.untold_seconds += self._untold_seconds
        self._has_given = True
        device.captured_frames += times.size + self._given_up
        device.end_seconds = end_seconds
        self._gaps.clear()
        self._missing = self._given_up = 0
        self._untold_seconds = 0.0
        return audio
