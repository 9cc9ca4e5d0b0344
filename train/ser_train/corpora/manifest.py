"""Recordings of one's own, as a table names them."""

from pathlib import Path

from ser_live.errors import SerError
from ser_live.text import sanitize
from ser_train.corpora.clip import Clip
from ser_train.corpora.tables import Row, read_table


def read_manifest(path: Path) -> tuple[Clip, ...]:
    """Read a table ``path,label,speaker``; paths count from the table's folder.

    Raises
    ------
    SerError
        If the table is missing, not text, lacks a column, or a row lacks a value.
    """
    columns, rows = read_table(path)
    missing = [name for name in ("path", "label", "speaker") if name not in columns]
    if missing:
        first = sanitize(",".join(columns))
        raise SerError(f"{sanitize(path)}: the first line is '{first}', wanted path,label,speaker")
    if not rows:
        raise SerError(f"{sanitize(path)}: the table has no rows under its first line")
    return tuple(_clip(path, row) for row in rows)


def _clip(table: Path, row: Row) -> Clip:
    path, label, speaker = (row.take(name) for name in ("path", "label", "speaker"))
    return Clip(table.parent / path, label, f"{table.stem}/{speaker}", table.stem)
