"""Files of predictions and events that hold whole records at any moment."""

import contextlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Self

from ser_live.engine.segments import Segmenter
from ser_live.engine.utterances import Utterance
from ser_live.errors import SerError
from ser_live.events import Event
from ser_live.output.formats import Format, Record, format_of
from ser_live.prediction import Prediction

_LOG = logging.getLogger(__name__)


class GrowingFile:
    """File that grows by whole pieces, each on disk when `append` returns.

    Parameters
    ----------
    path : path
        Where it is.
    mode : str
        As in `open`, binary: "wb" overwrites, "xb" raises FileExistsError, "ab" goes on.
    """

    def __init__(self, path: str | os.PathLike[str], mode: str) -> None:
        self.path = Path(path)
        self._file: BinaryIO = self.path.open(mode, buffering=0)  # type: ignore[assignment]
        self._size = self._file.seek(0, os.SEEK_END)

    def append(self, data: bytes, head: bytes = b"") -> None:
        """Write a piece; OSError if that fails, and the file then ends with the one before.

        Parameters
        ----------
        data : bytes
            The piece.
        head : bytes
            Written over the beginning of the file, which must be as long.
        """
        try:
            _write_all(self._file, data)
            if head:
                self._file.seek(0)
                _write_all(self._file, head)
                self._file.seek(0, os.SEEK_END)
        except BaseException:
            # A full disk takes the first half of a record, and a signal may come after it.
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
            raise
        self._size += len(data)

    def close(self) -> None:
        """Close the file; all that it holds has been written before."""
        with contextlib.suppress(OSError):
            self._file.close()


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Write bytes to a file without a buffer, which may take a part of them at a time."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


class Outputs:
    """Files for the predictions, events and segments of one stream, any number of them.

    A file that cannot be written any more is given up, says so in the log and in `errors`, and
    keeps the records that it has; the others go on.

    Parameters
    ----------
    paths : sequence of path
        Their endings say what each one holds, see `format_of`.
    labels : sequence of str
        Of the model.
    source_name : str
        Name of the source, for people.
    has_channels : bool
        Channels are recognized apart.

    Raises
    ------
    SerError
        If one of them has another ending, is named twice or cannot be written.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        labels: Sequence[str],
        source_name: str,
        *,
        has_channels: bool = False,
    ) -> None:
        self.errors: tuple[str, ...] = ()
        self._segmenter = Segmenter()
        self._files: list[tuple[GrowingFile, Format]] = []
        check_outputs(paths)
        try:
            for path in paths:
                form = format_of(path, labels, source_name, has_channels=has_channels)
                self._files.append((_overwritten(path), form))
                _LOG.info("writing %s", path)
                _append(self._files[-1][0], form.head)
        except SerError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, record: Prediction | Event | Utterance) -> None:
        """Append a record, and the segment that it ends."""
        self._append(record)
        if isinstance(record, Prediction):
            for segment in self._segmenter.process(record):
                self._append(segment)

    def close(self) -> None:
        """End the open segment and close all files."""
        for segment in self._segmenter.flush():
            self._append(segment)
        for file, _ in self._files:
            file.close()
        self._files = []

    def _append(self, record: Record) -> None:
        for file, form in tuple(self._files):
            try:
                _append(file, form.text(record))
            except SerError as error:
                _LOG.error("%s", error)
                self.errors += (str(error),)
                self._files.remove((file, form))
                file.close()


def check_outputs(paths: Sequence[str | os.PathLike[str]]) -> None:
    """Refuse endings that say nothing and files that are named twice, before any is touched.

    Raises
    ------
    SerError
        Naming the file.
    """
    seen: set[str] = set()
    for path in paths:
        format_of(path, (), "")
        place = os.path.realpath(path)
        if place in seen:
            raise SerError(f"{path}: named twice, wanted each output once")
        seen.add(place)


def _overwritten(path: str | os.PathLike[str]) -> GrowingFile:
    try:
        return GrowingFile(path, "wb")
    except OSError as error:
        raise SerError(
            f"{path}: cannot write it ({error.strerror or error}); wanted a file in a folder that "
            "exists and may be written to"
        ) from error


def _append(file: GrowingFile, text: str) -> None:
    try:
        # A label may hold half of a surrogate pair, which has no UTF-8.
        file.append(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise SerError(
            f"{file.path}: cannot write on ({error.strerror or error}); it ends early"
        ) from error
