"""What a child process prints to stderr: a little of it is logged, all of it is taken."""

import logging
import os
import threading
import time
from typing import IO

_LINES_PER_PERIOD = 20
_PERIOD_SECONDS = 10.0
_LONGEST_LINE = 200
_READ_BYTES = 1 << 16
_FLOODED_SECONDS = 0.01


class StderrLog:
    """Log a few lines of what a process prints, in a thread of its own.

    Native libraries print gigabytes when a sound server dies. Beyond some lines per ten seconds
    only their number is logged, and the process has to wait: 6 MB per second are taken.

    Parameters
    ----------
    stream : binary file
        The reading end; closed when the other one is.
    logger : Logger
        Lines go there at level info.
    prefix : str
        Before each line.
    """

    def __init__(self, stream: IO[bytes], logger: logging.Logger, prefix: str) -> None:
        self.last_line = ""
        self._stream = stream
        self._logger = logger
        self._prefix = prefix
        self._period_at = time.monotonic()
        self._lines = self._unlogged = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end of the process's output, but no longer than that."""
        self._thread.join(max(0.0, timeout_seconds))

    def _run(self) -> None:
        held = b""
        with self._stream:
            while data := os.read(self._stream.fileno(), _READ_BYTES):
                *lines, held = (held + data).split(b"\n")
                self._take([*lines, held] if len(held) > _LONGEST_LINE else lines)
                held = b"" if len(held) > _LONGEST_LINE else held
                if self._unlogged:
                    time.sleep(_FLOODED_SECONDS)
        self._take([held])
        self._tell_unlogged()

    def _take(self, lines: list[bytes]) -> None:
        if time.monotonic() - self._period_at >= _PERIOD_SECONDS:
            self._tell_unlogged()
            self._period_at, self._lines = time.monotonic(), 0
        lines = [line for line in lines if line.strip()]
        few = lines[: max(0, _LINES_PER_PERIOD - self._lines)]
        for line in few:
            self._logger.info("%s%s", self._prefix, _readable(line))
        self._lines += len(few)
        self._unlogged += len(lines) - len(few)
        if lines:
            self.last_line = _readable(lines[-1])

    def _tell_unlogged(self) -> None:
        if self._unlogged:
            self._logger.info("%s%d more lines", self._prefix, self._unlogged)
        self._unlogged = 0


def _readable(line: bytes) -> str:
    text = line[:_LONGEST_LINE].decode(errors="replace").strip()
    return "".join(c if c.isprintable() else " " for c in text)
