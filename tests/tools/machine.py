"""The machine that figures were measured on, and how much of it a process uses."""

import os
import platform
import time
from dataclasses import dataclass

import numpy as np
import onnxruntime
import psutil

from ser_live import __version__
from ser_live.hardware import processor_name


def conditions(model_name: str) -> dict[str, object]:
    """Return machine, versions and model, on which the figures of a run depend."""
    return {
        "ser live": __version__,
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
        "model": model_name,
    }


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources of a process at one moment; None: the system does not tell."""

    at_seconds: float
    """On the monotonic clock."""
    resident_mib: float | None = None
    processor_seconds: float | None = None
    """Of all threads."""
    threads: int | None = None
    handles: int | None = None
    """Open files and sockets."""

    def core_share_since(self, before: "Usage") -> float | None:
        """Return the processor time since an earlier moment, as a share of one core."""
        if self.processor_seconds is None or before.processor_seconds is None:
            return None
        seconds = self.at_seconds - before.at_seconds
        return (self.processor_seconds - before.processor_seconds) / seconds


def usage(pid: int | None) -> Usage:
    """Return what a process uses; nothing but the time if there is no such process."""
    now = time.monotonic()
    try:
        process = psutil.Process(-1 if pid is None else pid)
        with process.oneshot():
            times = process.cpu_times()
            return Usage(
                at_seconds=now,
                resident_mib=process.memory_info().rss / 2**20,
                processor_seconds=times.user + times.system,
                threads=process.num_threads(),
                handles=process.num_handles() if psutil.WINDOWS else process.num_fds(),
            )
    except (psutil.Error, ValueError):  # a number below zero is no process
        return Usage(now)


def children_usage() -> Usage:
    """Return memory and processor time of this process' children; of those that ended the time."""
    own = psutil.Process()
    ended, running = own.cpu_times(), [usage(child.pid) for child in own.children()]
    return Usage(
        at_seconds=time.monotonic(),
        resident_mib=sum(child.resident_mib or 0.0 for child in running),
        processor_seconds=ended.children_user
        + ended.children_system
        + sum(child.processor_seconds or 0.0 for child in running),
    )
