"""Tables of records, CSV and Parquet: a row for each, a column for each label's number."""

import csv
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ser_live.errors import SerError

Row = dict[str, object]

_TYPES = {"index": "int64", "changed": "bool", "degraded": "bool"}
_TYPES |= dict.fromkeys(("path", "channel", "error", "notes", "state", "label"), "string")
# Columns of a field that has a number for each label.
_BY_LABEL = {"probabilities": "probability", "seconds": "seconds", "shares": "share"}
_ROWS_AT_ONCE = 50_000


def prediction_columns(labels: Sequence[str], has_channels: bool) -> list[str]:
    """Return the names of a table's columns that has a row per prediction."""
    own = "index start_seconds end_seconds state label confidence changed degraded lag_seconds"
    channel = ["channel"] if has_channels else []
    return [*own.split(), *channel, *(_text(f"probability_{label}") for label in labels)]


def flat(record: Mapping[str, object]) -> Row:
    """Return a record with a field for each label's number, and text that has UTF-8."""
    row: Row = {}
    for name, value in record.items():
        if isinstance(value, dict):
            prefix = _BY_LABEL.get(name, name)
            row |= {_text(f"{prefix}_{label}"): number for label, number in value.items()}
        else:
            row[name] = _text(value) if isinstance(value, str) else value
    return row


def csv_lines(rows: Iterable[Sequence[object]]) -> str:
    """RFC 4180; true and false as in JSON, empty without a value."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(
        [str(value).lower() if isinstance(value, bool) else value for value in row] for row in rows
    )
    return text.getvalue()


def write_parquet(where: Any, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a Parquet file with some columns of the rows, in groups of rows.

    Parameters
    ----------
    where : path or file of pyarrow
        Is complete at the end only.
    columns : sequence of str
        Their names say of which type they are; those that are unknown hold numbers.
    rows : iterable of dict
        Flat; what a row lacks is null there.

    Raises
    ------
    SerError
        If pyarrow is not installed.
    """
    _, parquet = require_pyarrow()
    left = iter(rows)
    with parquet.ParquetWriter(where, arrow_table(columns, []).schema) as writer:
        while batch := list(itertools.islice(left, _ROWS_AT_ONCE)):
            writer.write_table(arrow_table(columns, batch))


def arrow_table(columns: Sequence[str], rows: Sequence[Row]) -> Any:
    """Return a table of pyarrow, in which a column has the same type whatever is in it.

    Columns, rows and errors are those of `write_parquet`.
    """
    pyarrow, _ = require_pyarrow()
    schema = pyarrow.schema([(name, _TYPES.get(name, "float64")) for name in columns])
    return pyarrow.Table.from_pylist(rows, schema)


def require_pyarrow() -> tuple[Any, Any]:
    """Return the packages ``pyarrow`` and ``pyarrow.parquet``; SerError if there are none."""
    try:
        import pyarrow  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise SerError(
            "Parquet needs pyarrow, which is not installed: pip install 'ser-live[parquet]'; or "
            "write .csv or .jsonl"
        ) from error
    return pyarrow, parquet


def _text(text: str) -> str:
    # A label may hold half of a surrogate pair, which has no UTF-8.
    return text.encode("utf-8", "backslashreplace").decode()
