"""Computed files: where they lie, how they are named, and that they are never half written."""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import platformdirs
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_train.corpora import Clip

_Loaded = TypeVar("_Loaded")


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


def load_each(
    clips: Sequence[Clip],
    load: Callable[[Clip], _Loaded],
    advance: Callable[[], None],
    skipped: Callable[[str], None] | None,
    threads: int = 2,
) -> list[_Loaded]:
    """Load clips on several threads, in order.

    Parameters
    ----------
    clips : sequence of Clip
    load : callable
    advance : callable
        Called after each clip.
    skipped : callable or None
        Told of each broken recording, which is then left out; None: a broken one raises.
    threads : int

    Raises
    ------
    SerError
        If a recording is broken and ``skipped`` is None, or if none is left.
    """
    loaded = []
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(load, clip) for clip in clips]
        try:
            for future in futures:
                try:
                    loaded.append(future.result())
                except SerError as error:
                    if skipped is None:
                        raise SerError(f"{error}; --skip-broken leaves such files out") from error
                    skipped(str(error))
                advance()
        finally:
            pool.shutdown(cancel_futures=True)
    if not loaded:
        raise SerError("no recording is left after leaving out the broken ones")
    return loaded
