"""A ``.keras`` file to a model and its card."""

import re
import zipfile
from pathlib import Path

import keras

import ser_train.layers  # noqa: F401 - registers our layers with Keras
from ser_live.card import KERAS_MEMBER, ModelCard
from ser_live.classifier import INPUT_NAME, OUTPUT_NAME
from ser_live.errors import SerError


def load_checkpoint(path: Path) -> tuple[keras.Model, ModelCard]:
    """Read a model that ``ser-train fit`` wrote, and the card inside it.

    Raises
    ------
    SerError
        If the file is missing or no ``.keras`` file, carries no valid card, holds a layer that
        we do not know, or does not fit its card.
    """
    card = _read_card(path)
    model = _load_model(path)
    _check_axes(model, card, path)
    return model, card


def _read_card(path: Path) -> ModelCard:
    if not path.is_file():
        raise SerError(f"{path}: no such file, wanted a .keras model that ser-train fit wrote")
    try:
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
            if "config.json" not in members:
                raise SerError(f"{path}: not a .keras model (no config.json inside)")
            if KERAS_MEMBER not in members:
                raise SerError(
                    f"{path}: no model card inside ({KERAS_MEMBER}); train it with ser-train fit"
                )
            text = archive.read(KERAS_MEMBER).decode("utf-8")
    except (zipfile.BadZipFile, OSError, UnicodeDecodeError) as error:
        raise SerError(f"{path}: not a .keras model ({error})") from error
    return ModelCard.from_json(text, str(path))


def _load_model(path: Path) -> keras.Model:
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises many unrelated types
        raise SerError(f"{path}: Keras cannot load the model: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = str(error)
    unknown = re.search(r"Could not (?:locate|find) \w+ '([^']+)'", text)
    if unknown is None:
        return " ".join(text.split())[:200]
    return f"it holds the layer {unknown[1]!r}, which is none of Keras' and none of ser_train's"


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
