"""A second head, which tells ordinary talk from acted emotion by what a trained network pools."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_live.model.classifier import OUTPUT_NAME
from ser_live.model.prior import ORDINARY_NAME
from ser_train.data.batches import Batch
from ser_train.data.prepare import Prepared
from ser_train.models.inference import Inference, after_front_end
from ser_train.models.recipe import OrdinaryHead
from ser_train.models.registry import NETWORKS, Network
from ser_train.training.loop import make_repeatable
from ser_train.training.optimizer import Optimizer

Heard = tuple[Prepared, Sequence[int]]

_DRAWN_AT_ONCE = 32
_SMALLEST_DEVIATION = 1e-4


def hearing_talk(network: Network) -> Network:
    """Return a network whose recipe cuts more windows out of talk, anywhere.

    Raises
    ------
    SerError
        If it has no layer for a second head.
    """
    if not network.pooled:
        able = ", ".join(name for name, known in NETWORKS.items() if known.pooled)
        raise SerError(f"{network.name} has no head for ordinary talk; wanted one of {able}")
    head, recipe = network.ordinary, network.recipe
    waveforms = recipe.waveforms and dataclasses.replace(
        recipe.waveforms,
        copies=head.copies,
        every_seconds=head.every_seconds,
        unchanged_share=head.unchanged_share,
    )
    recipe = dataclasses.replace(recipe, windows=head.windows, waveforms=waveforms)
    return dataclasses.replace(network, recipe=recipe)


def with_ordinary_head(model: Any, acted: Sequence[Heard], talk: Heard, seed: int) -> Any:
    """Train the head, half of each batch ordinary and of the rest as much of each corpus.

    Parameters
    ----------
    model : keras.Model
        Stays as it is.
    acted, talk : Heard
        Clips and the indices of those that train; ``talk`` for the network that `hearing_talk`
        gives. The more acted corpora, the less the head knows them by their rooms.
    seed : int

    Returns
    -------
    keras.Model
        To the model's own "probabilities" and "ordinary" (batch, 1): probability of talk where
        both are equally frequent.
    """
    network = acted[0][0].network
    head = network.ordinary
    make_repeatable(seed)
    groups = []
    for prepared, training in acted:
        for name in sorted({clip.corpus for clip in prepared.chosen(training)}):
            own = [index for index in training if prepared.clips[index].corpus == name]
            groups.append(_pooled(model, prepared, own, head.acted_copies, seed))
    groups.append(_pooled(model, *talk, head.copies, seed))
    pooled = np.concatenate(groups)
    mean = pooled.mean(axis=0, dtype=np.float64)
    deviation = pooled.std(axis=0, dtype=np.float64) + _SMALLEST_DEVIATION
    standard = [((group - mean) / deviation).astype(np.float32) for group in groups]
    inputs = keras.Input(mean.shape)
    logits = keras.layers.Dense(2)(keras.layers.Dropout(head.dropout)(inputs))
    learner = keras.Model(inputs, logits)
    optimizer = Optimizer(learner, head.training, head.steps)
    optimizer.epoch(_batches(standard, head, np.random.default_rng((seed, 3))), lambda: None)
    optimizer.finalize_weights(())
    kernel, bias = (np.asarray(value, np.float64) for value in learner.get_weights())
    kernel = (kernel[:, 1] - kernel[:, 0]) / deviation  # standardised inside
    logit = keras.layers.Dense(1, name="ordinary_logit")
    ordinary = keras.layers.Activation("sigmoid", name=ORDINARY_NAME)(
        logit(model.get_layer(network.pooled).output)
    )
    logit.set_weights([kernel[:, None], np.array([bias[1] - bias[0] - mean @ kernel])])
    outputs = {OUTPUT_NAME: model.get_layer(OUTPUT_NAME).output, ORDINARY_NAME: ordinary}
    return keras.Model(model.input, outputs, name=model.name)


def _pooled(
    model: Any, prepared: Prepared, chosen: Sequence[int], copies: int, seed: int
) -> NDArray[np.float32]:
    """Return what the network pools of windows of the chosen clips, shape (windows, features)."""
    network = prepared.network
    if prepared.features:
        windows = np.concatenate([prepared.features[index].windows for index in chosen])
        if network.pooled == network.front_end:
            return windows
        heard: Iterator[NDArray[np.float32]] = iter(windows)
    else:
        heard = _drawn(prepared, chosen, copies, seed)
    trunk = Inference(after_front_end(model, network, network.pooled))
    return trunk.process(heard).astype(np.float32)


def _drawn(
    prepared: Prepared, chosen: Sequence[int], copies: int, seed: int
) -> Iterator[NDArray[np.float32]]:
    """Yield windows of spectra, changed as in the training, and more of long speech."""
    network = prepared.network
    stretch = network.ordinary.every_seconds * SAMPLE_RATE_HZ / network.spectrum.hop_samples
    repeated: list[int] = []
    for index in chosen:
        section = prepared.spectra[index].sections[0]
        repeated += [index] * copies * max(1, round((section.end - section.onset) / stretch))
    source = prepared.source(repeated, network.recipe, seed)
    random = np.random.default_rng((seed, 2))
    for places in np.array_split(np.arange(len(repeated)), -(-len(repeated) // _DRAWN_AT_ONCE)):
        yield from source.draw(places, random, 0)


def _batches(
    groups: Sequence[NDArray[np.float32]], head: OrdinaryHead, random: np.random.Generator
) -> Iterator[Batch]:
    """Yield all batches; the last group is talk."""
    count, smoothing = head.training.batch_clips, head.training.label_smoothing
    for _ in range(head.steps):
        is_talk = np.arange(count) < count // 2
        group = np.where(is_talk, len(groups) - 1, random.integers(len(groups) - 1, size=count))
        rows = [groups[g][random.integers(len(groups[g]))] for g in group]
        targets = np.eye(2, dtype=np.float32)[is_talk.astype(int)] * (1 - smoothing) + smoothing / 2
        yield Batch(np.stack(rows), targets.astype(np.float32), np.zeros((count, 2), np.float32))
