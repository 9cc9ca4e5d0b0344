"""Python programs of a few lines in a process of their own: they may crash or hang."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    code: int | None
    """Exit code, negative for a signal; None: it was killed because its time was up."""
    out: str
    error: str
    """Last line of its stderr: of a traceback, the exception."""


def run_children(
    code: str, argument_lists: Sequence[Sequence[str]], timeout_seconds: float
) -> list[Ended]:
    """Run the same program once for each list of arguments, all at the same time.

    The children find modules where this process finds them.
    """
    # An empty entry means the working folder, which a child's path never names so.
    paths = [path or os.getcwd() for path in sys.path]  # noqa: PTH109 - a plain string
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
    children = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", code, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for arguments in argument_lists
    ]
    try:
        return [_end(child, timeout_seconds) for child in children]
    finally:
        for child in children:
            child.kill()


def _end(child: "subprocess.Popen[bytes]", timeout_seconds: float) -> Ended:
    try:
        out, error = child.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=1.0)
        return Ended(None, "", "")
    lines = error.decode(errors="replace").strip().splitlines()
    return Ended(child.returncode, out.decode(errors="replace").strip(), lines[-1] if lines else "")
