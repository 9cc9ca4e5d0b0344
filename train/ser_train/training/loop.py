"""One network from its first weights to the last epoch, with a checkpoint after each epoch."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ser_live.errors import SerError
from ser_train.corpora import truth_of
from ser_train.data.batches import Batches, Targets
from ser_train.data.prepare import Prepared
from ser_train.files import write_atomically
from ser_train.metrics import score
from ser_train.models.inference import Inference
from ser_train.models.recipe import Recipe
from ser_train.progress import EpochClock, EpochRecord, Reporter
from ser_train.training.optimizer import Trainer

CHECKPOINT = "checkpoint.npz"
_MOST_WATCHED = 150


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the weights, beside clips and network."""

    labels: tuple[str, ...]
    recipe: Recipe
    seed: int = 0
    mask_missing_labels: bool = False


@dataclass(frozen=True, slots=True)
class Trained:
    """A model after its last epoch."""

    model: Any
    """keras.Model with temperature 1."""
    history: tuple[EpochRecord, ...]


def fresh_model(prepared: Prepared, training: Sequence[int], settings: Settings) -> Any:
    """Build the network as it is before the first step, with the training clips' statistics."""
    make_repeatable(settings.seed)
    network = prepared.network
    model = network.build(len(settings.labels), network.spectrum.bins)
    names = [layer.name for layer in model.layers]
    if prepared.features and "standardize" in names:
        model.get_layer("standardize").adapt(prepared.feature_array(training))
    return model


def make_repeatable(seed: int) -> None:
    """Let the seed decide every weight that is made from here on."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def learn(
    model: Any,
    prepared: Prepared,
    training: Sequence[int],
    validation: Sequence[int],
    settings: Settings,
    run_folder: Path,
    report: Reporter,
) -> Trained:
    """Let a model as it is learn, going on from the checkpoint where there is one.

    Layers that are not trainable stay so.

    Parameters
    ----------
    model : keras.Model
        As the network makes it.
    prepared : Prepared
    training, validation : sequence of int
        Indices of clips; the validation clips are only watched.
    settings : Settings
    run_folder : Path
        Holds the checkpoint.
    report : Reporter

    Returns
    -------
    Trained
        After the last epoch: no epoch is chosen.

    Raises
    ------
    SerError
        If the folder holds a checkpoint of other settings.
    """
    recipe = settings.recipe
    clips = prepared.chosen(training)
    targets = Targets(
        clips,
        settings.labels,
        recipe.label_smoothing,
        settings.mask_missing_labels,
        recipe.label_balance,
    )
    source = prepared.source(training, recipe, settings.seed)
    corpora = [clip.corpus for clip in clips] if recipe.balanced_corpora else None
    batches = Batches(source, targets, recipe.batch_clips, recipe.mixup, settings.seed, corpora)
    trainer = Trainer(part(model, prepared, "logits"), recipe, recipe.epochs * batches.count)
    checkpoint = _Checkpoint(run_folder, settings, [str(clip.path) for clip in clips])
    history = checkpoint.restore(trainer)
    watch = _Watch(model, prepared, validation, settings.labels)
    clock = EpochClock(len(history), recipe.epochs)
    if history:
        report.note(f"going on after epoch {len(history)} of {recipe.epochs}")
    for epoch in range(len(history), recipe.epochs):
        with report.counting(f"epoch {epoch + 1}/{recipe.epochs}", batches.count) as advance:
            loss = trainer.epoch(batches.epoch(epoch), advance)
        with trainer.averaged_weights():
            history.append(watch.look(loss))
        checkpoint.save(trainer, history)
        left = clock.remaining(epoch + 1)
        report.note(f"epoch {epoch + 1}/{recipe.epochs}  {_words(history[-1])}  left {left}")
    trainer.settle(batches.epoch(recipe.epochs, mixed=False))
    return Trained(model, tuple(history))


def part(model: Any, prepared: Prepared, output: str) -> Any:
    """Give the model from what is prepared to the layer named ``output``."""
    front_end = prepared.network.front_end
    start = model.get_layer(front_end).output if front_end else model.input
    return keras.Model(start, model.get_layer(output).output)


class _Watch:
    """Look at validation clips after an epoch, evenly chosen ones of many; it decides nothing."""

    def __init__(
        self, model: Any, prepared: Prepared, chosen: Sequence[int], labels: tuple[str, ...]
    ) -> None:
        self._inference = Inference(part(model, prepared, "probabilities"))
        self._prepared = prepared
        self._chosen = chosen[:: -(-len(chosen) // _MOST_WATCHED) or 1]
        self._truth = truth_of(prepared.chosen(self._chosen), labels)

    def look(self, loss: float) -> EpochRecord:
        if not len(self._chosen):
            return EpochRecord(loss, None, None)
        inputs = (self._prepared.test_input(index, whole=False) for index in self._chosen)
        scores = score(self._inference.process(inputs), self._truth)
        return EpochRecord(loss, scores.uar, scores.nll)


class _Checkpoint:
    """The state after the latest epoch, in one file that is replaced in one step."""

    def __init__(self, folder: Path, settings: Settings, clips: list[str]) -> None:
        self._file = folder / CHECKPOINT
        self._settings = identity(settings, clips)

    def save(self, trainer: Trainer, history: list[EpochRecord]) -> None:
        arrays: dict[str, Any] = {f"state{i}": a for i, a in enumerate(trainer.state())}
        rows = json.dumps([dataclasses.asdict(record) for record in history])

        def write(path: Path) -> None:
            with path.open("wb") as stream:
                np.savez(stream, settings=self._settings, history=rows, **arrays)

        write_atomically(self._file, write)

    def restore(self, trainer: Trainer) -> list[EpochRecord]:
        if not self._file.is_file():
            return []
        with np.load(self._file) as saved:
            if str(saved["settings"]) != self._settings:
                raise foreign_checkpoint(self._file)
            count = sum(name.startswith("state") for name in saved.files)
            trainer.restore(tuple(saved[f"state{i}"] for i in range(count)))
            return [EpochRecord(**record) for record in json.loads(str(saved["history"]))]


def identity(settings: Settings, clips: Sequence[str]) -> str:
    """Name what a checkpoint belongs to."""
    return json.dumps([dataclasses.asdict(settings), clips], sort_keys=True)


def foreign_checkpoint(file: Path) -> SerError:
    """Say that a checkpoint belongs to something else."""
    return SerError(
        f"{file} belongs to a training with other settings or clips; "
        "give another folder or remove it"
    )


def _words(record: EpochRecord) -> str:
    words = f"loss {record.loss:.3f}"
    if record.validation_uar is None:
        return words
    return f"{words}  validation UAR {100 * record.validation_uar:.1f} %"
