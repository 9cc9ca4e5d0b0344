"""Capture process: a microphone on one side, messages on a pipe on the other.

PortAudio cannot be trusted to come back when a device or a sound server dies under it, so it
lives in a process that can be killed: ``python -m ser_live.sources.capture_worker``, started by
`Microphone`. It opens the device, says so, waits for a line on stdin, and then writes what it
captures to stdout (`ser_live.sources.capture_protocol`). Each line is a number: before so many
frames of its stream it need not write, for nothing is due. It ends when stdin ends, so it never
outlives its parent.
"""

import argparse
import contextlib
import functools
import itertools
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ser_live.command_line import USER_ERROR
from ser_live.errors import SerError
from ser_live.latency import LatencyHistogram, StageLatency
from ser_live.sources import capture_protocol as protocol
from ser_live.sources.capture_clock import CaptureClock
from ser_live.sources.devices import (
    InputDevice,
    find_input_device,
    load_portaudio,
    permission_hint,
    portaudio_inputs,
)
from ser_live.sources.ring import FrameRing, Wakeup
from ser_live.text import sanitize

_FIGURES_SECONDS = 1.0
_LOOK_SECONDS = 1.0
_FALLBACK_RATES_HZ = (48000, 44100, 16000)
_BUFFER_SECONDS = 5.0
# A device left alone calls back up to 500 times a second, which costs more than recognition.
_CALL_SECONDS = 0.05
_MOST_SECONDS = 0.25
_OLDEST_SECONDS = 1.0
_DOUBTFUL_SECONDS = 2.5  # half of the buffer
_HINT = f"is it in use, or is access to the microphone denied? {permission_hint()}"
_MOST_DURATIONS = 1000  # so many callbacks come between two looks at them, at the most


Tell = Callable[[protocol.Message], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the capture process and return its exit code."""
    arguments = parse(argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this one
    # The pipe is for messages alone: what native libraries print to stdout must not get into it.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    orders = Orders()
    for obedience in (orders.obey, _end_with_parent):
        threading.Thread(target=obedience, daemon=True).start()
    return run(arguments, orders, functools.partial(_tell, pipe))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what to open, or that devices are to be listed."""
    parser = argparse.ArgumentParser(
        prog="python -m ser_live.sources.capture_worker", description=__doc__
    )
    parser.add_argument("--device", help="name or index; default: the default microphone")
    parser.add_argument("--rate", type=int, help="try this rate first; default: the device's own")
    parser.add_argument("--channels", type=int, help="try so many channels first")
    parser.add_argument("--list", action="store_true", help="tell the input devices instead")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace, orders: "Orders", tell: Tell) -> int:
    """Capture or list, tell what happens, and return the exit code of a process."""
    try:
        if arguments.list:
            tell(protocol.Devices(tuple(portaudio_inputs(with_rates=True))))
        else:
            _capture(arguments, orders, tell)
    except Exception as error:  # the parent has to hear of it, whatever it is
        reason = str(error)
        if not isinstance(error, SerError):
            traceback.print_exc()
            reason = f"capture failed ({type(error).__name__}: {sanitize(reason)})"
        tell(protocol.Failed(reason))
        return USER_ERROR
    return 0


def _capture(arguments: argparse.Namespace, orders: "Orders", tell: Tell) -> None:
    device = find_input_device(arguments.device)
    orders.stream = stream = DeviceStream(device, arguments.rate, arguments.channels)
    tell(protocol.Opened(stream.name, stream.sample_rate_hz, stream.channels))
    orders.go.wait()
    stream.start()
    told_at = time.monotonic()
    # Figures by the clock, not by the block: a hint may let few blocks come.
    while not orders.are_over:
        stream.wait(_FIGURES_SECONDS)
        failure = stream.failure
        for audio in stream.audio():  # also what came before a failure
            tell(audio)
        if failure is not None:
            raise SerError(failure)
        if time.monotonic() - told_at >= _FIGURES_SECONDS:
            told_at = time.monotonic()
            tell(stream.callback_latency())


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
        self._arrived = Wakeup()
        self._durations: deque[float] = deque(maxlen=_MOST_DURATIONS)
        self._histogram = LatencyHistogram()
        self._frames = self._dropped_frames = self._seen_frames = 0
        self._stream = self._open(device, rate_hz, channels)
        self.sample_rate_hz = round(self._stream.samplerate)
        self.channels = int(self._stream.channels)
        self._most_frames: int = round(_MOST_SECONDS * self.sample_rate_hz)
        self.wanted_frames = 0
        self._most_doubtful = round(_DOUBTFUL_SECONDS * self.sample_rate_hz)
        self._clock = CaptureClock(self.sample_rate_hz)
        frames = round(_BUFFER_SECONDS * self.sample_rate_hz)
        self.ring = FrameRing(frames, self.channels, self.sample_rate_hz)

    def start(self) -> None:
        """Begin to capture."""
        try:
            self._stream.start()
        except load_portaudio().PortAudioError as error:
            raise SerError(f"{self.name}: does not start ({error}); {_HINT}") from error

    def close(self) -> None:
        """End capture and close the device, which hangs where the driver does."""
        self._stream.close(ignore_errors=True)

    def wait(self, timeout_seconds: float) -> None:
        """Wait until the wanted frames came or capture ended, but no longer than that."""
        self._arrived.wait(timeout_seconds)

    def callback_latency(self) -> StageLatency:
        """Return the cost of the audio callback up to now."""
        while self._durations:
            self._histogram.add(self._durations.popleft())
        return self._histogram.summary("callback")

    def audio(self) -> Iterator[protocol.Audio]:
        """Yield the frames that have come since the last call.

        Frames of which it is not sure where they stand wait for some time; an `Audio` without
        frames then says that some came.
        """
        seen, self._seen_frames = self._seen_frames, self.ring.written_frames
        before = self._frames
        while (block := self.ring.read(self._readable_frames())) is not None:
            dropped, self._dropped_frames = self._dropped_frames, self.ring.counters.dropped
            start = self._frames + block.missing_frames
            self._frames = start + len(block.samples)
            yield protocol.Audio(
                samples=block.samples,
                captured_at=self._clock.captured_at(self._frames),
                missing_frames=block.missing_frames + self._clock.take_losses(start),
                dropped_frames=self._dropped_frames - dropped,
                overruns=block.overruns,
            )
        if self._frames == before and self._seen_frames > seen and self._clock.is_settled:
            nothing = np.empty((0, self.channels), np.float32)
            yield protocol.Audio(nothing, self._clock.captured_at(before), 0, 0, 0)

    def _readable_frames(self) -> int:
        """Return how many frames may be read: up to the next loss, and as far as that is sure."""
        sure_frames = self._clock.sure_frames  # first: with a loss there is one more to see
        if self.failure is not None or self.ring.waiting_frames > self._most_doubtful:
            sure_frames = self.ring.written_frames
        loss = self._clock.next_loss()
        if loss is not None and loss > self._frames:
            sure_frames = min(sure_frames, loss)
        return max(0, min(sure_frames - self._frames, self._most_frames))

    def _open(self, device: InputDevice, rate_hz: int | None, channels: int | None) -> Any:
        portaudio = load_portaudio()
        tried: dict[str, str] = {}
        rates_hz = (rate_hz or device.default_rate_hz, device.default_rate_hz, *_FALLBACK_RATES_HZ)
        counts = (channels or min(2, device.channels), min(2, device.channels), 1)
        for rate, count in dict.fromkeys(itertools.product(rates_hz, counts)):
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
            f"{', '.join(tried)} ({list(tried.values())[-1]}); {_HINT}"
        )

    def _callback(self, samples: NDArray[Any], frames: int, times: Any, status: Any) -> None:
        """Copy and leave: the audio thread, which runs this, must not wait for a lock."""
        started_at = time.perf_counter()
        try:
            ring = self.ring
            now = time.monotonic()
            ring.write(samples, now, int(status.input_overflow))
            self._clock.note(ring.written_frames, now, self._age_seconds(frames, times))
            is_due = ring.written_frames >= self.wanted_frames
            if self._clock.is_settled and (is_due or ring.waiting_frames >= self._most_frames):
                self._arrived.set()
        except Exception as error:  # of any kind: PortAudio would swallow it
            self.failure = f"capture failed ({type(error).__name__}: {error})"
            self._arrived.set()
        self._durations.append(time.perf_counter() - started_at)

    def _age_seconds(self, frames: int, times: Any) -> float | None:
        """Return the age of the last frame; None where the device's clock is no help."""
        age_seconds: float = times.currentTime - times.inputBufferAdcTime
        age_seconds -= frames / self.sample_rate_hz
        is_true = times.inputBufferAdcTime > 0.0 and abs(age_seconds) <= _OLDEST_SECONDS
        return age_seconds if is_true else None

    def _ended(self) -> None:
        """Take note that no samples come any more: capture was not told to stop."""
        self.failure = self.failure or "the device is gone"
        self._arrived.set()


class Orders:
    """Orders of the listener, which is the parent of a capture process.

    Attributes
    ----------
    go : threading.Event
        Set when capture is to start, or to end before.
    are_over : bool
        Set in a thread; a process just ends.
    """

    def __init__(self) -> None:
        self.go = threading.Event()
        self.are_over = False
        self.stream: DeviceStream | None = None

    def give(self, frames: int) -> None:
        """Order capture, and that nothing need be told before so many frames of the stream."""
        if self.stream is not None:
            self.stream.wanted_frames = frames
        self.go.set()

    def end(self) -> None:
        """Order the end of capture."""
        self.are_over = True
        self.give(0)

    def obey(self) -> None:
        """Wait for the order to start, then for the end of stdin: no process listens any more."""
        while line := sys.stdin.buffer.readline():
            self.give(int(line) if line.strip().isdigit() else 0)
        os._exit(0)  # at once: PortAudio's own way out may hang on a device that is gone


def _tell(pipe: BinaryIO, message: protocol.Message) -> None:
    try:
        pipe.write(protocol.encode(message))
        pipe.flush()
    except OSError:  # the process that listened has gone
        os._exit(0)


def _end_with_parent() -> None:
    """End with the parent: a process that it forked may hold stdin open after its end."""
    parent = os.getppid()
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a kernel before 5.3, or the parent has just ended
            select.select([os.pidfd_open(parent)], [], [])
    while os.getppid() == parent:  # no other system tells of the end of a parent
        time.sleep(_LOOK_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    exit_code = main()
    sys.stderr.flush()
    os._exit(exit_code)  # at once: PortAudio's own way out may hang on a device that is gone
