"""One network from its first weights to the last epoch, with a checkpoint after each epoch."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from ser_train.corpora import truth_of
from ser_train.data.batches import Batches, Targets
from ser_train.data.prepare import Prepared
from ser_train.data.splits import Split
from ser_train.metrics import score
from ser_train.models.inference import Inference, after_front_end
from ser_train.progress import EpochRecord, Reporter
from ser_train.training.checkpoint import Checkpoint, Settings, Snapshot
from ser_train.training.epoch_log import EpochLog
from ser_train.training.optimizer import Optimizer, precision

_MOST_WATCHED = 150


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
    if prepared.features and "standardize" in {layer.name for layer in model.layers}:
        model.get_layer("standardize").adapt(prepared.feature_array(training))
    return model


def make_repeatable(seed: int) -> None:
    """Seed all weights that are made from here on, and compute them repeatably."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def learn(
    model: Any,
    prepared: Prepared,
    split: Split,
    settings: Settings,
    run_folder: Path,
    report: Reporter,
) -> Trained:
    """Train a model as it is, going on from the checkpoint where there is one.

    Layers that are not trainable stay so.

    Parameters
    ----------
    model : keras.Model
        As the network makes it.
    prepared : Prepared
    split : Split
        The validation clips are only watched.
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
        If the folder holds a checkpoint of another training, or the loss is not finite.
    """
    recipe = settings.recipe
    clips = prepared.chosen(split.training)
    corpora = [clip.corpus for clip in clips] if recipe.balanced_corpora else None
    targets = Targets(
        clips,
        settings.labels,
        recipe.label_smoothing,
        settings.mask_missing_labels,
        recipe.label_balance,
        corpora,
    )
    source = prepared.source(split.training, recipe, settings.seed)
    batches = Batches(source, targets, recipe.batch_clips, recipe.mixup, settings.seed, corpora)
    optimizer = Optimizer(
        after_front_end(model, prepared.network, "logits"), recipe, recipe.epochs * batches.count
    )
    watch = _Watch(model, prepared, split.validation, settings.labels)
    checkpoint = Checkpoint(run_folder, prepared, split.training, settings)
    log = EpochLog(run_folder, partial(optimizer.rate, batches.count)) if report.logs else None
    history: list[EpochRecord] = []
    for snapshot in checkpoint.restore():
        optimizer.restore(snapshot.arrays)
        history.extend(snapshot.history)
    done, start = len(history), time.monotonic()
    if history:
        report.note(f"going on after epoch {len(history)} of {recipe.epochs}")
    for epoch in range(len(history), recipe.epochs):
        words = f"epoch {epoch + 1}/{recipe.epochs}"
        with report.counting(words, batches.count) as advance, precision(model, recipe):
            loss = optimizer.epoch(batches.epoch(epoch), advance)
        with optimizer.averaged_weights():
            history.append(watch.look(loss))
        checkpoint.save([Snapshot(optimizer.state(), tuple(history))])
        if log:
            log.write(history)
        left = _remaining(time.monotonic() - start, epoch + 1 - done, recipe.epochs - epoch - 1)
        report.note(f"{words}  {_words(history[-1])}  left {left}")
    optimizer.finalize_weights(batches.epoch(recipe.epochs, mixed=False))
    return Trained(model, tuple(history))


class _Watch:
    """Look at validation clips after an epoch, evenly chosen ones of many; it decides nothing."""

    def __init__(
        self, model: Any, prepared: Prepared, chosen: Sequence[int], labels: tuple[str, ...]
    ) -> None:
        self._inference = Inference(after_front_end(model, prepared.network, "probabilities"))
        self._prepared = prepared
        self._chosen = chosen[:: -(-len(chosen) // _MOST_WATCHED) or 1]
        self._truth = truth_of(prepared.chosen(self._chosen), labels)

    def look(self, loss: float) -> EpochRecord:
        if not len(self._chosen):
            return EpochRecord(loss, None, None)
        seconds = self._prepared.network.window.seconds
        inputs = (self._prepared.speech(index, seconds) for index in self._chosen)
        scores = score(self._inference.process(inputs), self._truth)
        return EpochRecord(loss, scores.uar, scores.nll)


def _remaining(seconds: float, done: int, left: int) -> str:
    """Return the time of the epochs that are left, as minutes and seconds."""
    minutes, rest = divmod(round(seconds / done * left), 60)
    return f"{minutes}:{rest:02d}"


def _words(record: EpochRecord) -> str:
    words = f"loss {record.loss:.3f}"
    if record.validation_uar is None:
        return words
    return f"{words}  validation UAR {100 * record.validation_uar:.1f} %"
