"""A ``.keras`` file to a model and its card."""

from pathlib import Path

import keras

import ser_train.layers  # noqa: F401 - registers our layers with Keras
from ser_live.errors import SerError
from ser_live.model.card import ModelCard
from ser_live.model.classifier import INPUT_NAME, OUTPUT_NAME
from ser_live.text import sanitize
from ser_train.models.keras_file import keras_reason, read_archive


def load_checkpoint(path: Path) -> tuple[keras.Model, ModelCard]:
    """Read a model that ``ser-train fit`` wrote, and the card inside it.

    Raises
    ------
    SerError
        If the file is missing or no ``.keras`` file, carries no valid card, holds a layer that
        we do not know, or does not fit its card.
    """
    card, _ = read_archive(path)
    model = _load_model(path)
    _check_axes(model, card, path)
    return model, card


def _load_model(path: Path) -> keras.Model:
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many unrelated types
        raise SerError(f"{sanitize(path)}: Keras cannot load it ({keras_reason(error)})") from error


def _check_axes(model: keras.Model, card: ModelCard, path: Path) -> None:
    bins, labels = card.spectrum.bins, len(card.labels)
    got = [(tensor.name, tuple(tensor.shape)) for tensor in model.inputs]
    if got != [(INPUT_NAME, (None, None, bins))]:
        raise SerError(
            f"{path}: the model's inputs are {got}, its card wants one {INPUT_NAME!r} of shape "
            f"(None, None, {bins})"
        )
    shapes = [tuple(tensor.shape) for tensor in model.outputs]
    if model.layers[-1].name != OUTPUT_NAME or shapes != [(None, labels)]:
        raise SerError(
            f"{path}: the model ends in {model.layers[-1].name!r} with shapes {shapes}, its card "
            f"wants {OUTPUT_NAME!r} with {labels} labels"
        )
