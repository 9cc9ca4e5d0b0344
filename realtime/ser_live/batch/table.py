"""Tables of many files: a row for each file, segment, hop or utterance."""

import json
import os
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

from ser_live.batch.worker import FileResult
from ser_live.engine.segments import UNCERTAIN
from ser_live.errors import SerError
from ser_live.live.recognition import Recognition
from ser_live.output.files import GrowingFile
from ser_live.output.formats import json_record
from ser_live.output.tables import Row, csv_lines, flat, require_pyarrow, write_parquet
from ser_live.text import sanitize

RowKind = Literal["summary", "segment", "prediction", "utterance"]

_ENDINGS = (".csv", ".jsonl", ".parquet")
_COLUMNS: dict[RowKind, str] = {
    "summary": "audio_seconds mean_confidence notes",
    "segment": "start_seconds end_seconds label mean_confidence",
    "prediction": "index start_seconds end_seconds state label confidence changed degraded",
    "utterance": "start_seconds end_seconds label confidence speech_seconds",
}


def rows_of(result: FileResult, kind: RowKind) -> list[Row]:
    """Return the rows of a file: JSON values, and the same for the same audio.

    A file that failed has one row, with its error.
    """
    recognition = result.recognition
    head: Row = {"type": kind, "path": result.path, "channel": None, "error": result.error}
    if recognition is None:
        return [head]
    if kind == "summary":
        return [head | _summary(part) for part in recognition.by_channel.values()]
    rows = [head | json_record(record) for record in getattr(recognition, f"{kind}s")]
    if kind == "prediction":
        rows = [row | {"timing": None, "lag_seconds": None} for row in rows]
    return rows


def columns_of(kind: RowKind, labels: Sequence[str]) -> list[str]:
    """Return the names of the columns that rows have for the labels of a model."""
    columns = ["path", "channel", "error", *_COLUMNS[kind].split()]
    names = dict.fromkeys((*labels, UNCERTAIN, "warming_up", "silence"))
    if kind == "summary":
        columns += flat({"seconds": names, "shares": names})
    elif kind != "segment":
        columns += flat({"probabilities": dict.fromkeys(labels)})
    return columns


def _summary(recognition: Recognition) -> Row:
    name = f"{sanitize(recognition.path)}: "  # it has a column of its own
    notes = "; ".join(note.removeprefix(name) for note in recognition.notes)
    return {
        "channel": next(iter(recognition.channels), None),
        "audio_seconds": recognition.audio_seconds,
        "notes": notes or None,
        **recognition.summary.to_dict(),
    }


class Table:
    """File of rows: CSV, JSON lines or Parquet, by its ending.

    Parameters
    ----------
    path : path
        Where it is.
    kind : str
        Of its rows.
    labels : sequence of str
        Of the model.

    Attributes
    ----------
    grows : bool
        It can be appended to; Parquet waits for `write`.

    Raises
    ------
    SerError
        For another ending, and for Parquet without pyarrow.
    """

    def __init__(self, path: str | os.PathLike[str], kind: RowKind, labels: Sequence[str]) -> None:
        self.path = Path(path).resolve()
        ending = self.path.suffix.lower()
        if ending not in _ENDINGS:
            wanted = ", ".join(_ENDINGS)
            raise SerError(f"{path}: the ending is {ending or 'missing'}, wanted one of {wanted}")
        self.grows = ending != ".parquet"
        if not self.grows:
            require_pyarrow()
        self._is_csv = ending == ".csv"
        self._columns = columns_of(kind, labels)
        self._file: GrowingFile | None = None

    def write(self, rows: Iterable[list[Row]]) -> None:
        """Put rows in the place of all that the file holds; it is whole at any moment."""
        self.close()
        draft = self.path.with_name(f"{self.path.name}.part")
        try:
            if self.grows:
                with draft.open("wb") as file:
                    file.write(csv_lines([self._columns]).encode() if self._is_csv else b"")
                    file.writelines(map(self._lines, rows))
            else:
                write_parquet(draft, self._columns, map(flat, chain.from_iterable(rows)))
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)
        if self.grows:
            self._file = GrowingFile(self.path, "ab")

    def append(self, rows: list[Row]) -> None:
        """Append rows to a file that was written before, if it grows."""
        if self._file is not None:
            self._file.append(self._lines(rows))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _lines(self, rows: list[Row]) -> bytes:
        if not self._is_csv:
            return b"".join(json.dumps(row, allow_nan=False).encode() + b"\n" for row in rows)
        return csv_lines([row.get(c) for c in self._columns] for row in map(flat, rows)).encode()
