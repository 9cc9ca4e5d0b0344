"""The model that an adaptation begins with: checked, and made ready for other labels."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from ser_live.errors import SerError
from ser_live.model.card import ModelCard
from ser_live.text import sanitize
from ser_train.models.keras_file import fingerprint, keras_reason, load_model
from ser_train.models.registry import Network, network_of
from ser_train.models.training_record import TrainingRecord

_LOGITS = "logits"


@dataclass(frozen=True, slots=True)
class FirstModel:
    """A trained model that others begin with."""

    path: Path
    model: Any
    """keras.Model; never changed."""
    card: ModelCard
    record: TrainingRecord | None
    network: Network
    """With the card's spectrum and window; the recipe is that of the network of its name."""
    mark: str
    """Fingerprint of the file."""


def load_first(path: Path) -> FirstModel:
    """Read a model that can be adapted.

    Raises
    ------
    SerError
        If the file is no model of ours, or no single network with a head of its own.
    """
    loaded = load_model(path)
    try:
        network = network_of(loaded.card)
        if network.members:
            raise SerError(
                f"it is an ensemble of {len(network.members)} networks; adapt the file of each "
                "one and join them again with ser-train ensemble"
            )
        names = {layer.name for layer in loaded.model.layers}
        missing = {network.front_end or "spectrum", "temperature"} - names
        if missing:
            raise SerError(f"it has no layer {min(missing)!r}, wanted a model of ser-train fit")
        head_of(loaded.model)
        network = network.with_front_end_of(loaded.model)
    except SerError as error:
        raise SerError(f"{sanitize(path)}: {error}") from error
    return FirstModel(path, loaded.model, loaded.card, loaded.record, network, fingerprint(path))


def relabelled(first: FirstModel, labels: Sequence[str]) -> Any:
    """Copy the network of a model for other labels.

    Raises
    ------
    SerError
        If it is built in a way that Keras cannot rebuild.
    """
    try:
        return with_labels(first.model, first.card.labels, labels)
    except Exception as error:  # Keras raises many unrelated types
        raise SerError(
            f"{sanitize(first.path)}: the network cannot be rebuilt for {len(labels)} labels "
            f"({keras_reason(error)})"
        ) from error


def head_of(model: Any) -> tuple[str, ...]:
    """Name the layers that hold numbers for each label: from the last body layer to the logits.

    Parameters
    ----------
    model : keras.Model
        With a layer "logits".

    Raises
    ------
    SerError
        If there is no dense layer that ends in the logits.
    """
    names = [layer.name for layer in model.layers]
    if _LOGITS not in names:
        raise SerError("it has no layer 'logits', wanted a network of ser-train")
    labels = model.get_layer(_LOGITS).output.shape[-1]
    first = last = names.index(_LOGITS)
    while not isinstance(model.layers[first], keras.layers.Dense):
        first -= 1
        if first < 0 or model.layers[first].output.shape[-1] != labels:
            raise SerError("its head is no dense layer, wanted a single network of ser-train")
    return tuple(names[first : last + 1])


def with_labels(model: Any, old: Sequence[str], new: Sequence[str]) -> Any:
    """Copy a model for other labels; those that it knows keep their part of the head.

    Parameters
    ----------
    model : keras.Model
        As `ser_train.models.registry` makes them, for the labels ``old``.
    old, new : sequence of str
        Labels in the order of the outputs.

    Returns
    -------
    keras.Model
        With fresh numbers in the head for labels that are not in ``old``, and temperature 1.
    """
    head, config = head_of(model), model.get_config()
    for layer in config["layers"]:
        if layer["name"] in head:
            layer.pop("build_config", None)
            if "units" in layer["config"]:
                layer["config"]["units"] = len(new)
    copy = keras.Model.from_config(config)
    for layer in model.layers:
        twin = copy.get_layer(layer.name)
        if layer.name in head:
            _carry_over(layer, twin, old, new)
        else:
            copy_weights(layer, twin)
    copy.get_layer("temperature").temperature.assign(1.0)
    return copy


def copy_weights(layer: Any, twin: Any) -> None:
    """Give a layer the weights of another one that is built alike."""
    twin.set_weights(layer.get_weights())
    if isinstance(twin, keras.layers.Normalization):
        twin.finalize_state()  # it computes with copies of its weights


def _carry_over(layer: Any, twin: Any, old: Sequence[str], new: Sequence[str]) -> None:
    """Copy the last axis's numbers of each label that both layers have."""
    pairs = [(old.index(label), place) for place, label in enumerate(new) if label in old]
    for source, target in zip(layer.weights, twin.weights, strict=True):
        values = keras.ops.convert_to_numpy(target).copy()
        for before, after in pairs:
            values[..., after] = keras.ops.convert_to_numpy(source)[..., before]
        target.assign(values)


@contextmanager
def frozen_normalisation(model: Any, head_alone: bool) -> Iterator[None]:
    """Keep the normalisation, or all but the head, as it is for the length of a block."""
    head = head_of(model)
    layers = model._flatten_layers(include_self=False)  # outer ones first: they set inner ones
    kept = [layer.trainable for layer in layers]
    for layer, trainable in zip(layers, kept, strict=True):
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = trainable and not normalises and (layer.name in head or not head_alone)
    try:
        yield
    finally:
        for layer, trainable in zip(layers, kept, strict=True):
            layer.trainable = trainable
