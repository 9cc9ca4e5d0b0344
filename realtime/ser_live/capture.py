"""The capture process: a microphone on one side, messages on a pipe on the other.

PortAudio cannot be trusted to come back when a device or a sound server dies under it, so it
lives in a process that can be killed: ``python -m ser_live.capture``, started by `Microphone`.
It opens the device, says so, waits for a byte on stdin, and then writes what it captures to
stdout (`ser_live.sources.wire`). It ends when stdin ends, so it never outlives its parent.
"""

import argparse
import dataclasses
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from numpy.typing import NDArray

from ser_live.command_line import USER_ERROR
from ser_live.errors import SerError
from ser_live.latency import LatencyHistogram
from ser_live.sources import wire
from ser_live.sources.devices import (
    InputDevice,
    find_input_device,
    portaudio_inputs,
    load_portaudio,
    permission_hint,
)
from ser_live.sources.ring import FrameRing

_FALLBACK_RATES_HZ = (48000, 44100, 16000)
_BUFFER_SECONDS = 5.0
_WAKE_SECONDS = 0.05  # devices call back up to 200 times a second; the reader need not
_BLOCK_SECONDS = 0.25
_OLDEST_ADC_SECONDS = 1.0
_JITTER_SECONDS = 0.02  # between what the device's clock says and what has come
_FIGURES_SECONDS = 1.0


class DeviceStream:
    """A device that captures into a ring.

    Parameters
    ----------
    device : InputDevice
        What to open.
    rate_hz, channels : int or None
        Open it so; None: as the device likes best, with fallbacks.

    Raises
    ------
    SerError
        If it does not open; the message says what was tried.
    """

    def __init__(
        self, device: InputDevice, rate_hz: int | None = None, channels: int | None = None
    ) -> None:
        self.name = device.name
        self.failure: Exception | None = None
        self.arrived = threading.Event()
        self.callback_seconds = LatencyHistogram()
        self._dropped_frames = 0
        self._end_captured_at: float | None = None
        self._stream = self._open(device, rate_hz, channels)
        self.sample_rate_hz = round(self._stream.samplerate)
        self.channels = int(self._stream.channels)
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

    def audio(self) -> Iterator[wire.Audio]:
        """Give what has come since the last call."""
        while (block := self.ring.read(round(_BLOCK_SECONDS * self.sample_rate_hz))) is not None:
            before, self._dropped_frames = self._dropped_frames, self.ring.counters.dropped
            yield wire.Audio(
                samples=block.samples,
                captured_at=block.end_captured_at or 0.0,
                missing_frames=block.missing_frames,
                dropped_frames=self._dropped_frames - before,
                overruns=block.overruns,
            )

    def _open(self, device: InputDevice, rate_hz: int | None, channels: int | None) -> Any:
        portaudio = load_portaudio()
        tried: dict[str, str] = {}
        rates_hz = (rate_hz,) if rate_hz else (device.default_rate_hz, *_FALLBACK_RATES_HZ)
        counts = (channels,) if channels else (min(2, device.channels), 1)
        for rate in dict.fromkeys(rates_hz):
            for count in dict.fromkeys(counts):
                try:
                    return portaudio.InputStream(
                        samplerate=rate,
                        device=device.index,
                        channels=count,
                        dtype="float32",
                        callback=self._callback,
                    )
                except portaudio.PortAudioError as error:
                    tried[f"{rate} Hz x {count}"] = str(error)
        raise SerError(
            f"input device {device.index} {device.name!r} does not open; tried "
            f"{', '.join(tried)} ({list(tried.values())[-1]}); is it in use, or is access to the "
            f"microphone denied? {permission_hint()}"
        )

    def _callback(self, samples: NDArray[Any], frames: int, times: Any, status: Any) -> None:
        """Copy and leave: this runs in the audio thread."""
        started_at = time.perf_counter()
        try:
            self._keep(samples, frames, times, bool(status.input_overflow))
        except Exception as error:  # whatever it is, the reader has to hear of it
            self.failure = error
            self.arrived.set()
        self.callback_seconds.add(time.perf_counter() - started_at)

    def _keep(self, samples: NDArray[Any], frames: int, times: Any, overrun: bool) -> None:
        captured_at = time.monotonic() - self._age_seconds(frames, times)
        missing_frames = 0
        if overrun and self._end_captured_at is not None:
            seconds = captured_at - self._end_captured_at - frames / self.sample_rate_hz
            if seconds > _JITTER_SECONDS:
                missing_frames = round(seconds * self.sample_rate_hz)
        self._end_captured_at = captured_at
        self.ring.write(samples, captured_at, int(overrun), missing_frames)
        if self.ring.waiting_frames >= _WAKE_SECONDS * self.sample_rate_hz:
            self.arrived.set()

    def _age_seconds(self, frames: int, times: Any) -> float:
        """How long ago the last frame was captured: 0 where the device's clock is no help."""
        captured, current = times.inputBufferAdcTime, times.currentTime
        if captured <= 0 or current <= 0:
            return 0.0
        age_seconds = float(current - captured - frames / self.sample_rate_hz)
        return age_seconds if 0.0 <= age_seconds <= _OLDEST_ADC_SECONDS else 0.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the capture process and return its exit code."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who then ends us
    # The pipe is ours alone: what native libraries print to stdout must not get into it.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        if arguments.list:
            pipe.write(
                json.dumps(
                    [dataclasses.asdict(d) for d in portaudio_inputs(with_rates=True)]
                ).encode()
            )
            pipe.flush()
        else:
            _capture(arguments, pipe)
    except SerError as error:
        _tell(pipe, wire.Failed(str(error)))
        return USER_ERROR
    except OSError:  # whoever listened has gone
        os._exit(0)
    return 0


def _capture(arguments: argparse.Namespace, pipe: BinaryIO) -> None:
    go = threading.Event()
    threading.Thread(target=_obey, args=(go,), daemon=True).start()
    device = find_input_device(arguments.device)
    stream = DeviceStream(device, arguments.rate, arguments.channels)
    _tell(pipe, wire.Opened(stream.name, stream.sample_rate_hz, stream.channels))
    go.wait()
    stream.start()
    told_at = time.monotonic()
    while stream.failure is None:
        stream.arrived.wait(_FIGURES_SECONDS)
        stream.arrived.clear()
        for audio in stream.audio():
            _tell(pipe, audio)
        if time.monotonic() - told_at >= _FIGURES_SECONDS:
            told_at = time.monotonic()
            _tell(pipe, stream.callback_seconds.summary("callback"))
    raise SerError(f"{stream.name}: capture failed ({stream.failure})")


def _tell(pipe: BinaryIO, message: wire.Message) -> None:
    pipe.write(wire.encode(message))
    pipe.flush()


def _obey(go: threading.Event) -> None:
    """Wait for the word to start, then for the end of stdin: nobody listens any more."""
    if os.read(0, 1):
        go.set()
        while os.read(0, 1):
            pass
    os._exit(0)  # at once: PortAudio's own way out may hang on a device that is gone


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ser_live.capture", description=__doc__)
    parser.add_argument("--device", help="name or index; default: the default microphone")
    parser.add_argument("--rate", type=int, help="open at this rate; default: the device's own")
    parser.add_argument("--channels", type=int, help="open with so many channels")
    parser.add_argument("--list", action="store_true", help="print the input devices as JSON")
    return parser


if __name__ == "__main__":
    exit_code = main()
    sys.stderr.flush()
    os._exit(exit_code)  # at once: PortAudio's own way out may hang on a device that is gone
