"""Messages, events and logged lines on stderr, also beside a live view."""

import logging
import sys
from collections import deque
from typing import Self

_MOST_HELD = 1000
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
_LOGGER = logging.getLogger("ser_live")


class Stderr(logging.Handler):
    """Lines for people and log records on stderr, at once or when the screen is free again.

    Parameters
    ----------
    program : str
        Stands before each line.
    is_held : bool
        A live view has the screen: keep the latest thousand lines until the context ends.
    verbosity : int
        What is printed: -1: warnings of the log alone, 0: also lines for people, 1: also the log's
        information, 2 and more: everything.
    """

    def __init__(self, program: str, is_held: bool = False, verbosity: int = 0) -> None:
        super().__init__()
        origin = "%(asctime)s %(name)s: " if verbosity > 0 else ""
        self.setFormatter(logging.Formatter(f"{origin}%(message)s", "%H:%M:%S"))
        self.program = program
        self._verbosity = verbosity
        self._held: deque[str] | None = deque(maxlen=_MOST_HELD) if is_held else None
        self._count = 0

    def __enter__(self) -> Self:
        self._before = (_LOGGER.level, _LOGGER.propagate)
        _LOGGER.addHandler(self)
        _LOGGER.setLevel(_LEVELS[min(max(self._verbosity, 0), 2)])
        _LOGGER.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        _LOGGER.removeHandler(self)
        _LOGGER.setLevel(self._before[0])
        _LOGGER.propagate = self._before[1]
        held, self._held = self._held or (), None
        if self._count > len(held):
            self._say(f"{self._count - len(held)} lines before these are left out")
        for line in held:
            print(line, file=sys.stderr)

    def print(self, text: str) -> None:
        """Print or keep a line for people."""
        if self._verbosity >= 0:
            self._say(text)

    def emit(self, record: logging.LogRecord) -> None:
        """Print or keep a log record."""
        self._say(f"{record.levelname.lower()}: {self.format(record)}")

    def _say(self, text: str) -> None:
        line = f"{self.program}: {text}"
        if self._held is None:
            print(line, file=sys.stderr)
        else:
            self._held.append(line)
            self._count += 1
