"""Journal of a run over many files: what is finished is never done again."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ser_live.errors import SerError
from ser_live.output.files import GrowingFile
from ser_live.output.tables import Row
from ser_live.text import sanitize

if sys.platform != "win32":
    import fcntl

Version = tuple[int, int] | None
"""Size in bytes and time of the last change in ns; None of a file that cannot be asked."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Finished file in the journal."""

    path: str
    """As it was given."""
    offset: int
    """Of its line, in bytes."""
    version: Version
    has_failed: bool


class Journal:
    """Rows of finished files: JSON lines that are whole whenever the run ends.

    The first line says what the rows depend on. A line for each file holds its rows; the last one
    of a path counts. A line that was cut off by the end of the process is dropped.

    Parameters
    ----------
    path : path
        Where it is.
    conditions : mapping
        Whatever makes other rows of the same file: model, options ...
    is_resumed : bool
        Go on with the one that is there, if there is one; else it is overwritten.

    Raises
    ------
    SerError
        If the one that is there was made under other conditions or is none, would be overwritten
        though its run is unfinished, or is being written by another run.
    """

    def __init__(
        self, path: str | os.PathLike[str], conditions: Mapping[str, object], is_resumed: bool
    ) -> None:
        self.path = Path(path)
        self._places: dict[str, _Place] = {}  # by absolute path: one file has many names
        self._is_finished = True
        self._lock = _locked(self.path)
        try:
            self._file = self._opened(conditions, is_resumed)
        except BaseException:
            self._lock.close()
            raise
        if not self._file.size:
            self._append({"type": "batch", **conditions})

    def _opened(self, conditions: Mapping[str, object], is_resumed: bool) -> GrowingFile:
        """Take what is there, and return it, open at its end."""
        found, size = self._read()
        if self._places and not is_resumed and not self._is_finished:
            raise SerError(
                f"{self.path}: holds {len(self._places)} finished files of an earlier run; go on "
                "with --resume, or remove it to begin again"
            )
        if found is None or not is_resumed:
            self._places = {}
            return GrowingFile(self.path, "wb")
        self._check(found, conditions)
        os.truncate(self.path, size)
        return GrowingFile(self.path, "ab")

    def close(self) -> None:
        """Close it; all that it holds has been written before."""
        self._file.close()
        self._lock.close()

    def state(self, path: str, version: Version) -> str:
        """Return "done", "changed" since, or "new", as is a file that failed."""
        place = self._places.get(os.path.abspath(path))  # noqa: PTH100 - of thousands
        if place is None or place.has_failed:
            return "new"
        return "done" if place.version == version else "changed"

    def add(self, path: str, version: Version, error: str | None, rows: list[Row]) -> None:
        """Append a finished file and its rows."""
        place = _Place(path, self._file.size, version, error is not None)
        record = {"type": "file", "path": path, "version": version, "error": error, "rows": rows}
        self._append(record)
        self._places[os.path.abspath(path)] = place  # noqa: PTH100

    def finish(self) -> None:
        """Note that nothing is left to do."""
        self._append({"type": "end"})

    def rows(self) -> Iterator[list[Row]]:
        """Yield the rows of each file, by path."""
        with self.path.open("rb") as lines:
            for place in sorted(self._places.values(), key=lambda place: place.path):
                lines.seek(place.offset)
                yield json.loads(lines.readline())["rows"]

    def _append(self, record: Mapping[str, object]) -> None:
        self._file.append(json.dumps(record, allow_nan=False).encode() + b"\n")

    def _read(self) -> tuple[object, int]:
        """Find the finished files; return the first record, and the size of all whole ones."""
        first: object = None
        size = 0
        with self.path.open("rb") as lines:
            for line in lines:
                record: Any = None
                with suppress(ValueError):  # damage is as good as never written
                    record = json.loads(line) if line.endswith(b"\n") else None
                kind = record.get("type") if isinstance(record, dict) else None
                if size == 0 and kind != "batch" and line.endswith(b"\n"):
                    raise SerError(f"{self.path}: is no journal of a batch; move it away")
                first = first or record
                if kind == "file":
                    path, version = record["path"], record["version"] and tuple(record["version"])
                    place = _Place(path, size, version, record["error"] is not None)
                    self._places[os.path.abspath(path)] = place  # noqa: PTH100
                self._is_finished = kind == "end"
                size += len(line) if line.endswith(b"\n") else 0
        return first, size

    def _check(self, found: Any, conditions: Mapping[str, object]) -> None:
        then = {name: value for name, value in found.items() if name != "type"}
        now = json.loads(json.dumps(dict(conditions)))
        names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
        if names:
            differ = ", ".join(
                f"{name} {then.get(name)} then and {now.get(name)} now" for name in names
            )
            raise SerError(
                f"{self.path}: is of another run ({sanitize(differ)}); give the same options, or "
                "another --output"
            )


def _locked(path: Path) -> BinaryIO:
    """Open a journal, and keep other runs out of it until it is closed."""
    file = path.open("ab")
    if sys.platform != "win32":  # which has no such lock
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise SerError(
                f"{path}: another run is writing it; wait for its end, or give another --output"
            ) from None
        except OSError:  # some network folders have no locks
            pass
    return file


def version_of(path: str) -> Version:
    """Return what tells a file from what it was before."""
    with suppress(OSError, ValueError):
        status = os.stat(path)  # noqa: PTH116 - of thousands
        return status.st_size, status.st_mtime_ns
    return None
