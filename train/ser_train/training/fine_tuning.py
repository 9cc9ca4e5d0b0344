"""The two trainings of an adaptation: a new head on the network as it is, then all layers."""

import contextlib
import dataclasses
import math
from pathlib import Path

from ser_train.data.prepare import Prepared
from ser_train.data.splits import Split
from ser_train.models.recipe import Recipe
from ser_train.progress import EpochRecord, Reporter
from ser_train.training.checkpoint import CHECKPOINT, Settings
from ser_train.training.loop import Trained, learn, make_repeatable
from ser_train.training.pretrained import FirstModel, frozen_normalisation, relabelled

_FEW_CLIPS = 100
"""With fewer, a model that knows many speakers soon forgets them: it is only nudged."""
_NUDGE_EPOCHS = 10
_NUDGE_SHARES = (0.25, 0.025)
"""Of the network's highest rate: for the head, for all layers."""
_STEPS = (150, 300)
"""Of the head, of all layers, where there are more clips."""
_MOST_EPOCHS = 40
_FEWEST_BATCHES = 4
"""Smaller batches where there are few clips, so that an epoch has so many steps."""
_SMALLEST_BATCH = 4
_STAGES = {"head": "the head alone", "all": "all layers"}


def adapt_network(
    first: FirstModel,
    prepared: Prepared,
    split: Split,
    settings: Settings,
    epochs: int | None,
    batch_clips: int | None,
    run_folder: Path,
    report: Reporter,
) -> Trained:
    """Train a model further on other clips, going on from the checkpoints of both stages.

    The normalisation keeps its statistics, which few speakers would spoil.

    Parameters
    ----------
    first : FirstModel
        Stays as it is.
    prepared : Prepared
    split : Split
        The validation clips are only watched.
    settings : Settings
        The recipe of each stage follows from this one and from the number of training clips.
    epochs, batch_clips : int or None
        As in `stages_for`.
    run_folder : Path
        Holds the checkpoints.
    report : Reporter

    Returns
    -------
    Trained
        With the records of both stages.
    """
    stages = stages_for(settings.recipe, len(split.training), epochs, batch_clips)
    make_repeatable(settings.seed)
    model = relabelled(first, settings.labels)
    history: tuple[EpochRecord, ...] = ()
    for (name, what), recipe in zip(_STAGES.items(), stages, strict=True):
        rate, batch = recipe.learning_rate, recipe.batch_clips
        report.note(f"{what}: {recipe.epochs} epochs, rate {rate:.2g}, batches of {batch}")
        own = dataclasses.replace(settings, recipe=recipe)
        folder = _folder(run_folder, name, first)
        if recipe.epochs:
            with frozen_normalisation(model, head_alone=name == "head"):
                history += learn(model, prepared, split, own, folder, report).history
    return Trained(model, history)


def has_begun(run_folder: Path, first: FirstModel) -> bool:
    """Return True if a checkpoint of such an adaptation lies in a folder."""
    return any(file.is_file() for file in _checkpoints(run_folder, first))


def forget(run_folder: Path, first: FirstModel) -> None:
    """Remove the checkpoints of an adaptation that is finished."""
    for file in _checkpoints(run_folder, first):
        file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it is not there, or holds something else
            file.parent.rmdir()


def _checkpoints(run_folder: Path, first: FirstModel) -> list[Path]:
    return [_folder(run_folder, stage, first) / CHECKPOINT for stage in _STAGES]


def _folder(run_folder: Path, stage: str, first: FirstModel) -> Path:
    """Name the folder of a stage's checkpoint: another first model has another one."""
    return run_folder / f"{stage}-{first.mark[:12]}"


def stages_for(
    recipe: Recipe, clips: int, epochs: int | None, batch_clips: int | None
) -> tuple[Recipe, Recipe]:
    """Choose the two trainings: of the head alone, then of all layers.

    Parameters
    ----------
    recipe : Recipe
        The network's own.
    clips : int
        Clips to train on.
    epochs : int or None
        Of both stages together; None: by the number of clips.
    batch_clips : int or None
        None: the network's, or less where there are few clips.

    Returns
    -------
    tuple of Recipe
        The second has no epochs where the user wants one in all.
    """
    batch = batch_clips or min(recipe.batch_clips, max(_SMALLEST_BATCH, clips // _FEWEST_BATCHES))
    steps_of_epoch = -(-clips // batch)
    counts, shares = (_NUDGE_EPOCHS, _NUDGE_EPOCHS), _NUDGE_SHARES
    if clips >= _FEW_CLIPS:
        counts = (_epochs(_STEPS[0], steps_of_epoch), _epochs(_STEPS[1], steps_of_epoch))
        shares = (1.0, _share_of_rate(clips))
    if epochs is not None:
        head = max(1, epochs // 2)
        counts = (head, epochs - head)
    stages = [
        dataclasses.replace(
            recipe, batch_clips=batch, epochs=count, learning_rate=recipe.learning_rate * share
        )
        for count, share in zip(counts, shares, strict=True)
    ]
    return stages[0], stages[1]


def _epochs(steps: int, steps_of_epoch: int) -> int:
    return min(_MOST_EPOCHS, max(2, math.ceil(steps / steps_of_epoch)))


def _share_of_rate(clips: int) -> float:
    """Return 0.17 with 100 clips, growing to three tenths with 500."""
    place = (math.log(clips) - math.log(20)) / (math.log(500) - math.log(20))
    share: float = 0.1 * 3.0 ** min(1.0, place)
    return share
