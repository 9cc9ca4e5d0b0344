"""Journal of a run over many files: what is finished is never done again."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_live.errors import SerError
from ser_live.output.files import GrowingFile
from ser_live.output.tables import Row
from ser_live.text import sanitize

Version = tuple[int, int] | None
"""Size in bytes and time of the last change in ns; None of a file that cannot be asked."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Finished file in the journal."""

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
        If the one that is there was made under other conditions or is none, or would be overwritten
        though its run is unfinished.
    """

    def __init__(
        self, path: str | os.PathLike[str], conditions: Mapping[str, object], is_resumed: bool
    ) -> None:
        self.path = Path(path)
        self._places: dict[str, _Place] = {}
        self._is_finished = True
        found, size = self._read() if self.path.exists() else (None, 0)
        if self._places and not is_resumed and not self._is_finished:
            raise SerError(
                f"{self.path}: holds {len(self._places)} finished files of an earlier run; go on "
                "with --resume, or remove it to begin again"
            )
        if found is None or not is_resumed:
            self._places = {}
            self._file = GrowingFile(self.path, "wb")
            self._append({"type": "batch", **conditions})
        else:
            self._check(found, conditions)
            os.truncate(self.path, size)
            self._file = GrowingFile(self.path, "ab")

    def close(self) -> None:
        """Close it; all that it holds has been written before."""
        self._file.close()

    def state(self, path: str, version: Version) -> str:
        """Return "done", "changed" since, or "new", as is a file that failed."""
        place = self._places.get(path)
        if place is None or place.has_failed:
            return "new"
        return "done" if place.version == version else "changed"

    def add(self, path: str, version: Version, error: str | None, rows: list[Row]) -> None:
        """Append a finished file and its rows."""
        place = _Place(self._file.size, version, error is not None)
        record = {"type": "file", "path": path, "version": version, "error": error, "rows": rows}
        self._append(record)
        self._places[path] = place

    def finish(self) -> None:
        """Note that nothing is left to do."""
        self._append({"type": "end"})

    def rows(self) -> Iterator[list[Row]]:
        """Yield the rows of each file, by path."""
        with self.path.open("rb") as lines:
            for _, place in sorted(self._places.items()):
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
                    version = record["version"] and tuple(record["version"])
                    has_failed = record["error"] is not None
                    self._places[record["path"]] = _Place(size, version, has_failed)
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


def version_of(path: str) -> Version:
    """Return what tells a file from what it was before."""
    with suppress(OSError, ValueError):
        status = os.stat(path)  # noqa: PTH116 - of thousands
        return status.st_size, status.st_mtime_ns
    return None
