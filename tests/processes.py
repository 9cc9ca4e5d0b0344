"""What a process holds, from /proc."""

import contextlib
import os
from pathlib import Path


def children(pid: int | str = "self") -> set[int]:
    """Give the running children of a process, those that wait to be asked for aside."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended
            found |= {int(child) for child in (task / "children").read_text().split()}
    return {child for child in found if is_running(child)}


def captures(pid: int | str = "self") -> set[int]:
    """Give the capture processes of a process."""
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


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - iterdir would hold one itself


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
