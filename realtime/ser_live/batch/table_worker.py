"""Worker that turns tables of paths into tables of rows."""

from collections.abc import Iterable, Mapping
from typing import Any, Unpack, get_args

from ser_live.batch.table import RowKind, columns_of, rows_of
from ser_live.batch.worker import Worker
from ser_live.errors import SerError
from ser_live.live.listener import ListenOptions
from ser_live.output.tables import arrow_table, flat
from ser_live.text import quoted


class TableWorker:
    """Recognize the recordings of a table, as ``map_batches`` of Ray Data calls its actors.

    The model is loaded once, at the first recording; a pickled copy loads it for itself. The rows
    are those of ``ser-live batch``, bit for bit.

    Parameters
    ----------
    kind : str
        Of the rows: "summary", "segment", "prediction" or "utterance".
    **options
        Those of `ser_live.recognize_file`; the rows say whether there are utterances.

    Raises
    ------
    SerError
        For another kind.
    """

    def __init__(self, kind: RowKind = "summary", **options: Unpack[ListenOptions]) -> None:
        if kind not in get_args(RowKind):
            wanted = ", ".join(get_args(RowKind))
            raise SerError(f"kind is {quoted(kind)}, wanted one of {wanted}")
        self._kind: RowKind = kind
        self._worker = Worker(utterances=kind == "utterance", **options)

    def __call__(self, batch: Any) -> Any:
        """Recognize the recordings of the column ``path``.

        Parameters
        ----------
        batch : mapping of str to iterables, pyarrow.Table or pandas.DataFrame
            A table of paths.

        Returns
        -------
        pyarrow.Table
            With the same columns for all batches; a recording that failed has one row, with its
            ``error``.

        Raises
        ------
        SerError
            If there is no such column, no pyarrow, or the options or the model are of no use.
        """
        table: Mapping[str, Iterable[Any]]
        table = batch.to_pydict() if hasattr(batch, "to_pydict") else batch  # pyarrow's
        if "path" not in table:
            raise SerError(f"the columns are {', '.join(table)}, wanted one named path")
        columns = columns_of(self._kind, self._worker.classifier.card.labels)
        # A number is no path, which its own row tells.
        texts: Iterable[Any] = (
            path if isinstance(path, str | bytes | None) else str(path) for path in table["path"]
        )
        results = map(self._worker, texts)
        rows = (flat(row) for result in results for row in rows_of(result, self._kind))
        return arrow_table(columns, [*rows])
