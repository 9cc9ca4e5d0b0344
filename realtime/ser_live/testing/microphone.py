"""A microphone that hears what a test wants and suffers what a test wants."""

from collections.abc import Sequence

from numpy.typing import ArrayLike

from ser_live.sources.microphone import Clock, Microphone
from ser_live.testing.capture import Cable, FakeCapture
from ser_live.testing.clock import VirtualClock
from ser_live.testing.device import FakeDevice, Signal
from ser_live.testing.faults import Fault


class FakeMicrophone(Microphone):
    """A real `Microphone` (buffer, watchdog, back-off, accounting) on a scripted device.

    In virtual time, the default, an hour of it takes seconds: time passes only while somebody
    waits for samples, or sleeps on ``clock``. Give ``clock=microphone.clock.monotonic`` to
    `listen`, so that it measures lags in the same time.

    Parameters
    ----------
    signal : callable or array_like
        What it hears: a function of an array of times in seconds (of the device's time, so that
        each sample tells where it belongs), or samples of shape (n,) or (n, channels) at
        ``sample_rate_hz`` that are repeated for ever.
    faults : sequence of Fault
        What goes wrong, see `ser_live.testing`.
    sample_rate_hz, channels : int
        What the device gives.
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
    ) -> FakeCapture:
        return FakeCapture(self._cable, str(device), self._end)

    def _end(self) -> None:
        """End when the script is over and everything was read."""
        if self.counters.buffered == 0:
            self.close()
