"""What a process uses, whoever's it is, as far as the system tells: None where it does not."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

Process = int | str
"""Its number, or "self"."""

_UNTOLD = (OSError, ValueError, IndexError)


def resident_bytes(process: Process) -> int | None:
    """Give the memory that it has in use."""
    with contextlib.suppress(*_UNTOLD):
        pages = int(_read(process, "statm").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return None


def processor_seconds(process: Process) -> float | None:
    """Give the processor time of all its threads."""
    with contextlib.suppress(*_UNTOLD):
        fields = _status(process)
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return None


def threads(process: Process) -> int | None:
    """Count its threads."""
    with contextlib.suppress(*_UNTOLD):
        return int(_status(process)[17])
    return None


def handles(process: Process) -> int | None:
    """Count its open files and sockets."""
    with contextlib.suppress(*_UNTOLD):
        return len(os.listdir(f"/proc/{process}/fd"))  # noqa: PTH208 - iterdir may hold one itself
    return None


def children(process: Process) -> Iterator[int]:
    """Give the processes that it started."""
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread that has just ended
                yield from map(int, (task / "children").read_text("ascii").split())


def _status(process: Process) -> list[str]:
    # The name, in brackets, may hold anything.
    return _read(process, "stat").rpartition(")")[2].split()


def _read(process: Process, name: str) -> str:
    if sys.platform != "linux":
        raise OSError("only Linux has /proc as wanted")
    return Path(f"/proc/{process}/{name}").read_text("utf-8")
