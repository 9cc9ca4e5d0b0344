"""Train a network, or the members of an ensemble one after the other."""

import contextlib
import dataclasses
from pathlib import Path

from ser_train.data.prepare import Prepared
from ser_train.data.splits import Split
from ser_train.models.ensemble import combine
from ser_train.models.registry import find_network
from ser_train.progress import Reporter
from ser_train.training.checkpoint import CHECKPOINT, Checkpoint, Settings, Snapshot
from ser_train.training.loop import Trained, fresh_model, learn
from ser_train.training.upper_blocks import train_upper_blocks

_SEED_STEP = 1000
"""From one member's seed to the next one's."""


def train(
    prepared: Prepared, split: Split, settings: Settings, run_folder: Path, report: Reporter
) -> Trained:
    """Train a network on some of the clips, going on from the checkpoint where there is one.

    Parameters, result and errors are those of `ser_train.training.loop.learn`, for a fresh model.

    The members of an ensemble are trained one after the other, each with the ensemble's recipe
    and a seed of its own, and then combined. The ensemble's checkpoint holds the weights of the
    members that are finished, and exists from the start.
    """
    training, names = split.training, prepared.network.members
    if not names:
        model = fresh_model(prepared, training, settings)
        trained = learn(model, prepared, split, settings, run_folder, report)
        if upper := settings.recipe.upper:
            trained = train_upper_blocks(
                upper, trained, prepared, split, settings, run_folder, report
            )
        return trained
    checkpoint = Checkpoint(run_folder, prepared, training, settings)
    finished = checkpoint.restore()
    checkpoint.save(finished)
    models = []
    for number, name in enumerate(names, 1):
        member = dataclasses.replace(prepared, network=find_network(name))
        own = dataclasses.replace(settings, seed=settings.seed + _SEED_STEP * (number - 1))
        if number <= len(finished):
            models.append(fresh_model(member, training, own))
            models[-1].set_weights(finished[number - 1].arrays)
            continue
        report.note(f"member {number} of {len(names)}: {name}")
        folder = run_folder / f"member{number}"
        trained = train(member, split, own, folder, report)
        models.append(trained.model)
        finished.append(Snapshot(tuple(trained.model.get_weights()), trained.history))
        checkpoint.save(finished)
        (folder / CHECKPOINT).unlink()
        with contextlib.suppress(OSError):  # logs are in it
            folder.rmdir()
    model = combine(models, prepared.network.front_end)
    return Trained(model, tuple(record for member in finished for record in member.history))
