"""The two trainings of an adaptation: a new head on the network as it is, then all layers."""

import contextlib
import dataclasses
from pathlib import Path

from ser_train.data.prepare import Prepared
from ser_train.data.selection import Split
from ser_train.progress import Reporter
from ser_train.training.fine_tuning_recipe import stages_for
from ser_train.training.head import only_head_learns, statistics_stay
from ser_train.training.history import EpochRecord
from ser_train.training.loop import CHECKPOINT, Settings, Trained, learn, make_repeatable
from ser_train.training.pretrained import FirstModel, relabelled

_STAGES = {"head": ("the head alone", only_head_learns), "all": ("all layers", statistics_stay)}


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
    """Let a trained model learn from further clips, going on from the checkpoints of both stages.

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
    parts = (split.training, split.validation)
    make_repeatable(settings.seed)
    model = relabelled(first, settings.labels)
    history: tuple[EpochRecord, ...] = ()
    for (name, (what, learning)), recipe in zip(_STAGES.items(), stages, strict=True):
        rate, batch = recipe.learning_rate, recipe.batch_clips
        report.note(f"{what}: {recipe.epochs} epochs, rate {rate:.2g}, batches of {batch}")
        own = dataclasses.replace(settings, recipe=recipe)
        folder = _folder(run_folder, name, first)
        if recipe.epochs:
            with learning(model):
                history += learn(model, prepared, *parts, own, folder, report).history
    return Trained(model, history)


def has_begun(run_folder: Path, first: FirstModel) -> bool:
    """Say whether a checkpoint of such an adaptation lies in a folder."""
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
