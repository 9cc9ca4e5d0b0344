"""Running processes: which there are, what this one holds, and waiting for their end."""

import contextlib
import os
import select
import time
from collections.abc import Iterable
from pathlib import Path


def children(pid: int | str = "self") -> set[int]:
    """Return the running children of a process; those that only wait to be reaped are left out."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended
            found |= {int(child) for child in (task / "children").read_text().split()}
    return {child for child in found if is_running(child)}


def handles() -> int:
    """Count the open files and sockets of this process."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - iterdir would hold one itself


def resident_bytes() -> int:
    """Return the memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def captures(pid: int | str = "self") -> set[int]:
    """Return the capture processes of a process."""
    return {
        child for child in children(pid) if b"ser_live.sources.capture_worker" in command(child)
    }


def command(pid: int) -> bytes:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def have_ended(pids: Iterable[int], timeout_seconds: float = 10.0) -> bool:
    """Wait for the end of processes, also of those that are not our children."""
    deadline = time.monotonic() + timeout_seconds
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                if not select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    return False
            finally:
                os.close(handle)
    return True
