"""Processors and memory of this machine."""

import contextlib
import os
import platform
import re
import subprocess
import sys
from pathlib import Path


def processor_name() -> str:
    """Return the name of the processor."""
    if sys.platform == "darwin":
        return _output_of("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    # Boards with ARM processors name the board instead.
    name = _found(r"^(?:model name|Model)\s*:\s*(.+)$", "/proc/cpuinfo")
    return name or platform.processor() or platform.machine() or "unknown"


def usable_processors() -> int:
    """Return the number of processors that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_bytes() -> int | None:
    """Return the memory that programs may still take; None where the system does not say."""
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415 - only there

        # MEMORYSTATUSEX: its own length and the load in one number, then totals and what is free.
        status = (ctypes.c_uint64 * 8)(64)
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return status[2] or None
    if sys.platform == "darwin":
        pages = _output_of("vm_stat")
        size = re.search(r"page size of (\d+)", pages)
        free = re.findall(r"Pages (?:free|inactive|speculative):\s+(\d+)", pages)
        return int(size[1]) * sum(map(int, free)) if size and free else None
    kibibytes = _found(r"^MemAvailable:\s+(\d+) kB", "/proc/meminfo")
    return int(kibibytes) * 1024 if kibibytes else None


def _found(pattern: str, path: str) -> str:
    """Return what a line of a file of the system says; "" where it says nothing."""
    with contextlib.suppress(OSError):
        found = re.search(pattern, Path(path).read_text("utf-8", errors="replace"), re.MULTILINE)
        return found[1].strip() if found else ""
    return ""


def _output_of(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
