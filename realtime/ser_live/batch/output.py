"""Output of a run over many files: a table that grows file by file, beside its journal."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from ser_live.batch.journal import Journal, version_of
from ser_live.batch.table import RowKind, Table, rows_of
from ser_live.batch.worker import FileResult, Worker
from ser_live.errors import SerError
from ser_live.model.catalog import model_sha256


class BatchOutput:
    """Table of many files that can be gone on with.

    Whenever the run ends, the table holds whole rows of finished files, and at its end those of
    all files, by path. Parquet, which cannot grow, is written at the end.

    Parameters
    ----------
    path : path
        The table; the journal is ``PATH.journal.jsonl``.
    kind : str
        Of its rows.
    worker : Worker
        Recognizes the files.
    files : sequence of str
        All that are wanted.
    is_resumed : bool
        Leave out the files that are finished already.

    Attributes
    ----------
    left : list of str
        Files to do.
    changed : list of str
        Those of them that were finished, but have changed since.

    Raises
    ------
    SerError
        If the table or its journal cannot be written, or gone on with.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        kind: RowKind,
        worker: Worker,
        files: Sequence[str],
        *,
        is_resumed: bool,
    ) -> None:
        if os.path.realpath(path) in map(os.path.realpath, files):
            raise SerError(f"{path}: is one of the recordings; choose another output")
        model = worker.classifier
        fingerprint = f"{model.card.name} {model_sha256(model.where)[:12]}"
        conditions = {"rows": kind, **worker.options, "model": fingerprint}
        self._kind = kind
        self._table = Table(path, kind, model.card.labels)
        self._journal = Journal(f"{os.fspath(path)}.journal.jsonl", conditions, is_resumed)
        # Of now: a file that changes under the work on it is done again the next time.
        self._versions = {file: version_of(file) for file in files}
        states = {file: self._journal.state(file, self._versions[file]) for file in files}
        self.left = [file for file in files if states[file] != "done"]
        self.changed = [file for file in files if states[file] == "changed"]
        if self._table.grows:
            self._table.write(self._journal.rows())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._table.close()
        self._journal.close()

    def add(self, result: FileResult) -> None:
        """Keep a finished file."""
        rows = rows_of(result, self._kind)
        with self._writing():
            self._journal.add(result.path, self._versions[result.path], result.error, rows)
            self._table.append(rows)

    def finish(self) -> None:
        """Write the whole table, by path."""
        with self._writing():
            self._table.write(self._journal.rows())
            self._journal.finish()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SerError(
                f"{self._table.path}: cannot write on ({error.strerror or error}); make room, and "
                "--resume goes on with the rest"
            ) from error
