"""Device that captures into a ring: the work of the capture process."""

import contextlib
import queue
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.latency import LatencyHistogram, StageLatency
from ser_live.sources import capture_protocol as protocol
from ser_live.sources.capture_clock import CaptureClock
from ser_live.sources.devices import InputDevice, load_portaudio, permission_hint
from ser_live.sources.ring import FrameRing

_FALLBACK_RATES_HZ = (48000, 44100, 16000)
_BUFFER_SECONDS = 5.0
# A device left alone calls back up to 500 times a second, which costs more than recognition.
_CALL_SECONDS = 0.05
_MOST_SECONDS = 0.25
_OLDEST_SECONDS = 1.0
_MOST_DURATIONS = 1000  # so many callbacks come between two looks at them, at the most


class DeviceStream:
    """Device that captures into a ring, read by one thread.

    Parameters
    ----------
    device : InputDevice
        The device to open.
    rate_hz, channels : int or None
        Try this first; None: as the device likes best. Usual formats follow.

    Attributes
    ----------
    wanted_frames : int
        `wait` need not return before so many frames came since the start; set from any thread.

    Raises
    ------
    SerError
        If it does not open; the message says what was tried.
    """

    def __init__(
        self, device: InputDevice, rate_hz: int | None = None, channels: int | None = None
    ) -> None:
        self.name = device.name
        self.failure: str | None = None
        self._arrived: queue.SimpleQueue[None] = (
            queue.SimpleQueue()
        )  # an Event costs thrice as much
        self._durations: deque[float] = deque(maxlen=_MOST_DURATIONS)
        self._histogram = LatencyHistogram()
        self._frames = self._dropped_frames = 0
        self._stream = self._open(device, rate_hz, channels)
        self.sample_rate_hz = round(self._stream.samplerate)
        self.channels = int(self._stream.channels)
        self._most_frames = round(_MOST_SECONDS * self.sample_rate_hz)
        self.wanted_frames = 0
        self._is_settled = False
        self._clock = CaptureClock(self.sample_rate_hz)
        frames = round(_BUFFER_SECONDS * self.sample_rate_hz)
        self.ring = FrameRing(frames, self.channels, self.sample_rate_hz)

    def start(self) -> None:
        """Begin to capture."""
        try:
            self._stream.start()
        except load_portaudio().PortAudioError as error:
            raise SerError(
                f"{self.name}: does not start ({error}); is it in use, or is access to the "
                f"microphone denied? {permission_hint()}"
            ) from error

    def wait(self, timeout_seconds: float) -> None:
        """Wait until the wanted frames came or capture ended, but no longer than that."""
        with contextlib.suppress(queue.Empty):
            self._arrived.get(timeout=timeout_seconds)

    def callback_latency(self) -> StageLatency:
        """Return the cost of the audio callback up to now."""
        while self._durations:
            self._histogram.add(self._durations.popleft())
        return self._histogram.summary("callback")

    def audio(self) -> Iterator[protocol.Audio]:
        """Yield the frames that have come since the last call."""
        while (block := self.ring.read(self._most_frames)) is not None:
            before, self._dropped_frames = self._dropped_frames, self.ring.counters.dropped
            start = self._frames + block.missing_frames
            self._frames = start + len(block.samples)
            lost_frames = self._clock.lost_frames(start) if block.overruns else 0
            yield protocol.Audio(
                samples=block.samples,
                captured_at=self._clock.captured_at(self._frames),
                missing_frames=block.missing_frames + lost_frames,
                dropped_frames=self._dropped_frames - before,
                overruns=block.overruns,
            )

    def _open(self, device: InputDevice, rate_hz: int | None, channels: int | None) -> Any:
        portaudio = load_portaudio()
        tried: dict[str, str] = {}
        rates_hz = (rate_hz or device.default_rate_hz, device.default_rate_hz, *_FALLBACK_RATES_HZ)
        counts = (channels or min(2, device.channels), min(2, device.channels), 1)
        for rate in dict.fromkeys(rates_hz):
            for count in dict.fromkeys(counts):
                try:
                    return portaudio.InputStream(
                        samplerate=rate,
                        blocksize=round(_CALL_SECONDS * rate),
                        device=device.index,
                        channels=count,
                        dtype="float32",
                        callback=self._callback,
                        finished_callback=self._ended,
                    )
                except portaudio.PortAudioError as error:
                    tried[f"{rate} Hz x {count}"] = str(error)
        raise SerError(
            f"input device {device.index} {device.name!r} does not open; tried "
            f"{', '.join(tried)} ({list(tried.values())[-1]}); is it in use, or is access to the "
            f"microphone denied? {permission_hint()}"
        )

    def _callback(self, samples: NDArray[Any], frames: int, times: Any, status: Any) -> None:
        """Copy and leave: the audio thread, which runs this, must not wait for a lock."""
        started_at = time.perf_counter()
        try:
            ring = self.ring
            captured_at = time.monotonic() - self._age_seconds(frames, times)
            ring.write(samples, captured_at, int(status.input_overflow))
            self._clock.note(ring.written_frames, captured_at)
            # The first blocks may come all at once, and would tell wrong times.
            self._is_settled = self._is_settled or self._clock.settle()
            is_due = ring.written_frames >= self.wanted_frames
            if self._is_settled and (is_due or ring.waiting_frames >= self._most_frames):
                self._wake()
        except Exception as error:  # of any kind: PortAudio would swallow it
            self.failure = f"capture failed ({type(error).__name__}: {error})"
            self._wake()
        self._durations.append(time.perf_counter() - started_at)

    def _age_seconds(self, frames: int, times: Any) -> float:
        """Return the age of the last frame; 0 where the device's clock is no help."""
        age_seconds: float = times.currentTime - times.inputBufferAdcTime
        age_seconds -= frames / self.sample_rate_hz
        is_true = times.inputBufferAdcTime > 0.0 and abs(age_seconds) <= _OLDEST_SECONDS
        return age_seconds if is_true else 0.0

    def _ended(self) -> None:
        """Take note that no samples come any more: capture was not told to stop."""
        self.failure = self.failure or "the device is gone"
        self._wake()

    def _wake(self) -> None:
        if self._arrived.empty():  # else it is on its way
            self._arrived.put(None)
