"""What the networks of one fold answered for each of its test clips."""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError

WHOLE = "whole"
"""In ``heard``: the whole speech of each clip."""
_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class Posteriors:
    """Probabilities of clips, untempered."""

    names: NDArray[np.str_]
    """(clips,) of corpus and file: "ravdess/03-01-03-01-01-01-07.flac"."""
    speakers: NDArray[np.str_]
    """(clips,)."""
    truth: NDArray[np.intp]
    """(clips,) indices of the true labels."""
    labels: tuple[str, ...]
    heard: tuple[str, ...]
    """Seconds from the speech onset that were heard, ascending; last perhaps ``WHOLE``."""
    probabilities: NDArray[np.float64]
    """(heard, clips, labels) at temperature 1."""

    def save(self, path: Path) -> None:
        """Write a compressed archive in one step; a killed process leaves at most a .part file.

        Half precision suffices for logits that count from the highest: the answer is exactly 0,
        whatever comes close to it is as finely told apart, and small ones do not vanish.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as stream:
            self._write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)

    def _write(self, stream: BinaryIO) -> None:
        logits = np.log(np.maximum(self.probabilities, _SMALLEST))
        logits -= logits.max(axis=-1, keepdims=True)
        np.savez_compressed(
            stream,
            names=self.names,
            speakers=self.speakers,
            truth=self.truth.astype(np.int16),
            labels=np.array(self.labels),
            heard=np.array(self.heard),
            logits=logits.astype(np.float16),
        )

    @classmethod
    def load(cls, path: Path) -> "Posteriors":
        """Read what `save` wrote.

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
