"""The capture process, seen from the process that listens."""

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from ser_live.errors import SerError
from ser_live.latency import StageLatency
from ser_live.sources import wire
from ser_live.sources.devices import InputDevice, permission_hint

_log = logging.getLogger(__name__)

# -P: a numpy.py in the present folder is not the one that is meant.
_COMMAND = (sys.executable, "-P", "-m", "ser_live.capture")
_OPEN_SECONDS = 5.0
_LIST_SECONDS = 15.0
_END_SECONDS = 1.0
_LINES_PER_PERIOD = 20
_PERIOD_SECONDS = 10.0
_LONGEST_LINE = 200

AudioSink = Callable[[wire.Audio], None]


class Capture(Protocol):
    """What captures for a `Microphone`: a process, or a script of faults in a test."""

    failure: str | None
    """Why it ended; None while it goes on."""
    callback: StageLatency | None
    """What the audio callback has cost so far; None while nobody knows."""

    def open(self) -> wire.Opened:
        """Open the device, or raise SerError."""
        ...

    def start(self, sink: AudioSink) -> None:
        """Begin to capture; ``sink`` is called from another thread and must not wait."""
        ...

    def wait(self, timeout_seconds: float) -> None:
        """Wait until something came or capture ended, but no longer than that."""
        ...

    def close(self) -> None:
        """End it, whatever hangs."""
        ...


class CaptureProcess:
    """Run ``python -m ser_live.capture`` and take what it sends.

    Parameters
    ----------
    device : str, int or None
        Index, name or part of a name; None: the system's default.
    sample_rate_hz, channels : int or None
        Open it so; None: as the device likes best.
    command : sequence of str or None
        Another program that speaks `ser_live.sources.wire`.
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
        self._command = [*(command or _COMMAND)]
        asked = {"--device": device, "--rate": sample_rate_hz, "--channels": channels}
        self._command += [f"{name}={value}" for name, value in asked.items() if value is not None]
        self._process: subprocess.Popen[bytes] | None = None
        self._pump: threading.Thread | None = None
        self._arrived = threading.Event()
        self._opened: wire.Opened | None = None
        self._sink: AudioSink | None = None

    def open(self) -> wire.Opened:
        """Start the process and wait until it has opened the device.

        Raises
        ------
        SerError
            If it does not, or does not answer within five seconds.
        """
        self._process = process = _started(self._command)
        self._pump = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._pump.start()
        threading.Thread(target=_log_stderr, args=(process.stderr,), daemon=True).start()
        deadline = time.monotonic() + _OPEN_SECONDS
        while self._opened is None and self.failure is None and time.monotonic() < deadline:
            self.wait(deadline - time.monotonic())
        if self._opened is None:
            self.close()
            raise SerError(
                self.failure
                or f"the microphone did not open within {_OPEN_SECONDS:g} s; is the sound server "
                f"all right? {permission_hint()}"
            )
        return self._opened

    def start(self, sink: AudioSink) -> None:
        """Tell the process to capture; ``sink`` is called from a thread of our own."""
        self._sink = sink
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it has ended: the reader says so
                self._process.stdin.write(b"\n")
                self._process.stdin.flush()

    def wait(self, timeout_seconds: float) -> None:
        """Wait until something came or the process ended, but no longer than that."""
        self._arrived.wait(max(0.0, timeout_seconds))
        self._arrived.clear()

    def close(self) -> None:
        """Kill the process: it holds nothing but the device, which the system takes back."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:  # in the kernel, with the device: nobody can help it
            _log.warning("the capture process %d does not end; it is left alone", process.pid)
        if self._pump is not None and self._pump is not threading.current_thread():
            self._pump.join(_END_SECONDS)
        self._arrived.set()

    def _read(self, process: "subprocess.Popen[bytes]") -> None:
        stream = process.stdout
        try:
            while stream is not None and (message := wire.read(stream)) is not None:
                self._take(message)
        except (SerError, OSError, ValueError) as error:
            self.failure = self.failure or str(error)
        if stream is not None:
            stream.close()
        self.failure = self.failure or "the capture process ended"
        self._arrived.set()

    def _take(self, message: wire.Message) -> None:
        match message:
            case wire.Audio():
                if self._sink is not None:
                    self._sink(message)
            case wire.Opened():
                self._opened = message
            case wire.Failed():
                self.failure = message.message
            case StageLatency():
                self.callback = message
                return
        self._arrived.set()


def input_devices() -> list[InputDevice]:
    """Give the input devices with the rates that they accept, within fifteen seconds.

    Raises
    ------
    SerError
        Without the PortAudio library, or if it does not answer.
    """
    process = _started([*_COMMAND, "--list"])
    try:
        out, err = process.communicate(timeout=_LIST_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise SerError(
            f"the devices did not answer within {_LIST_SECONDS:g} s; restart the sound server"
        ) from error
    finally:
        process.kill()
        process.wait()
    if process.returncode == 0:
        records: list[dict[str, Any]] = json.loads(out)
        return [InputDevice(**{**r, "rates_hz": tuple(r["rates_hz"])}) for r in records]
    message = wire.read(io.BytesIO(out))
    if isinstance(message, wire.Failed):
        raise SerError(message.message)
    raise SerError(f"the devices cannot be listed: {err.decode(errors='replace')[-300:].strip()}")


def _started(command: list[str]) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    try:
        # A group of its own: Ctrl-C on the terminal is for us alone, who then end it.
        return subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=_environment(),
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    except OSError as error:
        raise SerError(f"{command[0]}: cannot start the capture process ({error})") from error


def _environment() -> dict[str, str]:
    """Ours, and the way to this package where it is not installed."""
    environment = dict(os.environ)
    home = Path(__file__).parents[2]
    if home.name not in ("site-packages", "dist-packages"):
        known = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([str(home), known] if known else [str(home)])
    return environment


def _log_stderr(stream: IO[bytes] | None) -> None:
    """Take all that native libraries print, log a little of it: a dead server yields gigabytes."""
    period_at, lines, unlogged = -_PERIOD_SECONDS, 0, 0
    while stream is not None and (chunk := stream.readline(_LONGEST_LINE)):
        now = time.monotonic()
        if now - period_at >= _PERIOD_SECONDS:
            if unlogged:
                _log.info("capture: %d more lines", unlogged)
            period_at, lines, unlogged = now, 0, 0
        if lines < _LINES_PER_PERIOD:
            lines += 1
            _log.info("capture: %s", chunk.decode(errors="replace").rstrip())
        else:
            unlogged += 1
    if unlogged:
        _log.info("capture: %d more lines", unlogged)
    if stream is not None:
        stream.close()
