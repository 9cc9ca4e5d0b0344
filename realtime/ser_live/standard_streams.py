"""Standard streams of all commands: what cannot be written there is lost, and raises nothing."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class _Sink(io.RawIOBase):
    """Bytes of a stream, below all who write text: print, argparse, logging, rich."""

    failure: OSError | None = None

    def __init__(self, stream: TextIO, is_vital: bool) -> None:
        self._raw: Any = getattr(stream.buffer, "raw", stream.buffer)
        self._is_vital = is_vital
        self._is_terminal = stream.isatty()  # one that hung up says no, and a view goes on blind

    def write(self, data: Any) -> int:
        left = memoryview(data)
        try:
            # After half a line the rest of another one must not follow.
            while left and self.failure is None:
                left = left[self._raw.write(left) or 0 :]
        except OSError as error:
            self.failure = error if self._is_vital else None
        return len(data)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._is_terminal


@contextlib.contextmanager
def safe_streams() -> Iterator[None]:
    """Let stdout and stderr take everything for the length of a block.

    They may be closed, full, broken, or unable to hold a character, which is then escaped. What
    stdout lost is told by `stdout_failure`; stderr is where that would be said, so what it loses
    is not missed.
    """
    # The next file to be opened would get the number of one that is closed, and its text.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _safe(sys.stdout, is_vital=True), _safe(sys.stderr, is_vital=False)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def stdout_failure() -> OSError | None:
    """Return why stdout takes no more, or None if it does."""
    return getattr(getattr(sys.stdout, "buffer", None), "failure", None)


def _safe(stream: TextIO | None, is_vital: bool) -> Any:
    if stream is None:  # closed before the start (``2>&-``), or a program without a console
        return io.TextIOWrapper(io.FileIO(os.devnull, "w"), "utf-8", "backslashreplace")
    if not hasattr(stream, "buffer"):  # in a notebook: it takes everything
        return stream
    with contextlib.suppress(OSError, AttributeError):  # Windows knows it since Python 3.12
        stream.flush()
        os.set_blocking(stream.fileno(), True)  # else a full pipe would be asked again and again
    sink: Any = _Sink(stream, is_vital)
    return io.TextIOWrapper(sink, stream.encoding, "backslashreplace", line_buffering=True)
