"""A microphone, at the rate that it likes best."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import Any, Self

from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.sources.contract import Block, SourceCounters
from ser_live.sources.devices import InputDevice, find_input_device, load_portaudio
from ser_live.sources.ring import FrameRing

_FALLBACK_RATES_HZ = (48000, 44100, 16000)
_WAKE_SECONDS = 0.05  # devices call back up to 200 times a second; the reader need not
_BLOCK_SECONDS = 0.25
_STALL_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
_OLDEST_ADC_SECONDS = 1.0


class Microphone:
    """The samples of an input device, as they are captured.

    The audio callback copies into a ring and leaves. A reader that is slower than the device
    loses the oldest samples, and every `Block` says how many.

    Parameters
    ----------
    device : str, int or None
        Index, name or part of a name; None: the system's default.
    buffer_seconds : float
        What the ring holds.
    """

    is_live = True
    channels: int
    sample_rate_hz: int

    def __init__(self, device: str | int | None = None, buffer_seconds: float = 10.0) -> None:
        self.device = device
        self.buffer_seconds = buffer_seconds
        self.name = "microphone"
        self._ring: FrameRing | None = None
        self._stream: Any = None
        self._failure: Exception | None = None
        self._arrived = threading.Event()
        self._closed = False

    def __enter__(self) -> Self:
        found = find_input_device(self.device)
        self._stream = self._open(found)
        self.name = found.name
        self.sample_rate_hz = round(self._stream.samplerate)
        self.channels = int(self._stream.channels)
        frames = round(self.buffer_seconds * self.sample_rate_hz)
        self._ring = FrameRing(frames, self.channels, self.sample_rate_hz)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Block]:
        if self._ring is None:
            raise SerError("microphone: not open; use the source in a with statement")
        self._start()
        most_frames = round(_BLOCK_SECONDS * self.sample_rate_hz)
        heard_at = time.monotonic()
        while not self._closed:
            self._arrived.wait(0.5)
            self._arrived.clear()
            while not self._closed and (block := self._ring.read(most_frames)) is not None:
                yield block
                heard_at = time.monotonic()
            if self._failure is not None:
                raise SerError(f"{self.name}: capture failed ({self._failure})") from self._failure
            if time.monotonic() - heard_at > _STALL_SECONDS:
                raise SerError(
                    f"{self.name}: the device stopped, no samples for {_STALL_SECONDS:g} s; "
                    "is it still plugged in?"
                )

    @property
    def counters(self) -> SourceCounters:
        """Where every frame went up to now."""
        return SourceCounters() if self._ring is None else self._ring.counters

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing: what a microphone loses is in its counters."""
        return ()

    def skip_to_newest(self, keep_seconds: float) -> None:
        """Drop what waits, save the newest part."""
        if self._ring is not None:
            self._ring.skip(round(keep_seconds * self.sample_rate_hz))

    def close(self) -> None:
        """Stop capturing; a device that hangs is left to itself after two seconds."""
        self._closed = True
        self._arrived.set()
        stream, self._stream = self._stream, None
        if stream is not None:
            closer = threading.Thread(target=_close, args=(stream,), daemon=True)
            closer.start()
            closer.join(_CLOSE_SECONDS)

    def _open(self, device: InputDevice) -> Any:
        portaudio = load_portaudio()
        tried: dict[str, str] = {}
        rates_hz = dict.fromkeys((device.default_rate_hz, *_FALLBACK_RATES_HZ))
        for rate_hz in rates_hz:
            for channels in dict.fromkeys((min(2, device.channels), 1)):
                try:
                    with _quiet_stderr():
                        return portaudio.InputStream(
                            samplerate=rate_hz,
                            device=device.index,
                            channels=channels,
                            dtype="float32",
                            callback=self._callback,
                        )
                except portaudio.PortAudioError as error:
                    tried[f"{rate_hz} Hz x {channels}"] = str(error)
        raise SerError(
            f"input device {device.index} {device.name!r} does not open; tried "
            f"{', '.join(tried)} ({list(tried.values())[-1]}); is it in use, or is access to the "
            "microphone denied?"
        )

    def _start(self) -> None:
        try:
            with _quiet_stderr():
                self._stream.start()
        except load_portaudio().PortAudioError as error:
            raise SerError(
                f"{self.name}: does not start ({error}); is it in use, or is access to the "
                "microphone denied?"
            ) from error

    def _callback(self, samples: NDArray[Any], frames: int, times: Any, status: Any) -> None:
        """Copy and leave: this runs in the audio thread."""
        try:
            captured_at = time.monotonic() - self._age_seconds(frames, times)
            if self._ring is not None:
                self._ring.write(samples, captured_at, bool(status.input_overflow))
                if self._ring.waiting_frames >= _WAKE_SECONDS * self.sample_rate_hz:
                    self._arrived.set()
        except Exception as error:  # whatever it is, the reader has to hear of it
            self._failure = error
            self._arrived.set()

    def _age_seconds(self, frames: int, times: Any) -> float:
        """How long ago the last frame was captured: 0 where the device's clock is no help."""
        captured, current = times.inputBufferAdcTime, times.currentTime
        if captured <= 0 or current <= 0:
            return 0.0
        age_seconds = float(current - captured - frames / self.sample_rate_hz)
        return age_seconds if 0.0 <= age_seconds <= _OLDEST_ADC_SECONDS else 0.0


def _close(stream: Any) -> None:
    # abort() before close(): close() alone waits for buffers that may never come.
    with contextlib.suppress(Exception):
        stream.abort()
    with contextlib.suppress(Exception):
        stream.close()


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Silence what ALSA and PortAudio print about attempts that fail: they print to fd 2."""
    try:
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:
        yield
        return
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
