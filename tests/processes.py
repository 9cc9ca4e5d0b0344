"""Running processes: which there are, and waiting for their end."""

import contextlib
import os
import select
import time
from collections.abc import Iterable
from pathlib import Path

from tools import process_usage


def children(pid: int | str = "self") -> set[int]:
    """Return the running children of a process; those that only wait to be reaped are left out."""
    return {child for child in process_usage.children(pid) if is_running(child)}


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
