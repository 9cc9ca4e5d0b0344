"""Python interpreter of this program, to start another program of Python."""

import contextlib
import os
import re
import sys
from pathlib import Path

_NAME = re.compile(r"(python|pypy|graalpy)[\w.-]*", re.IGNORECASE)


def interpreter() -> str | None:
    """Return the path of the interpreter; None where no program of Python can be started.

    ``sys.executable`` of a frozen program, or of one that Python is only a part of, is that
    program: what is meant to start a module would start all of it again.
    """
    path = Path(sys.executable or ".")
    is_frozen = hasattr(sys, "frozen") or "__compiled__" in globals()  # the latter of Nuitka
    return str(path) if not is_frozen and _NAME.fullmatch(path.name) and path.is_file() else None


def interpreter_environment() -> dict[str, str]:
    """Return the environment in which an interpreter finds modules where this one does."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    here = ""  # means the working folder in sys.path, which a child's path never names so
    with contextlib.suppress(OSError):  # it may be gone
        here = str(Path.cwd())
    paths = filter(None, [*given, *(str(path) or here for path in sys.path)])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
