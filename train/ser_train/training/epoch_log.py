"""Figures of each epoch, as a table and as events for TensorBoard."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from ser_train.files import write_atomically
from ser_train.progress import EpochRecord

TABLE = "epochs.csv"
_COLUMNS = ("epoch", "loss", "validation_uar", "validation_nll", "learning_rate")


class EpochLog:
    """Keep the records of a training in the folder of its checkpoint.

    Parameters
    ----------
    folder : Path
    rate : callable
        Number of finished epochs to the learning rate then.
    """

    def __init__(self, folder: Path, rate: Callable[[int], float]) -> None:
        self._folder = folder
        self._rate = rate
        self._writer = tf.summary.create_file_writer(str(folder))
        # As tf.summary.scalar marks a value, which wants TensorBoard installed.
        self._curve = tf.compat.v1.SummaryMetadata(data_class=1)
        self._curve.plugin_data.plugin_name = "scalars"

    def write(self, history: Sequence[EpochRecord]) -> None:
        """Write the whole table, which a resumed training thus has too, and the last events."""
        rows = [
            (epoch, record.loss, record.validation_uar, record.validation_nll, self._rate(epoch))
            for epoch, record in enumerate(history, 1)
        ]
        lines = [",".join("" if value is None else f"{value:.7g}" for value in row) for row in rows]
        text = "\n".join((",".join(_COLUMNS), *lines, ""))
        write_atomically(self._folder / TABLE, lambda path: path.write_text(text, "utf-8"))
        with self._writer.as_default(step=len(history)):
            for name, value in zip(_COLUMNS[1:], rows[-1][1:], strict=True):
                if value is not None:
                    tf.summary.write(name, np.float32(value), metadata=self._curve)
        self._writer.flush()
