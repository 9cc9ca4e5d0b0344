"""Networks of the user's own: imported by name, held to the contract, tried before a training."""

import dataclasses
import hashlib
import importlib
import inspect
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ, SpectrumSpec
from ser_live.model.classifier import INPUT_NAME, OUTPUT_NAME
from ser_live.model.onnx_session import open_session
from ser_live.text import sanitize
from ser_train.models.conversion import convert
from ser_train.models.keras_file import read_keras
from ser_train.models.recipe import require_sane
from ser_train.models.registry import NETWORKS, Network

_TOLERANCE = 1e-4
_WANTED = "a Network, or a function of labels and bins that gives a keras.Model"


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
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    with _naming(name):
        module = importlib.import_module(module_name)
        found = getattr(module, attribute)
        if not isinstance(found, Network):
            if not callable(found):
                raise SerError(f"it is {type(found).__name__}, wanted {_WANTED}")
            found = dataclasses.replace(
                NETWORKS["emotion-tcn"],
                build=found,
                spectrum=SpectrumSpec(),
                pooled="",
                chosen_on="",
            )
        require_sane(found.recipe, "recipe")
        digest = hashlib.sha256(inspect.getsource(module).encode()).hexdigest()
    make, front_end = found.build, found.front_end

    def build(n_labels: int, bins: int) -> Any:
        with _naming(name):
            model = make(n_labels, bins)
            _require_contract(model, n_labels, bins, front_end)
        return model

    return dataclasses.replace(found, name=name, build=build, code_sha256=digest)


def require_exportable(network: Network, n_labels: int) -> None:
    """Save, load, export and run the untrained model: hours must not end in a file of no use.

    Raises
    ------
    SerError
        If one of these fails, or the graph gives other numbers than the model.
    """
    model, where = network.build(n_labels, network.spectrum.bins), "the untrained model"
    with tempfile.TemporaryDirectory() as folder, _naming(network.name):
        model.save(file := Path(folder) / "untrained.keras")
        read_keras(file)
        session = open_session(convert(model, Path(where)).SerializeToString(), where)
        random = np.random.default_rng(0)
        for seconds in (network.window.closing_seconds, network.window.seconds):
            frames = network.spectrum.frames_in(round(seconds * SAMPLE_RATE_HZ))
            window = random.exponential(size=(1, frames, network.spectrum.bins)).astype(np.float32)
            (got,) = session.run([OUTPUT_NAME], {INPUT_NAME: window})
            difference = float(np.abs(got - np.asarray(model(window, training=False))).max())
            if not difference <= _TOLERANCE:
                raise SerError(
                    f"the graph of {where} differs by {difference:.2g} on {frames} frames, at most "
                    f"{_TOLERANCE:g} is allowed"
                )


def _require_contract(model: Any, n_labels: int, bins: int, front_end: str | None) -> None:
    if not isinstance(model, keras.Model) or getattr(model, "inputs", None) is None:
        raise SerError(f"it gives {type(model).__name__}, wanted a functional keras.Model")
    shapes = (model.input_shape, model.output_shape)
    wanted = ((None, None, bins), (None, n_labels))
    if shapes != wanted:
        raise SerError(f"its model leads from {shapes[0]} to {shapes[1]}, wanted {wanted}")
    names = [layer.name for layer in model.layers]
    ending = ("logits", "temperature", OUTPUT_NAME)
    if (names[0], *names[-3:]) != (INPUT_NAME, *ending) or (front_end or INPUT_NAME) not in names:
        raise SerError(
            f"its model has the layers {', '.join(names)}; wanted {INPUT_NAME} first, the three of "
            f"ser_train.layers.with_probabilities last ({', '.join(ending)}), and its front_end"
        )


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Say of which network an error is; one of the user's code with the line that raised it."""
    try:
        yield
    except SerError as error:
        raise SerError(f"--network {sanitize(name)}: {error}") from error
    except Exception as error:  # whatever the code raises
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__}: {error}; {Path(last.filename).name}:{last.lineno}"
        raise SerError(
            f"--network {sanitize(name)} fails ({sanitize(place)}); wanted package.module:name, on "
            f"Python's path or in this folder, of {_WANTED}"
        ) from error
