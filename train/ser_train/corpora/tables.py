"""Tables of text that people or corpora bring along."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_live.errors import SerError
from ser_live.text import find_control_char, quoted, sanitize

LARGEST_TABLE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """One row below the names of the columns."""

    where: str
    """Table and line, for messages."""
    values: dict[str, str | None]

    def take(self, column: str) -> str:
        """Return a value without the spaces around it.

        Raises
        ------
        SerError
            If it is empty or holds control characters.
        """
        value = (self.values[column] or "").strip()
        if not value:
            raise SerError(f"{self.where}: there is no {column}, every row needs one")
        if find_control_char(value):
            raise SerError(
                f"{self.where}: the {column} is {quoted(value)}, wanted a text without control "
                "characters"
            )
        return value


def read_table(path: Path, **dialect: Any) -> tuple[list[str], list[Row]]:
    """Return the names of a table's columns, and its rows.

    Parameters
    ----------
    path : Path
        UTF-8 text with the names of the columns in its first line.
    **dialect
        As in `csv.reader`; by default commas between the values.

    Raises
    ------
    SerError
        If it is missing, too large, no text, or names a column twice.
    """
    try:
        if path.stat().st_size > LARGEST_TABLE_BYTES:
            raise SerError(
                f"{sanitize(path)}: has over {LARGEST_TABLE_BYTES} bytes, wanted a table"
            )
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, **dialect)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [Row(f"{sanitize(path)}, line {reader.line_num}", row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise SerError(f"{sanitize(path)}: not readable as a table ({reason(error)})") from error
    twice = [name for name, count in Counter(columns).items() if name and count > 1]
    if twice:
        raise SerError(f"{sanitize(path)}: has the column {quoted(twice[0])} twice, wanted once")
    return columns, rows


def reason(error: Exception) -> str:
    """Return what the system says of an error, without its number and the path."""
    return sanitize(getattr(error, "strerror", None) or error)
