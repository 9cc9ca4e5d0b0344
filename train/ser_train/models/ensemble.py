"""Several models as one: what they hear is computed once, their probabilities are averaged."""

from collections.abc import Sequence
from typing import Any

import keras

from ser_live.errors import SerError
from ser_train.layers import LogMeanProbability, with_probabilities


def combine(models: Sequence[keras.Model], front_end: str | None) -> keras.Model:
    """Put models side by side on one spectrum.

    Parameters
    ----------
    models : sequence of keras.Model
        From "spectrum" (batch, frames, bins) to "probabilities" (batch, labels), all of the same
        shapes, each with its own temperature.
    front_end : str or None
        Name of the layer after the spectrum that the networks share; None: whatever layer comes
        first is shared where all have the same one without weights.

    Returns
    -------
    keras.Model
        With the layers "spectrum", that front end, one model for each member, "logits" (the
        logarithm of the mean probability), "temperature" (1) and "probabilities".

    Raises
    ------
    SerError
        If the shapes or the front ends differ.
    """
    shapes = {
        (model.input_shape, model.get_layer("probabilities").output.shape) for model in models
    }
    if len(shapes) > 1:
        raise SerError(
            f"the members' inputs and outputs are {sorted(map(str, shapes))}, wanted one"
        )
    shared = _shared_layer(models)
    if front_end is not None and (shared is None or shared.name != front_end):
        raise SerError(f"the members' front ends {front_end!r} differ, wanted the same in all")
    spectrum = keras.Input(models[0].input_shape[1:], name="spectrum")
    heard = type(shared).from_config(shared.get_config())(spectrum) if shared else spectrum
    members = [
        _after(model, shared.name if shared else None, f"member{number}")(heard)
        for number, model in enumerate(models, 1)
    ]
    logits = LogMeanProbability(name="logits")(members)
    return with_probabilities(spectrum, logits, "ensemble")


def _shared_layer(models: Sequence[keras.Model]) -> Any:
    """Return the layer after the spectrum, if it is the same everywhere and learns nothing."""
    first = [model.layers[1] for model in models]
    configs = [(type(layer), layer.get_config()) for layer in first]
    if first[0].weights or any(config != configs[0] for config in configs):
        return None
    return first[0]


def _after(model: keras.Model, layer: str | None, name: str) -> keras.Model:
    """Return the part of a model behind the layer of that name, as a model of its own."""
    start = model.get_layer(layer).output if layer else model.input
    return keras.Model(start, model.get_layer("probabilities").output, name=name)
