"""What one fold of a cross-validation leaves on disk."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser_train import report as pictures
from ser_train.disk import write_atomically
from ser_train.metrics import Scores

RESULT = "result.json"
POSTERIORS = "posteriors.npz"


@dataclass(frozen=True, slots=True)
class FoldResult:
    """What was measured on one fold's test clips."""

    fold: int
    network: str
    protocol: str
    seed: int
    epochs: int
    batch_clips: int
    temperature: float
    training_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]
    window: Scores
    """Hearing the first window of each clip."""
    whole: Scores
    """Hearing the whole speech of each clip."""

    def save(self, path: Path) -> None:
        """Write a JSON object in one step."""
        pictures.write_json(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: Path) -> "FoldResult":
        """Read what `save` wrote."""
        data = json.loads(path.read_text(encoding="utf-8"))
        data["training_speakers"] = tuple(data["training_speakers"])
        data["test_speakers"] = tuple(data["test_speakers"])
        return cls(**{**data, "window": Scores(**data["window"]), "whole": Scores(**data["whole"])})


@dataclass(frozen=True, slots=True)
class Posteriors:
    """A fold's predictions."""

    names: NDArray[np.str_]
    truth: NDArray[np.intp]
    labels: tuple[str, ...]
    window: NDArray[np.float64]
    """(clips, labels) probabilities."""
    whole: NDArray[np.float64]

    def save(self, path: Path) -> None:
        """Write a compressed archive in one step."""

        def write(file: Path) -> None:
            with file.open("wb") as stream:
                np.savez_compressed(
                    stream,
                    names=self.names,
                    truth=self.truth,
                    labels=np.array(self.labels),
                    window=self.window.astype(np.float32),
                    whole=self.whole.astype(np.float32),
                )

        write_atomically(path, write)

    @classmethod
    def load(cls, path: Path) -> "Posteriors":
        """Read what `save` wrote."""
        with np.load(path) as saved:
            return cls(
                saved["names"],
                saved["truth"],
                tuple(saved["labels"].tolist()),
                saved["window"].astype(np.float64),
                saved["whole"].astype(np.float64),
            )
