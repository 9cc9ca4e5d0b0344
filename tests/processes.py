"""Running processes: which there are, what this one holds, and waiting for their end."""

import time
from collections.abc import Collection

import psutil


def children(pid: int | None = None) -> set[int]:
    """Return the running children of a process; those that only wait to be reaped are left out.

    ``pid`` is the process; None: this one.
    """
    return {child.pid for child in psutil.Process(pid).children() if is_running(child.pid)}


def handles() -> int:
    """Count the open files and sockets of this process."""
    return int(psutil.Process().num_fds())


def resident_bytes() -> int:
    """Return the memory that this process has in use."""
    return int(psutil.Process().memory_info().rss)


def captures(pid: int | None = None) -> set[int]:
    """Return the capture processes of a process."""
    worker = "ser_live.sources.capture_worker"
    return {child for child in children(pid) if worker in " ".join(psutil.Process(child).cmdline())}


def is_running(pid: int) -> bool:
    """Tell whether there is such a process that has not ended; nothing is reaped."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def have_ended(pids: Collection[int], timeout_seconds: float = 10.0) -> bool:
    """Wait for the end of processes, also of those that are not our children."""
    deadline = time.monotonic() + timeout_seconds
    while any(map(is_running, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
