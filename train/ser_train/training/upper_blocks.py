"""The training of a pretrained encoder's last blocks, after that of the head."""

import dataclasses
from pathlib import Path

import keras
import numpy as np

from ser_train.data.prepare import Prepared
from ser_train.data.splits import Split
from ser_train.models.inference import upper_blocks_of
from ser_train.models.recipe import UpperBlocks
from ser_train.progress import Reporter
from ser_train.training.checkpoint import CHECKPOINT, Settings
from ser_train.training.loop import Trained, learn
from ser_train.training.pretrained import copy_weights

_FOLDER = "upper-blocks"


def train_upper_blocks(
    upper: UpperBlocks,
    trained: Trained,
    prepared: Prepared,
    split: Split,
    settings: Settings,
    run_folder: Path,
    report: Reporter,
) -> Trained:
    """Train the last blocks of the encoder, and its head further, on what reaches them.

    What lies below is computed once, and never learns.

    Parameters
    ----------
    upper : UpperBlocks
    trained : Trained
        With a head for the encoder as it was; its model changes.
    prepared : Prepared
        With ``below``.
    split : Split
        The validation clips are only watched.
    settings : Settings
        Of the first training.
    run_folder : Path
        The checkpoint lies in a folder of it.
    report : Reporter

    Returns
    -------
    Trained
        With the records of both trainings.

    Raises
    ------
    SerError
        As `ser_train.training.loop.learn` does.
    """
    network, model = prepared.network, trained.model
    changes = dataclasses.asdict(upper)
    count = changes.pop("blocks")
    report.note(f"last {count} of the encoder's blocks: {changes['epochs']} epochs")
    blocks = upper_blocks_of(model, network, upper)
    encoder = model.get_layer(network.front_end)
    after = model.layers[model.layers.index(encoder) + 1 :]
    twins, x = [type(layer).from_config(layer.get_config()) for layer in after], blocks.output
    for layer, twin in zip(after, twins, strict=True):
        x = twin(x)
        copy_weights(layer, twin)
    recipe = dataclasses.replace(settings.recipe, mixup=0.0, upper=None, **changes)
    history = learn(
        keras.Model(blocks.input, x),
        Prepared(
            dataclasses.replace(network, front_end=None), prepared.clips, features=prepared.below
        ),
        split,
        dataclasses.replace(settings, recipe=recipe),
        run_folder / _FOLDER,
        report,
    ).history
    for layer, twin in zip(after, twins, strict=True):
        copy_weights(twin, layer)
    encoder.set_weights([w.astype(np.float16) for w in encoder.get_weights()])  # as it is stored
    return Trained(model, trained.history + history)


def checkpoints(run_folder: Path) -> tuple[Path, Path]:
    """Return where a training keeps its checkpoints, the later one first."""
    return run_folder / _FOLDER / CHECKPOINT, run_folder / CHECKPOINT
