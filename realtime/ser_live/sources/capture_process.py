"""Capture process seen from the process that listens: started, read, and killed if it hangs."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO, Protocol, cast

if sys.platform == "linux":
    import fcntl

from ser_live.errors import SerError
from ser_live.interpreter import interpreter, interpreter_environment
from ser_live.latency import StageLatency
from ser_live.sources import capture_protocol as protocol
from ser_live.sources.devices import InputDevice, permission_hint
from ser_live.sources.ring import Wakeup
from ser_live.text import sanitize

_log = logging.getLogger(__name__)

_IS_CAPTURE = "SER_LIVE_IS_CAPTURE"  # in its environment
_OPEN_SECONDS = 5.0
_LIST_SECONDS = 15.0
_END_SECONDS = 1.5
_LAST_WORDS_SECONDS = 0.2  # its output may come a little after its end
_PIPE_BYTES = 1 << 18
_LINES_PER_PERIOD = 20
_PERIOD_SECONDS = 10.0
_LONGEST_LINE_BYTES = 1 << 12
_LINES_PER_PAUSE = 1000
_FLOODED_SECONDS = 0.02
_CLOSED = "the microphone was closed"

AudioSink = Callable[[protocol.Audio], None]


class Capture(Protocol):
    """Capture for a `Microphone`: a process, or a script of faults in a test."""

    failure: str | None
    """Reason of its end; None while it goes on."""
    callback: StageLatency | None
    """Cost of the audio callback so far; None while it is not known."""

    def open(self) -> protocol.Opened:
        """Open the device, or raise SerError."""
        ...

    def start(self, sink: AudioSink) -> None:
        """Begin to capture; ``sink`` is called from another thread and must not wait."""
        ...

    def expect(self, frames: int) -> None:
        """Take the hint that nothing is due before so many more frames came."""
        ...

    def wait(self, timeout_seconds: float) -> None:
        """Wait until something came or capture ended, but no longer than that."""
        ...

    def close(self) -> None:
        """End it, whatever hangs."""
        ...


class CaptureProcess:
    """Run ``python -m ser_live.sources.capture_worker``, take what it sends; one device, once.

    Parameters
    ----------
    device : str, int or None
        Index, name or part of a name; None: the system's default.
    sample_rate_hz, channels : int or None
        Try to open it so; None: as the device likes best.
    command : sequence of str or None
        Another program that speaks `ser_live.sources.capture_protocol`.
    """

    def __init__(
        self,
        device: str | int | None = None,
        sample_rate_hz: int | None = None,
        channels: int | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.failure: str | None = None
        self.callback: StageLatency | None = None
        asked = {"--device": device, "--rate": sample_rate_hz, "--channels": channels}
        self._command = command
        self._words = [f"{name}={value}" for name, value in asked.items() if value is not None]
        self._process: subprocess.Popen[bytes] | None = None
        self._pump: threading.Thread | None = None
        self._stderr: StderrLog | None = None
        self._is_closed = False
        self._closing = threading.Lock()
        self._arrived = Wakeup()
        self._answer: protocol.Opened | protocol.Devices | None = None
        self._sink: AudioSink | None = None
        self._frames = 0  # of the stream of the process

    def open(self) -> protocol.Opened:
        """Start the process and wait until it has opened the device.

        Raises
        ------
        SerError
            If it does not, or does not answer within five seconds, or is closed meanwhile.
        """
        answer = self._ask(
            _OPEN_SECONDS,
            f"the microphone did not open within {_OPEN_SECONDS:g} s; is the sound server all "
            f"right? {permission_hint()}",
        )
        if not isinstance(answer, protocol.Opened):
            self.close()
            raise SerError("the capture process did not open a device; start it again")
        return answer

    def devices(self) -> list[InputDevice]:
        """Start the process to list the devices instead, and end it.

        Raises
        ------
        SerError
            Without the PortAudio library, or if it does not answer within 15 seconds.
        """
        self._words = ["--list"]
        answer = self._ask(
            _LIST_SECONDS,
            f"the devices did not answer within {_LIST_SECONDS:g} s; restart the sound server",
        )
        self.close()
        return [*answer.devices] if isinstance(answer, protocol.Devices) else []

    def start(self, sink: AudioSink) -> None:
        """Tell the process to capture; ``sink`` is called from the reading thread."""
        self._sink = sink
        self._order(0)

    def expect(self, frames: int) -> None:
        """Let the process write when so many more frames have come, not each time that some do.

        Every message wakes four threads, which costs more than reading it.
        """
        self._order(self._frames + frames)

    def wait(self, timeout_seconds: float) -> None:
        """Wait until something came or the process ended, but no longer than that."""
        self._arrived.wait(timeout_seconds)

    def close(self) -> None:
        """Kill the process: it holds nothing but the device, which the system takes back."""
        with self._closing:  # `_launch` in another thread either sees this, or has a process
            self._is_closed = True
            process, self._process = self._process, None
        self._sink = None
        self._arrived.set()
        if process is None:
            return
        deadline = time.monotonic() + _END_SECONDS
        process.kill()
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:  # in the kernel, with the device: no signal helps
            _log.warning("the capture process %d does not end; it is left alone", process.pid)
        for reader in (self._pump, self._stderr):
            if reader is not None:
                reader.join(max(0.0, deadline - time.monotonic()))

    def _order(self, frames: int) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # it has ended: the reader says so
                process.stdin.write(b"%d\n" % frames)
                process.stdin.flush()

    def _ask(self, timeout_seconds: float, too_late: str) -> protocol.Opened | protocol.Devices:
        """Start the process and wait for its answer; it is killed if none comes."""
        try:
            self._launch()
            deadline = time.monotonic() + timeout_seconds
            while not (self._answer or self.failure or self._is_closed):
                if time.monotonic() >= deadline:
                    raise SerError(too_late)
                self.wait(deadline - time.monotonic())
            if self._is_closed or self._answer is None:
                raise SerError(self.failure or _CLOSED)
        except BaseException:
            self.close()
            raise
        return self._answer

    def _launch(self) -> None:
        pipe = subprocess.PIPE
        if _IS_CAPTURE in os.environ:  # whatever was taken for Python must not start itself again
            raise SerError(f"{sys.executable} was started to capture and did something else")
        command = [*(self._command or _worker_command()), *self._words]
        try:
            # A group of its own: Ctrl-C on the terminal is for this process alone, which ends it.
            process = subprocess.Popen(
                command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env={**interpreter_environment(), _IS_CAPTURE: "1"},
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise SerError(f"{command[0]}: cannot start the capture process ({error})") from error
        if sys.platform == "linux" and process.stdout is not None:
            # A message in one piece: each time that the writer has to wait costs two wakes.
            with contextlib.suppress(OSError):  # more than this user may have
                fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        with self._closing:
            self._process = process
            self._stderr = StderrLog(cast(IO[bytes], process.stderr))
            self._pump = threading.Thread(target=self._read, args=(process,), daemon=True)
            self._pump.start()

    def _read(self, process: "subprocess.Popen[bytes]") -> None:
        try:
            with cast(IO[bytes], process.stdout) as stream:
                while (message := protocol.read(stream)) is not None:
                    self._take(message)
            reason = self._epitaph(process)
        except Exception as error:  # whatever it is, it must not look like silence
            reason = str(error)
        self.failure = self.failure or reason
        self._arrived.set()

    def _take(self, message: protocol.Message) -> None:
        match message:
            case protocol.Audio():
                if (sink := self._sink) is not None:
                    sink(message)
                self._frames += len(message.samples) + message.dropped_frames
            case protocol.Failed():
                self.failure = message.message
            case StageLatency():
                self.callback = message
            case _:
                self._answer = message
        self._arrived.set()

    def _epitaph(self, process: "subprocess.Popen[bytes]") -> str:
        """Return a sentence on how the process ended, with its last words."""
        if self._is_closed:
            return _CLOSED
        how = []
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(_LAST_WORDS_SECONDS)
            how.append(signal.strsignal(-code) or f"{code}" if code < 0 else f"exit code {code}")
        if self._stderr is not None:
            self._stderr.join(_LAST_WORDS_SECONDS)
            how += [self._stderr.last_line] if self._stderr.last_line else []
        return f"the capture process ended ({': '.join(how)})"


def _worker_command() -> list[str]:
    python = interpreter()
    if python is None:
        raise SerError(
            f"{sys.executable or 'this program'} is no Python interpreter, so it starts no "
            "capture process; leave open_capture and command out"
        )
    # -P: a numpy.py in the present folder is not the one that is meant.
    return [python, "-P", "-m", "ser_live.sources.capture_worker"]


class StderrLog(threading.Thread):
    """Log of a few lines of what a process prints, kept by a thread of its own.

    Native libraries print gigabytes when a sound server dies. Beyond some lines per ten seconds
    only their number is logged, and the process has to wait: some MB per second are taken.

    Parameters
    ----------
    stream : binary file
        The reading end; closed when the other one is.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._last = b""
        self._stream = stream
        self.start()

    @property
    def last_line(self) -> str:
        """The last line that is not blank, as text that prints."""
        return sanitize(self._last.decode(errors="replace"))

    def run(self) -> None:
        """Read to the end of the process's output."""
        period_at, logged, unlogged = time.monotonic(), 0, 0
        with self._stream:
            while line := self._stream.readline(_LONGEST_LINE_BYTES):
                if time.monotonic() - period_at >= _PERIOD_SECONDS:
                    _log_number(unlogged)
                    period_at, logged, unlogged = time.monotonic(), 0, 0
                if not line.strip():
                    continue
                self._last = line
                if logged < _LINES_PER_PERIOD:
                    logged += 1
                    _log.info("capture: %s", self.last_line)
                    continue
                unlogged += 1
                # The pipe fills, so that the process waits instead of this one.
                if unlogged % _LINES_PER_PAUSE == 1:
                    time.sleep(_FLOODED_SECONDS)
        _log_number(unlogged)


def _log_number(unlogged: int) -> None:
    if unlogged:
        _log.info("capture: %d more lines", unlogged)
