"""What a process and its children use of the machine, as far as the system tells."""

import gc
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tools.process_usage import children, processor_seconds, resident_bytes

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_SETTLED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Usage:
    """One look; None is what this system does not tell."""

    resident_bytes: int | None
    """Memory of this process, without garbage."""
    children_resident_bytes: int | None
    threads: int
    """Python threads of this process."""
    processor_seconds: float
    """Processor time of this process, all threads."""
    children_processor_seconds: float | None
    """The same of all children, those that have ended included."""


@dataclass(frozen=True, slots=True)
class Course:
    """How the use of memory and threads went."""

    before: Usage
    after_first_minute: Usage | None
    at_end: Usage
    by_hour: tuple[tuple[float, int | None], ...]
    """Hours, and resident bytes then."""

    @property
    def growth_bytes(self) -> int | None:
        """Resident memory from the end of the first minute to the end."""
        first, last = self.after_first_minute, self.at_end
        if first is None or first.resident_bytes is None or last.resident_bytes is None:
            return None
        return last.resident_bytes - first.resident_bytes


class Watch:
    """Look at the use of memory now and then."""

    def __init__(self) -> None:
        self._before = usage()
        self._after_first_minute: Usage | None = None
        self._by_hour: list[tuple[float, int | None]] = []

    def look(self, seconds: float) -> None:
        """Look, if that is due after so many seconds of the stream."""
        if self._after_first_minute is None and seconds >= _SETTLED_SECONDS:
            self._after_first_minute = usage()
        if seconds >= 3600.0 * (len(self._by_hour) + 1):
            self._by_hour.append((seconds / 3600.0, usage().resident_bytes))

    def course(self) -> Course:
        """Look for the last time and give all that was seen."""
        return Course(self._before, self._after_first_minute, usage(), tuple(self._by_hour))


def usage() -> Usage:
    """Look now."""
    gc.collect()
    own = list(children("self"))
    return Usage(
        resident_bytes=resident_bytes("self"),
        children_resident_bytes=_sum(resident_bytes(child) for child in own),
        threads=threading.active_count(),
        processor_seconds=time.process_time(),
        children_processor_seconds=_children_processor_seconds(own),
    )


def _sum(values: Iterator[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _children_processor_seconds(running: list[int]) -> float | None:
    if resource is None or sys.platform != "linux":
        return None
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime + sum(processor_seconds(c) or 0.0 for c in running)
