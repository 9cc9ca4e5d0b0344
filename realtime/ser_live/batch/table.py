"""Tables of many files: a row for each file, segment, hop or utterance."""

import csv
import io
import itertools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ser_live.batch.journal import Row
from ser_live.batch.worker import FileResult
from ser_live.engine.segments import UNCERTAIN, Segment
from ser_live.engine.utterances import Utterance
from ser_live.errors import SerError
from ser_live.live.recognition import Recognition
from ser_live.output.files import GrowingFile
from ser_live.output.formats import json_record
from ser_live.prediction import Prediction
from ser_live.text import sanitize

RowKind = Literal["summary", "segment", "prediction", "utterance"]

_ENDINGS = (".csv", ".jsonl", ".parquet")
_COLUMNS: dict[RowKind, str] = {
    "summary": "audio_seconds mean_confidence notes",
    "segment": "start_seconds end_seconds label mean_confidence",
    "prediction": "index start_seconds end_seconds state label confidence changed degraded",
    "utterance": "start_seconds end_seconds label confidence speech_seconds",
}
_TYPES = {"index": "int64", "changed": "bool", "degraded": "bool"}
_TYPES |= dict.fromkeys(("path", "channel", "error", "notes", "state", "label"), "string")
# Columns of a field that has a number for each label.
_BY_LABEL = {"probabilities": "probability", "seconds": "seconds", "shares": "share"}
_ROWS_AT_ONCE = 50_000


def rows_of(result: FileResult, kind: RowKind) -> list[Row]:
    """Return the rows of a file: JSON values, and the same for the same audio.

    A file that failed has one row, with its error.
    """
    recognition = result.recognition
    head = {"type": kind, "path": result.path, "channel": None, "error": result.error}
    if recognition is None:
        return [head]
    if kind == "summary":
        return [head | _summary(part) for part in recognition.by_channel.values()]
    records: Sequence[Prediction | Segment | Utterance] = recognition.utterances
    if kind == "segment":
        records = recognition.segments
    if kind == "prediction":
        records = [replace(p, timing=None, lag_seconds=None) for p in recognition.predictions]
    return [head | json_record(record) for record in records]


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

    Raises
    ------
    SerError
        For another ending, and for Parquet without pyarrow.
    """

    def __init__(self, path: str | os.PathLike[str], kind: RowKind, labels: Sequence[str]) -> None:
        self.path = Path(path)
        self.ending = self.path.suffix.lower()
        if self.ending not in _ENDINGS:
            given = self.ending or "missing"
            raise SerError(f"{path}: the ending is {given}, wanted one of {', '.join(_ENDINGS)}")
        if self.ending == ".parquet":
            _pyarrow()
        self.columns = (
            "path",
            "channel",
            "error",
            *_COLUMNS[kind].split(),
            *_label_columns(kind, labels),
        )
        self._file: GrowingFile | None = None

    @property
    def grows(self) -> bool:
        """It can be appended to; Parquet waits for `write`."""
        return self.ending != ".parquet"

    def write(self, rows: Iterable[list[Row]]) -> None:
        """Put rows in the place of all that the file holds; it is whole at any moment."""
        self.close()
        draft = self.path.with_name(f"{self.path.name}.part")
        try:
            if self.ending == ".parquet":
                self._write_parquet(draft, rows)
            else:
                with draft.open("wb") as file:
                    file.write(self._head())
                    file.writelines(map(self._text, rows))
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)

    def append(self, rows: list[Row]) -> None:
        """Append rows to a file that was written before, if it grows."""
        if self.grows:
            self._file = self._file or GrowingFile(self.path, "ab")
            self._file.append(self._text(rows))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _head(self) -> bytes:
        return _csv_lines([self.columns]) if self.ending == ".csv" else b""

    def _text(self, rows: list[Row]) -> bytes:
        if self.ending == ".jsonl":
            return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        flat = ([row.get(name) for name in self.columns] for row in map(_flat, rows))
        return _csv_lines(
            [str(value).lower() if isinstance(value, bool) else value for value in values]
            for values in flat
        )

    def _write_parquet(self, path: Path, rows: Iterable[list[Row]]) -> None:
        pyarrow, parquet = _pyarrow()
        schema = pyarrow.schema([(name, _TYPES.get(name, "float64")) for name in self.columns])
        flat = map(_flat, itertools.chain.from_iterable(rows))
        with parquet.ParquetWriter(path, schema) as writer:
            while batch := list(itertools.islice(flat, _ROWS_AT_ONCE)):
                writer.write_table(pyarrow.Table.from_pylist(batch, schema))


def _label_columns(kind: RowKind, labels: Sequence[str]) -> list[str]:
    if kind == "summary":
        names = dict.fromkeys((*labels, UNCERTAIN, "warming_up", "silence"))
        return [f"{prefix}_{name}" for prefix in ("seconds", "share") for name in names]
    return [] if kind == "segment" else [f"probability_{label}" for label in labels]


def _flat(row: Row) -> Row:
    """Return a row with a field for each label's number, and text that has UTF-8."""
    flat: Row = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{_BY_LABEL.get(name)}_{label}": number for label, number in value.items()}
        else:
            is_text = isinstance(value, str)
            flat[name] = value.encode("utf-8", "backslashreplace").decode() if is_text else value
    return flat


def _csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    """RFC 4180."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise SerError(
            "Parquet needs pyarrow, which is not installed: pip install 'ser-live[parquet]'; or "
            "write .csv or .jsonl"
        ) from error
    return pyarrow, parquet
