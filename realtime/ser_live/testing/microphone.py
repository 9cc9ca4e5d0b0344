"""Microphone for tests: the real one on a scripted device, in virtual or in real time."""

import dataclasses
import threading
from collections.abc import Callable, Sequence

from numpy.typing import ArrayLike

from ser_live.errors import SerError
from ser_live.latency import StageLatency
from ser_live.sources import capture_protocol as protocol
from ser_live.sources.capture_process import AudioSink
from ser_live.sources.microphone import Clock, Microphone
from ser_live.testing.capture_session import CaptureSession
from ser_live.testing.clock import Alarm, VirtualClock
from ser_live.testing.device import FakeDevice, Signal
from ser_live.testing.faults import Fault

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
        self._cable = Cable(self.hardware, self.clock)
        super().__init__(name, buffer_seconds, reconnect, self._capture_of, self.clock)

    @property
    def device_seconds(self) -> float:
        """The device's time."""
        return self._cable.device_seconds

    def _capture_of(
        self, device: str | int | None, _rate_hz: int | None, _channels: int | None
    ) -> "FakeCapture":
        return FakeCapture(self._cable, str(device), self._end)

    def _end(self) -> None:
        """End when the script is over and everything was read."""
        if self.counters.buffered == 0:
            self.close()


class Cable:
    """Link of a device to a clock: the device's time begins with the first capture.

    Parameters
    ----------
    device : FakeDevice
        The device.
    clock : Clock
        The clock.
    """

    def __init__(self, device: FakeDevice, clock: Clock) -> None:
        self.device = device
        self.clock = clock
        self._began_at: float | None = None

    def begin(self) -> float:
        """Let the device's time begin, if it has not, and tell it."""
        if self._began_at is None:
            self._began_at = self.clock.monotonic()
            return 0.0
        return self.device_seconds

    @property
    def device_seconds(self) -> float:
        """The device's time."""
        return 0.0 if self._began_at is None else self.clock.monotonic() - self._began_at

    def clock_seconds(self, device_seconds: float) -> float:
        """The clock's time at a time of the device."""
        return device_seconds + (self._began_at or 0.0)


class FakeCapture:
    """Capture from a `FakeDevice`, as `ser_live.sources.capture_process.Capture`.

    Parameters
    ----------
    cable : Cable
        The device and the time.
    name : str
        Of the device.
    at_end : callable
        Called by the reader when the script is over and it waits for more.
    """

    def __init__(
        self,
        cable: Cable,
        name: str,
        at_end: Callable[[], None],
    ) -> None:
        self.failure: str | None = None
        self.callback: StageLatency | None = None
        self._cable = cable
        self._name = name
        self._at_end = at_end
        self._session: CaptureSession | None = None
        self._is_over = False
        self._sink: AudioSink = _nowhere
        self._arrived = threading.Event()
        self._closed = threading.Event()
        self._alarm: Alarm | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> protocol.Opened:
        """Open the device, or raise SerError."""
        device, cable = self._cable.device, self._cable
        if cable.device_seconds >= device.seconds:
            self._at_end()
            raise SerError("the script is over")
        hang_seconds = device.hang_seconds(cable.device_seconds)
        if hang_seconds:
            cable.clock.wait(self._closed, min(hang_seconds, _OPEN_SECONDS))
        if hang_seconds >= _OPEN_SECONDS:
            raise SerError(f"the device did not open within {_OPEN_SECONDS:g} s")
        device.open(cable.device_seconds)
        return protocol.Opened(self._name, device.sample_rate_hz, device.channels)

    def start(self, sink: AudioSink) -> None:
        """Begin to capture."""
        self._sink = sink
        self._session = CaptureSession(self._cable.device, self._cable.begin())
        if isinstance(self._cable.clock, VirtualClock):
            self._ask_for_call(self._cable.clock)
        else:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def expect(self, frames: int) -> None:
        """Do nothing: waking costs nothing here."""

    def wait(self, timeout_seconds: float) -> None:
        """Wait until something came or capture ended, but no longer than that."""
        if self._is_over:
            self._at_end()
        self._cable.clock.wait(self._arrived, timeout_seconds)
        self._arrived.clear()

    def close(self) -> None:
        """End it."""
        self._closed.set()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)
        self._arrived.set()

    def _ask_for_call(self, clock: VirtualClock) -> None:
        if self._session is not None and not self._session.is_over and self.failure is None:
            due_at = self._cable.clock_seconds(self._session.due_seconds)
            self._alarm = clock.call_at(due_at, lambda: self._step(clock))

    def _step(self, clock: VirtualClock) -> None:
        if not self._closed.is_set():
            self._hand_over()
            self._ask_for_call(clock)

    def _run(self) -> None:
        session, cable = self._session, self._cable
        while session is not None and not session.is_over and self.failure is None:
            wait_seconds = cable.clock_seconds(session.due_seconds) - cable.clock.monotonic()
            if self._closed.wait(max(0.0, wait_seconds)):
                return
            self._hand_over()

    def _hand_over(self) -> None:
        if self._session is None:
            return
        try:
            for audio in self._session.take():
                self._sink(self._cable_time(audio))
        except SerError as error:
            self.failure = str(error)
        self._is_over = self._session.is_over
        self._arrived.set()

    def _cable_time(self, audio: protocol.Audio) -> protocol.Audio:
        return dataclasses.replace(audio, captured_at=self._cable.clock_seconds(audio.captured_at))


def _nowhere(_: protocol.Audio) -> None:
    """Take audio before capture has begun: there is none."""
