"""Computed files: where they lie, how they are named, and that they are never half written."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from ser_live.errors import SerError


def default_cache_folder() -> Path:
    """Return the user's folder for computed files: under $XDG_CACHE_HOME or the platform's own."""
    return platformdirs.user_cache_path("ser-live", appauthor=False)


def content_hash(samples: NDArray[np.float32]) -> str:
    """Hash decoded samples: equal recordings under two names have one hash."""
    return hashlib.sha256(samples.tobytes()).hexdigest()


def file_key(path: Path, settings: str) -> str:
    """Name the computed file of a recording: changes with path, size, time and settings."""
    try:
        status = path.stat()
    except OSError as error:
        raise SerError(f"{path}: no such audio file") from error
    text = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}|{settings}"
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside ``path`` by calling ``write``, then move it there in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        unfinished = Path(folder) / path.name
        write(unfinished)
        unfinished.replace(path)
