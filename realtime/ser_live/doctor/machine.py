"""Clock, memory and processors."""

import contextlib
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ser_live.doctor.finding import Finding

_COARSE_SECONDS = 0.02
_SCARCE_BYTES = 256 * 2**20


def check_clock() -> Iterator[Finding]:
    """Measure the smallest step of the clock that dates samples."""
    info = time.get_clock_info("monotonic")
    tick_seconds = min(_tick_seconds() for _ in range(5))
    figures = {
        "tick_seconds": tick_seconds,
        "resolution_seconds": info.resolution,
        "implementation": info.implementation,
    }
    # On a fine clock the step is the cost of reading it: a bound from above.
    fine = tick_seconds < 1e-5
    sentence = f"a step of time.monotonic is {'under 10 us' if fine else f'{tick_seconds:.2g} s'}"
    if tick_seconds > _COARSE_SECONDS:
        remedy = "take Python 3.13 or newer, whose clock is finer; until then lags are rough"
        yield Finding("clock", "warning", sentence, remedy, figures)
    else:
        yield Finding("clock", "ok", sentence, None, figures)


def check_memory() -> Iterator[Finding]:
    """Look at the free memory."""
    free_bytes = _free_bytes()
    figures = {"free_bytes": free_bytes}
    if free_bytes is None:
        yield Finding("memory", "skipped", "this system does not say how much is free")
    elif free_bytes < _SCARCE_BYTES:
        remedy = "close other programs: ser-live takes up to 140 MiB"
        sentence = f"only {free_bytes / 2**20:.0f} MiB free"
        yield Finding("memory", "warning", sentence, remedy, figures)
    else:
        yield Finding("memory", "ok", f"{free_bytes / 2**30:.1f} GiB free", None, figures)


def check_processors() -> Iterator[Finding]:
    """Say what computes here."""
    name, count, usable = _processor_name(), os.cpu_count() or 1, usable_processors()
    figures = {"name": name, "count": count, "usable": usable, "machine": platform.machine()}
    share = "" if usable == count else f", {usable} of them for this process"
    yield Finding("processors", "ok", f"{count} x {name}{share}", None, figures)


def usable_processors() -> int:
    """Give the number of processors that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _tick_seconds() -> float:
    start = time.monotonic()
    while (now := time.monotonic()) == start:
        pass
    return now - start


def _free_bytes() -> int | None:
    if sys.platform == "win32":
        return _free_bytes_of_windows()
    if sys.platform == "darwin":
        pages = _told_by("vm_stat")
        size = re.search(r"page size of (\d+)", pages)
        free = re.findall(r"Pages (?:free|inactive|speculative):\s+(\d+)", pages)
        return int(size[1]) * sum(map(int, free)) if size and free else None
    with contextlib.suppress(OSError):
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text("ascii"))
        return int(found[1]) * 1024 if found else None
    return None


def _free_bytes_of_windows() -> int | None:
    if sys.platform != "win32":
        return None
    import ctypes  # noqa: PLC0415 - Windows alone needs it

    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "free", "a", "b", "c", "d", "e")),
        )

    status = Status(length=ctypes.sizeof(Status))
    known = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.free) if known else None


def _processor_name() -> str:
    if sys.platform == "darwin":
        return _told_by("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text("utf-8", errors="replace")
        # Boards with ARM processors name the board instead.
        if found := re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE):
            return found[1].strip()
    return platform.processor() or platform.machine() or "unknown"


def _told_by(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
