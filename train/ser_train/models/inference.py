"""A model from what is prepared of a clip to its probabilities."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ser_live.model.classifier import output_names
from ser_live.model.prior import Outputs
from ser_train.layers import UpperEncoder
from ser_train.models.keras_file import load_model
from ser_train.models.recipe import UpperBlocks
from ser_train.models.registry import Network


def after_front_end(model: Any, network: Network, *outputs: str) -> Any:
    """Return the part of a model from what is prepared of a clip to layers, side by side.

    That is behind the network's front end, or the whole model where it has none of its own.
    """
    start = model.get_layer(network.front_end).output if network.front_end else model.input
    return keras.Model(start, side_by_side(model, outputs))


def side_by_side(model: Any, layers: Sequence[str]) -> Any:
    """Join the outputs (batch, columns) of some layers of a model."""
    columns = [model.get_layer(name).output for name in layers]
    return keras.ops.concatenate(columns, axis=1) if columns[1:] else columns[0]


def upper_blocks_of(model: Any, network: Network, upper: UpperBlocks) -> Any:
    """Return the last blocks of a model's encoder, from what reaches them to all statistics."""
    encoder = model.get_layer(network.front_end)
    below = keras.Input((None, encoder.units), name="below")
    return keras.Model(below, UpperEncoder(encoder, upper.blocks)(below))


class Inference:
    """Run a model on inputs of any lengths, one by one: no padding that it could hear.

    Parameters
    ----------
    model : keras.Model
        To probabilities; later changes of its weights are seen.
    """

    def __init__(self, model: Any) -> None:
        signature = [tf.TensorSpec(model.input_shape, tf.float32)]
        self._run = tf.function(
            lambda batch: model(batch, training=False), input_signature=signature
        )

    def process(self, inputs: Iterable[NDArray[np.float32]]) -> NDArray[np.float64]:
        """Return the probabilities of each input, shape (inputs, labels)."""
        return np.array([self._run(array[None]).numpy()[0] for array in inputs], np.float64)


class KerasClassifier:
    """A ``.keras`` file as the live engine's model; it raises SerError as `load_model` does."""

    batch_is_bitwise = True
    """Each window runs alone."""

    def __init__(self, path: Path) -> None:
        loaded = load_model(path)
        self.card, self.where = loaded.card, str(path)
        joined = side_by_side(loaded.model, output_names(self.card))
        self._inference = Inference(keras.Model(loaded.model.input, joined))

    def batch_probabilities(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Classify windows of shape (batch, frames, bins)."""
        return self.batch_outputs(windows).probabilities

    def batch_outputs(self, windows: NDArray[np.float32]) -> Outputs:
        """Run the network on windows of shape (batch, frames, bins)."""
        columns, labels = self._inference.process(windows).astype(np.float32), len(self.card.labels)
        ordinary = columns[:, labels:] if self.card.ordinary_odds else None
        return Outputs(columns[:, :labels], ordinary)
