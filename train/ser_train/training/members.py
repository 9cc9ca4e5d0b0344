"""Train a network, or the members of an ensemble one after the other."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser_train.data.prepare import Prepared
from ser_train.files import write_atomically
from ser_train.models.ensemble import combine
from ser_train.models.registry import find_network
from ser_train.progress import EpochRecord, Reporter
from ser_train.training.loop import (
    CHECKPOINT,
    Settings,
    Trained,
    foreign_checkpoint,
    fresh_model,
    identity,
    learn,
)

_SEED_STEP = 1000
"""From one member's seed to the next one's."""


def train(
    prepared: Prepared,
    training: Sequence[int],
    validation: Sequence[int],
    settings: Settings,
    run_folder: Path,
    report: Reporter,
) -> Trained:
    """Train a network on some of the clips, going on from the checkpoint where there is one.

    The members of an ensemble are trained one after the other. Parameters, result and errors are
    those of `ser_train.training.loop.learn`, for a fresh model.
    """
    if prepared.network.members:
        return _train_members(prepared, training, validation, settings, run_folder, report)
    model = fresh_model(prepared, training, settings)
    return learn(model, prepared, training, validation, settings, run_folder, report)


def _train_members(
    prepared: Prepared,
    training: Sequence[int],
    validation: Sequence[int],
    settings: Settings,
    run_folder: Path,
    report: Reporter,
) -> Trained:
    """Train each member with the ensemble's recipe and a seed of its own, then combine them."""
    names = prepared.network.members
    members = [dataclasses.replace(prepared, network=find_network(name)) for name in names]
    each = [
        dataclasses.replace(settings, seed=settings.seed + _SEED_STEP * number)
        for number in range(len(names))
    ]
    clips = [str(prepared.clips[index].path) for index in training]
    finished = _Finished(run_folder / CHECKPOINT, identity(settings, [*names, *clips]))
    trained = [
        _trained_before(weights, fresh_model(member, training, own))
        for weights, member, own in zip(finished.restore(), members, each, strict=False)
    ]
    finished.save(trained)
    for number in range(len(trained), len(names)):
        report.note(f"member {number + 1} of {len(names)}: {names[number]}")
        folder = run_folder / f"member{number + 1}"
        trained.append(train(members[number], training, validation, each[number], folder, report))
        finished.save(trained)
        shutil.rmtree(folder)
    model = combine([member.model for member in trained], prepared.network.front_end)
    return Trained(model, tuple(record for member in trained for record in member.history))


@dataclasses.dataclass(frozen=True, slots=True)
class _Member:
    """What is kept of a member when the next one is trained."""

    weights: tuple[Any, ...]
    history: tuple[EpochRecord, ...]


def _trained_before(member: _Member, model: Any) -> Trained:
    model.set_weights(member.weights)
    return Trained(model, member.history)


class _Finished:
    """The members that are finished, in the ensemble's checkpoint; it exists from the start."""

    def __init__(self, file: Path, settings: str) -> None:
        self._file = file
        self._settings = settings

    def save(self, trained: Sequence[Trained]) -> None:
        arrays: dict[str, Any] = {}
        for number, member in enumerate(trained):
            rows = [dataclasses.asdict(record) for record in member.history]
            arrays[f"history{number}"] = json.dumps(rows)
            weights = enumerate(member.model.get_weights())
            arrays |= {f"member{number}.{k}": array for k, array in weights}

        def write(path: Path) -> None:
            with path.open("wb") as stream:
                np.savez(stream, settings=self._settings, members=len(trained), **arrays)

        write_atomically(self._file, write)

    def restore(self) -> list[_Member]:
        if not self._file.is_file():
            return []
        with np.load(self._file) as saved:
            if str(saved["settings"]) != self._settings:
                raise foreign_checkpoint(self._file)
            return [_member(saved, number) for number in range(int(saved["members"]))]


def _member(saved: Any, number: int) -> _Member:
    count = sum(name.startswith(f"member{number}.") for name in saved.files)
    rows = json.loads(str(saved[f"history{number}"]))
    weights = tuple(saved[f"member{number}.{k}"] for k in range(count))
    return _Member(weights, tuple(EpochRecord(**row) for row in rows))
