"""The state of a training on the disk: one file that is replaced in one step."""

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_train.data.prepare import Prepared
from ser_train.files import write_atomically
from ser_train.models.recipe import Recipe
from ser_train.progress import EpochRecord

CHECKPOINT = "checkpoint.npz"


@dataclass(frozen=True, slots=True)
class Settings:
    """All that decides the weights beside clips and network."""

    labels: tuple[str, ...]
    recipe: Recipe
    seed: int = 0
    mask_missing_labels: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of one network on the disk."""

    arrays: tuple[NDArray[Any], ...]
    history: tuple[EpochRecord, ...]


class Checkpoint:
    """The snapshots of a training, which belong to its network, settings and clips.

    Clips count by what they sound like and their label, not by their path: a corpus may move.

    Parameters
    ----------
    folder : Path
    prepared : Prepared
    training : sequence of int
        Indices of the clips.
    settings : Settings
    """

    def __init__(
        self, folder: Path, prepared: Prepared, training: Sequence[int], settings: Settings
    ) -> None:
        self._file = folder / CHECKPOINT
        network = prepared.network
        hears = dataclasses.asdict(network.spectrum), dataclasses.asdict(network.window)
        clips = [
            (prepared.content(index), prepared.clips[index].corpus, prepared.clips[index].label)
            for index in training
        ]
        self._identity = {
            "network": json.dumps([network.name, *hears, network.front_end, network.members]),
            "settings": json.dumps(dataclasses.asdict(settings)),
            "clips": hashlib.sha256(json.dumps(clips).encode()).hexdigest(),
        }

    def save(self, snapshots: Sequence[Snapshot]) -> None:
        """Replace what is kept."""
        rows = [[dataclasses.asdict(r) for r in snapshot.history] for snapshot in snapshots]
        arrays: dict[str, Any] = {
            f"array{number}.{place}": array
            for number, snapshot in enumerate(snapshots)
            for place, array in enumerate(snapshot.arrays)
        }
        arrays |= {**self._identity, "history": json.dumps(rows)}
        write_atomically(self._file, lambda path: np.savez(path, **arrays))

    def restore(self) -> list[Snapshot]:
        """Return what was kept last; nothing where there is no checkpoint.

        Raises
        ------
        SerError
            If it belongs to another training, or cannot be read.
        """
        if not self._file.is_file():
            return []
        try:
            with np.load(self._file) as saved:
                self._require_same(saved)
                rows = json.loads(str(saved["history"]))
                return [_snapshot(saved, number, row) for number, row in enumerate(rows)]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise SerError(
                f"{self._file}: not readable as a checkpoint ({error}); remove it"
            ) from error

    def _require_same(self, saved: Any) -> None:
        others = [what for what, own in self._identity.items() if str(saved.get(what)) != own]
        if others:
            raise SerError(
                f"{self._file} belongs to a training with other {' and '.join(others)}; "
                "give another folder with --run-dir, or remove it"
            )


def _snapshot(saved: Any, number: int, rows: list[dict[str, Any]]) -> Snapshot:
    count = sum(name.startswith(f"array{number}.") for name in saved.files)
    arrays = tuple(saved[f"array{number}.{place}"] for place in range(count))
    return Snapshot(arrays, tuple(EpochRecord(**row) for row in rows))
