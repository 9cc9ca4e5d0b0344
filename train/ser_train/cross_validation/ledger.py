"""Finished folds of a cross-validation: the row and the answers of each, never half written."""

import dataclasses
import json
import os
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_train.corpora import Clip, truth_of
from ser_train.files import write_atomically
from ser_train.progress import EpochRecord

if sys.platform != "win32":
    import fcntl

LEDGER = "ledger.jsonl"
WHOLE = "whole"
"""In ``heard``: the whole speech of each clip."""
_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings that all rows of a ledger have in common."""

    protocol: str
    network: str
    window_seconds: float
    """Of the network: the longest that it hears."""
    recipe: dict[str, Any]
    """All numbers of the training, as JSON."""
    also: tuple[str, ...] = ()
    """Further corpora in the training of every fold."""
    mapping: tuple[tuple[str, str], ...] = ()
    """Old and new labels, renamed before anything else."""
    dropped: tuple[str, ...] = ()
    """Labels that were left out."""
    init_name: str = ""
    """Of the model that every fold begins with; empty: afresh. Of the recipe, epochs and clips in
    a batch are then those that were wanted, and 0 where the number of clips decides."""
    init_sha256: str = ""
    """Of that model's file."""
    encoder_sha256: str = ""
    """Of the file of a pretrained encoder; empty: the network has none, or that model's."""
    corpora: tuple[str, ...] = ()
    """That are tested, where the protocol takes any."""
    settings: tuple[tuple[str, str], ...] = ()
    """Fields of the recipe that were set and their values, as they were given."""
    code_sha256: str = ""
    """Of the module of a network of the user's own."""


@dataclass(frozen=True, slots=True)
class Row:
    """One finished fold."""

    configuration: Configuration
    seed: int
    fold: int
    fold_name: str
    folds: int
    """Of the protocol, in all."""
    labels: tuple[str, ...]
    """That the network gives."""
    corpus_labels: tuple[str, ...]
    """That the tested corpus has."""
    training_speakers: tuple[str, ...]
    validation_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]
    training_clips: int
    validation_clips: int
    test_clips: int
    temperature: float | None
    """Fitted on the validation speakers; None without."""
    training_seconds: float | None = None
    """Since the start or the last resume; None: unknown."""
    threads: int | None = None
    """Of TensorFlow; None: all cores, or unknown."""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    """Of keras, tensorflow and ser-live, where they are known."""
    commit: str | None = None
    """Of the source tree, with "-dirty" behind it where code differs from it."""
    history: tuple[EpochRecord, ...] = ()
    parameters: int | None = None
    """Of the network; None: not counted."""
    multiply_adds: int | None = None
    """For one window, as `ser_train.models.size` counts them; None: not counted."""
    machine: str | None = None
    command: str | None = None
    """As it was given."""

    @property
    def key(self) -> tuple[int, int]:
        """Seed and fold."""
        return self.seed, self.fold

    @property
    def window(self) -> str:
        """The network's window as `Posteriors.heard` names it."""
        return f"{self.configuration.window_seconds:g}"

    def to_line(self) -> bytes:
        """Return one line of JSON."""
        text = json.dumps(dataclasses.asdict(self), ensure_ascii=False, separators=(",", ":"))
        return text.encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Row":
        """Read a line that `to_line` returned."""
        data = _with_tuples(json.loads(line))
        data["configuration"] = Configuration(**_with_tuples(data["configuration"]))
        data["history"] = tuple(EpochRecord(**epoch) for epoch in data["history"])
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Posteriors:
    """Probabilities of clips, untempered."""

    names: NDArray[np.str_]
    """(clips,) of `Clip.name`: "ravdess/03-01-03-01-01-01-07.flac"."""
    speakers: NDArray[np.str_]
    """(clips,)."""
    truth: NDArray[np.intp]
    """(clips,) indices of the true labels."""
    labels: tuple[str, ...]
    heard: tuple[str, ...]
    """Seconds from the speech onset that were heard, ascending; last perhaps ``WHOLE``."""
    probabilities: NDArray[np.float64]
    """(heard, clips, labels) at temperature 1."""

    @classmethod
    def of(
        cls,
        clips: Sequence[Clip],
        labels: tuple[str, ...],
        heard: tuple[str, ...],
        probabilities: NDArray[np.float64],
    ) -> "Posteriors":
        """Put the answers to clips, (heard, clips, labels), beside what is true of them."""
        names, speakers = (np.array([getattr(c, of) for c in clips]) for of in ("name", "speaker"))
        return cls(names, speakers, truth_of(clips, labels), labels, heard, probabilities)

    def save(self, path: Path) -> None:
        """Write a compressed archive in one step.

        Half precision suffices for logits that count from the highest: the answer is exactly 0,
        whatever comes close to it is as finely told apart, and small ones do not vanish.
        """
        write_atomically(path, self._write)

    def _write(self, path: Path) -> None:
        logits = np.log(np.maximum(self.probabilities, _SMALLEST))
        logits -= logits.max(axis=-1, keepdims=True)
        with path.open("wb") as stream:
            np.savez_compressed(
                stream,
                names=self.names,
                speakers=self.speakers,
                truth=self.truth.astype(np.int16),
                labels=np.array(self.labels),
                heard=np.array(self.heard),
                logits=logits.astype(np.float16),
            )
            stream.flush()
            os.fsync(stream.fileno())

    @classmethod
    def load(cls, path: Path) -> "Posteriors":
        """Read a file that `save` wrote.

        Raises
        ------
        SerError
            If the file is damaged.
        """
        try:
            with np.load(path) as saved:
                powers = np.exp(saved["logits"].astype(np.float64))
                return cls(
                    saved["names"],
                    saved["speakers"],
                    saved["truth"].astype(np.intp),
                    tuple(saved["labels"].tolist()),
                    tuple(saved["heard"].tolist()),
                    powers / powers.sum(axis=-1, keepdims=True),
                )
        except (OSError, EOFError, ValueError, KeyError, BadZipFile, zlib.error) as error:
            raise SerError(
                f"{path}: not readable as posteriors ({error}); remove it, and ser-train "
                "cross-validate runs that fold again"
            ) from error


class Ledger:
    """The finished folds in a report folder.

    A fold's posteriors are written before its row, so that a row is never without them. A row
    counts when its line is complete: the part of one that a killed process wrote is ignored, and
    cut off before the next row.

    Parameters
    ----------
    folder : Path
        May be missing until the first row is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / LEDGER

    def rows(self) -> tuple[Row, ...]:
        """Read the finished folds, by seed and fold.

        Raises
        ------
        SerError
            If a complete line is no row.
        """
        if not self._file.is_file():
            return ()
        *lines, _torn = self._file.read_bytes().split(b"\n")
        rows = {}
        for number, line in enumerate(lines, start=1):
            try:
                row = Row.from_line(line)
            except (ValueError, KeyError, TypeError) as error:
                raise SerError(
                    f"{self._file}, line {number}: not a row of a ledger ({error!r}); wanted what "
                    "ser-train cross-validate writes"
                ) from error
            if self.posteriors_file(row).is_file():
                rows[row.key] = row
        return tuple(rows[key] for key in sorted(rows))

    def require(self, configuration: Configuration) -> None:
        """Refuse to mix settings.

        Raises
        ------
        SerError
            If a row has another configuration; the message names the first difference.
        """
        wanted = _switched_on(dataclasses.asdict(configuration))
        for row in self.rows():
            got = _switched_on(dataclasses.asdict(row.configuration))
            if got != wanted:
                raise SerError(
                    f"{self._file} has rows with {_difference('', got, wanted)}; "
                    "give another --report-dir"
                )

    def append(self, row: Row, posteriors: Posteriors) -> None:
        """Keep a finished fold for good."""
        posteriors.save(self.posteriors_file(row))
        with self._file.open("a+b") as stream:
            if sys.platform != "win32":  # which has no such lock: it keeps other processes out
                fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            complete = stream.read().rfind(b"\n") + 1
            stream.truncate(complete)
            stream.write(row.to_line())
            stream.flush()
            os.fsync(stream.fileno())

    def posteriors(self, row: Row) -> Posteriors:
        """Load the posteriors that belong to a row."""
        return Posteriors.load(self.posteriors_file(row))

    def posteriors_file(self, row: Row) -> Path:
        """Name the file of a row's posteriors."""
        return self.folder / "posteriors" / f"seed{row.seed}-fold{row.fold}.npz"


def _with_tuples(values: Any) -> dict[str, Any]:
    """Turn the lists of a JSON object into tuples, those of the objects in it excepted."""

    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    return {key: frozen(value) for key, value in dict(values).items()}


def _switched_on(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is None, zero or empty: a later version's option that is off adds nothing."""
    return {
        key: _switched_on(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value
    }


def _difference(name: str, got: Any, wanted: Any) -> str:
    """Name the first part of a setting that differs."""
    if isinstance(got, dict) and isinstance(wanted, dict):
        for key in (*wanted, *got):
            if got.get(key) != wanted.get(key):
                return _difference(key, got.get(key), wanted.get(key))
    return f"{name.replace('_', ' ')} {got}, wanted {wanted}"
