"""Networks of the user's own: imported by name, held to the contract, tried before a training."""

import dataclasses
import hashlib
import importlib
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ, SpectrumSpec
from ser_live.model.classifier import INPUT_NAME, OUTPUT_NAME
from ser_live.model.onnx_session import open_session
from ser_live.text import sanitize
from ser_train.layers import Temperature
from ser_train.models.conversion import convert
from ser_train.models.keras_file import read_keras
from ser_train.models.recipe import require_sane
from ser_train.models.registry import NETWORKS, Network

_TOLERANCE = 1e-4
_ENDING = ("logits", "temperature", OUTPUT_NAME)


def import_network(name: str) -> Network:
    """Import a network by its name.

    Parameters
    ----------
    name : str
        "package.module:attribute", on Python's path or in the present folder. The attribute is a
        `Network`, or a function or class of (labels, bins) that gives a keras.Model: then it
        hears frames of 32 ms every 10 ms and is trained by the recipe of emotion-tcn.

    Raises
    ------
    SerError
        If it cannot be imported, or is none of these.
    """
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
        found = getattr(module, attribute)
    except Exception as error:  # whatever the module raises
        raise SerError(
            f"--network {sanitize(name)} cannot be imported ({_place(error)}); wanted "
            "package.module:function, on Python's path or in this folder"
        ) from error
    if not isinstance(found, Network):
        if not callable(found):
            raise SerError(
                f"--network {sanitize(name)} is {type(found).__name__}, wanted a Network, or a "
                "function of labels and bins that gives a keras.Model"
            )
        base, spectrum = NETWORKS["emotion-tcn"], SpectrumSpec()
        found = dataclasses.replace(base, build=found, spectrum=spectrum, pooled="", chosen_on="")
    try:
        require_sane(found.recipe, "recipe")
    except SerError as error:
        raise SerError(f"--network {sanitize(name)}: {error}") from error
    code = Path(module.__file__).read_bytes() if module.__file__ else b""
    build = _checked(name, found.build, found)
    digest = hashlib.sha256(code).hexdigest()
    return dataclasses.replace(found, name=name, build=build, code_sha256=digest)


def _checked(name: str, make: Callable[[int, int], Any], network: Network) -> Any:
    """Return a builder whose models keep the contract, or say what is wrong with them."""

    def build(n_labels: int, bins: int) -> Any:
        try:
            model = make(n_labels, bins)
        except SerError:
            raise
        except Exception as error:  # whatever the function raises
            raise SerError(f"{name}({n_labels}, {bins}) fails ({_place(error)})") from error
        _require_contract(f"{name}({n_labels}, {bins})", model, n_labels, bins, network.front_end)
        return model

    return build


def _require_contract(
    what: str, model: Any, n_labels: int, bins: int, front_end: str | None
) -> None:
    if not isinstance(model, keras.Model) or getattr(model, "inputs", None) is None:
        raise SerError(f"{what} gives {type(model).__name__}, wanted a functional keras.Model")
    shapes = (model.input_shape, model.output_shape)
    wanted = ((None, None, bins), (None, n_labels))
    if shapes != wanted:
        raise SerError(f"{what} leads from {shapes[0]} to {shapes[1]}, wanted {wanted}")
    names = [layer.name for layer in model.layers]
    ending = tuple(names[-3:])
    is_tempered = isinstance(model.layers[-2] if ending == _ENDING else None, Temperature)
    if (names[0], ending) != (INPUT_NAME, _ENDING) or not is_tempered:
        raise SerError(
            f"{what} has the layers {', '.join(names)}; wanted {INPUT_NAME} first and the three of "
            "ser_train.layers.with_probabilities last: " + ", ".join(_ENDING)
        )
    if front_end and front_end not in names:
        raise SerError(f"{what} has no layer {front_end}, which its front_end names")


def require_exportable(network: Network, n_labels: int) -> None:
    """Save, load, export and run the untrained model: hours must not end in a file of no use.

    Raises
    ------
    SerError
        If one of these fails, or the graph gives other numbers than the model.
    """
    try:
        _try_export(network, n_labels)
    except SerError as error:
        raise SerError(f"--network {sanitize(network.name)}: {error}") from error


def _try_export(network: Network, n_labels: int) -> None:
    model = network.build(n_labels, network.spectrum.bins)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "untrained.keras"
        model.save(file)
        read_keras(file)
    where = "the untrained model"
    session = open_session(convert(model, Path(where)).SerializeToString(), where)
    random = np.random.default_rng(0)
    for seconds in (network.window.closing_seconds, network.window.seconds):
        frames = network.spectrum.frames_in(round(seconds * SAMPLE_RATE_HZ))
        window = random.exponential(size=(1, frames, network.spectrum.bins)).astype(np.float32)
        try:
            (got,) = session.run([OUTPUT_NAME], {INPUT_NAME: window})
            difference = float(np.abs(got - np.asarray(model(window, training=False))).max())
        except Exception as error:  # onnxruntime and Keras raise many unrelated types
            raise SerError(
                f"{where} fails on {frames} frames, {seconds:g} s ({sanitize(error)})"
            ) from error
        if not difference <= _TOLERANCE:
            raise SerError(
                f"the graph of {where} differs by {difference:.2g} on {frames} frames, at most "
                f"{_TOLERANCE:g} is allowed"
            )


def _place(error: Exception) -> str:
    """Describe an error in the user's code with the line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return sanitize(f"{type(error).__name__}: {error}; {Path(last.filename).name}:{last.lineno}")
