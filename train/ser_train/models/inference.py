"""Probabilities of single inputs."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


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
