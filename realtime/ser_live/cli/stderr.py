"""Messages, events and logged lines on stderr, also beside a live view."""

import contextlib
import logging
import sys
from collections import deque
from collections.abc import Iterator
from typing import Self

_MOST_HELD = 1000
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class Stderr:
    """Lines for people on stderr, at once or when the screen is free again.

    Parameters
    ----------
    program : str
        Stands before each line.
    is_held : bool
        A live view has the screen: keep the latest thousand lines until the context ends.
    """

    def __init__(self, program: str, is_held: bool = False) -> None:
        self.program = program
        self._held: deque[str] | None = deque(maxlen=_MOST_HELD) if is_held else None
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        held, self._held = self._held or (), None
        if self._count > len(held):
            self.print(f"{self._count - len(held)} lines before these are left out")
        for line in held:
            print(line, file=sys.stderr)

    def print(self, text: str) -> None:
        """Print or keep a line."""
        line = f"{self.program}: {text}"
        if self._held is None:
            print(line, file=sys.stderr)
        else:
            self._held.append(line)
            self._count += 1


class _Handler(logging.Handler):
    """Hand log records to a `Stderr`."""

    def __init__(self, stderr: Stderr, verbosity: int) -> None:
        super().__init__()
        self._stderr = stderr
        origin = "%(asctime)s %(name)s: " if verbosity else ""
        self.setFormatter(logging.Formatter(f"{origin}%(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # a closed stderr must not end the thread that logs
            self._stderr.print(f"{record.levelname.lower()}: {self.format(record)}")


@contextlib.contextmanager
def logging_to(stderr: Stderr, verbosity: int) -> Iterator[None]:
    """Print log records of the package: 0: warnings, 1: also information, 2: everything."""
    logger = logging.getLogger("ser_live")
    before = (logger.level, logger.propagate)
    handler = _Handler(stderr, verbosity)
    logger.addHandler(handler)
    logger.setLevel(_LEVELS[min(verbosity, 2)])
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
