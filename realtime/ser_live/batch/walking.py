"""Recordings among files and folders."""

import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from ser_live.errors import SerError
from ser_live.text import quoted

_ENDINGS = """
aac ac3 aif aifc aiff amr au avi caf flac m4a m4b mka mkv mov mp2 mp3 mp4 mpga oga ogg opus rf64 snd
w64 wav wave webm wma wmv
"""
AUDIO_PATTERNS = tuple(f"*.{ending}" for ending in _ENDINGS.split())

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def find_files(paths: Paths, patterns: Sequence[str] = ()) -> list[str]:
    """Return files and those in folders, each once, in a lasting order.

    Parameters
    ----------
    paths : path or iterable of path
        A file is taken as it is; a folder is walked, but for what is hidden in it.
    patterns : sequence of str
        Names of files to take from folders, like ``*.wav``, in any case; none: those of audio and
        video.

    Returns
    -------
    list of str
        A folder that cannot be read is there as ``FOLDER/*``, which cannot be read either.

    Raises
    ------
    SerError
        If one of them is no path.
    """
    try:
        several = [paths] if isinstance(paths, str | os.PathLike) else paths
        given = [os.fspath(path) for path in several]
    except TypeError as error:
        raise SerError(f"paths is {quoted(paths)}, wanted paths of files or folders") from error
    wanted = [pattern.lower() for pattern in patterns or AUDIO_PATTERNS]
    found: dict[str, str] = {}
    for path in given:
        for file in _walked(path, wanted) if os.path.isdir(path) else [path]:  # noqa: PTH112 - many
            found.setdefault(os.path.abspath(file), file)  # noqa: PTH100
    return list(found.values())


def _walked(folder: str, patterns: Sequence[str]) -> Iterator[str]:
    closed: list[str] = []
    for place, folders, names in os.walk(folder, onerror=lambda e: closed.append(str(e.filename))):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            is_wanted = any(fnmatchcase(name.lower(), pattern) for pattern in patterns)
            if is_wanted and not name.startswith("."):
                yield os.path.join(place, name)  # noqa: PTH118
    yield from (os.path.join(place, "*") for place in closed)  # noqa: PTH118
