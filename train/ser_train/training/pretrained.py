"""The model that an adaptation begins with: checked, and made ready for other labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_live.errors import SerError
from ser_live.model.card import ModelCard
from ser_live.text import sanitize
from ser_train.models.keras_archive import keras_reason
from ser_train.models.keras_file import ModelFile, TrainingRecord, fingerprint, load_model
from ser_train.models.registry import Network, network_of
from ser_train.training.head import head_of, with_labels


@dataclass(frozen=True, slots=True)
class FirstModel:
    """A trained model that others begin with."""

    path: Path
    model: Any
    """keras.Model; never changed."""
    card: ModelCard
    record: TrainingRecord | None
    network: Network
    """What it hears is the card's, how it learns that of the network of its name."""
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
        _require_fitting(loaded, network)
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


def _require_fitting(loaded: ModelFile, network: Network) -> None:
    if network.members:
        raise SerError(
            f"it is an ensemble of {len(network.members)} networks; adapt the file of each one "
            "and join them again with ser-train ensemble"
        )
    model, card = loaded.model, loaded.card
    shapes = (model.input_shape, model.output_shape)
    wanted = ((None, None, card.spectrum.bins), (None, len(card.labels)))
    if shapes != wanted:
        raise SerError(f"its axes are {shapes}, its card wants {wanted}")
    names = {layer.name for layer in model.layers}
    missing = {network.front_end or "spectrum", "temperature", "probabilities"} - names
    if missing:
        raise SerError(f"it has no layer {min(missing)!r}, wanted a model of ser-train fit")
    head_of(model)
