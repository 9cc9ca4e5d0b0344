"""Running processes: which there are, what this one holds, and their end, by Ctrl-C or not."""

import contextlib
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence

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


def imported(code: str, unwanted: Collection[str], environment: dict[str, str]) -> str:
    """Run code in a process of its own, and return which of some modules it has loaded."""
    code = f"import sys\n{code}\nprint([m for m in {[*unwanted]} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


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


def interrupted(
    command: Sequence[str], environment: dict[str, str], is_ready: Callable[[psutil.Process], bool]
) -> tuple[int, str, str]:
    """Run a command, press Ctrl-C when it is ready, and return its exit code, stdout and stderr."""
    pipe, deadline = subprocess.PIPE, time.monotonic() + 60.0
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            running = psutil.Process(process.pid)
            while process.poll() is None and not is_ready(running):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=40.0)
        finally:
            process.kill()
    return process.returncode, out, err


@contextlib.contextmanager
def files_no_larger_than(size_bytes: int) -> Iterator[None]:
    """Let no file of this process grow further, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
