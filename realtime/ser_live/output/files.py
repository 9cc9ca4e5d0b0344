"""Files of predictions and events that hold whole records at any moment."""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self

from ser_live.engine.segments import Segmenter
from ser_live.engine.utterances import Utterance
from ser_live.errors import SerError
from ser_live.events import Event
from ser_live.output.formats import About, Document, Format, Record, format_of
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

    Attributes
    ----------
    size : int
        Of what is written, in bytes.
    """

    def __init__(self, path: str | os.PathLike[str], mode: str) -> None:
        self.path = Path(path)
        self._file: BinaryIO = self.path.open(mode, buffering=0)  # type: ignore[assignment]
        self.size = self._file.seek(0, os.SEEK_END) if self._file.seekable() else 0

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
                self._file.truncate(self.size)
            raise
        self.size += len(data)

    def close(self) -> None:
        """Close the file; all that it holds has been written before."""
        with contextlib.suppress(OSError):
            self._file.close()


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Write bytes to a file without a buffer, which may take a part of them at a time."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


class _GrowingOutput:
    """File that grows by each record."""

    def __init__(self, path: str | os.PathLike[str], form: Format) -> None:
        self.name = os.fspath(path)
        self._form = form
        self._file = _overwritten(path)
        self._append(form.head)

    def write(self, record: Record) -> None:
        self._append(self._form.text(record))

    def close(self) -> None:
        self._file.close()

    discard = close

    def _append(self, text: str) -> None:
        try:
            # A label may hold half of a surrogate pair, which has no UTF-8.
            self._file.append(text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            reason = error.strerror or error
            path = self._file.path
            raise SerError(f"{path}: cannot write on ({reason}); it ends early") from error


class _WholeOutput:
    """File that is written at the end, in one step; until then it is what it was before."""

    def __init__(self, path: str | os.PathLike[str], form: Document) -> None:
        self.name = os.fspath(path)
        self._form = form
        self._records: list[Record] = []
        self._path = self._draft = Path(os.path.realpath(path))
        if self._path.is_file() or not self._path.exists():
            self._draft = self._path.with_name(f"{self._path.name}.part")
        # Refused now, not after an hour.
        self._file = _overwritten(self._draft, path)

    def write(self, record: Record) -> None:
        if isinstance(record, self._form.kinds):
            self._records.append(record)

    def close(self) -> None:
        try:
            self._file.append(self._form.data_of(self._records))
            self._file.close()
            if self._draft != self._path:
                self._draft.replace(self._path)
        except OSError as error:
            reason = error.strerror or error
            raise SerError(f"{self._path}: cannot write it ({reason}); it is lost") from error
        finally:
            self.discard()

    def discard(self) -> None:
        self._file.close()
        if self._draft != self._path:
            self._draft.unlink(missing_ok=True)


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
    about : callable
        Returns what stands before the records of a .json file; asked at the end.
    has_channels : bool
        Channels are recognized apart.

    Attributes
    ----------
    errors : tuple of str
        Why files were given up, one line each.
    written : list of str
        The other ones, once they are closed.

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
        about: About = dict,
        *,
        has_channels: bool = False,
    ) -> None:
        self.errors: tuple[str, ...] = ()
        self.written: list[str] = []
        self._segmenter = Segmenter()
        self._files: list[_GrowingOutput | _WholeOutput] = []
        check_outputs(paths)
        try:
            for path in paths:
                form = format_of(path, labels, source_name, about, has_channels=has_channels)
                if isinstance(form, Document):
                    self._files.append(_WholeOutput(path, form))
                else:
                    self._files.append(_GrowingOutput(path, form))
                _LOG.info("writing %s", path)
        except SerError:
            for file in self._files:
                file.discard()
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
        """End the open segments, write what is written at the end, and close all files."""
        for segment in self._segmenter.flush():
            self._append(segment)
        for file in tuple(self._files):
            with self._giving_up(file):
                file.close()
        self.written += (file.name for file in self._files)
        self._files = []

    def _append(self, record: Record) -> None:
        for file in tuple(self._files):
            with self._giving_up(file):
                file.write(record)

    @contextlib.contextmanager
    def _giving_up(self, file: _GrowingOutput | _WholeOutput) -> Iterator[None]:
        """Give a file up if it cannot be written any more."""
        try:
            yield
        except SerError as error:
            _LOG.error("%s", error)
            self.errors += (str(error),)
            self._files.remove(file)
            file.discard()


def check_outputs(paths: Sequence[str | os.PathLike[str]]) -> None:
    """Refuse endings that say nothing and files that are named twice, before any is touched.

    Raises
    ------
    SerError
        Naming the file.
    """
    seen: set[str] = set()
    for path in paths:
        format_of(path)
        place = os.path.realpath(path)
        if place in seen:
            raise SerError(f"{path}: named twice, wanted each output once")
        seen.add(place)


def _overwritten(
    path: str | os.PathLike[str], name: str | os.PathLike[str] | None = None
) -> GrowingFile:
    try:
        return GrowingFile(path, "wb")
    except OSError as error:
        raise SerError(
            f"{name or path}: cannot write it ({error.strerror or error}); wanted a file in a "
            "folder that exists and may be written to"
        ) from error
