"""Layers at the end of a network: pooling over time, temperature, the mean of an ensemble."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

_SMALLEST_VARIANCE = 1e-5
_TINY = 1.1754944e-38
_VECTOR = 16


@keras.saving.register_keras_serializable(package="ser_train")
class AttentiveStatistics(keras.layers.Layer):  # type: ignore[misc]
    """Attention-weighted mean and standard deviation over time, with weights for each channel.

    Sums run over the last axis, so that a batch gives the bits of single windows.

    References
    ----------
    Okabe, Koshinaka, Shinoda: Attentive statistics pooling for deep speaker embedding.
    Interspeech 2018.
    """

    def call(self, inputs: tuple[Any, Any]) -> Any:
        """Map values and scores, each (batch, 1, time, channels), to (batch, 2 * channels)."""
        values, scores = (ops.transpose(x[:, 0], (0, 2, 1)) for x in inputs)
        weights = ops.softmax(scores, axis=-1)
        mean = ops.sum(weights * values, axis=-1, keepdims=True)
        variance = ops.sum(weights * ops.square(values - mean), axis=-1, keepdims=True)
        deviation = ops.sqrt(variance + _SMALLEST_VARIANCE)
        return ops.concatenate([mean, deviation], axis=1)[..., 0]


@keras.saving.register_keras_serializable(package="ser_train")
class Temperature(keras.layers.Layer):  # type: ignore[misc]
    """Divide logits by one scalar, fitted on held-out speakers after training.

    Guo et al. 2017, "On calibration of modern neural networks". The scalar is a weight that
    training never touches; it starts at 1.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the scalar."""
        self.temperature = self.add_weight(
            shape=(), initializer="ones", trainable=False, name="temperature"
        )
        self.built = True

    def call(self, logits: Any) -> Any:
        """Map (batch, labels) logits to the same, divided."""
        return logits / self.temperature


def with_probabilities(spectrum: Any, logits: Any, name: str | None = None) -> keras.Model:
    """Return the model from a spectrum to the layers that every network ends in.

    Parameters
    ----------
    spectrum : KerasTensor
        Input (batch, frames, bins) named "spectrum".
    logits : KerasTensor
        (batch, labels), of a layer named "logits".
    name : str or None
        Of the model.
    """
    tempered = Temperature(name="temperature")(logits)
    probabilities = keras.layers.Softmax(name="probabilities")(tempered)
    return keras.Model(spectrum, probabilities, name=name)


@keras.saving.register_keras_serializable(package="ser_train")
class LogMeanProbability(keras.layers.Layer):  # type: ignore[misc]
    """Logarithm of the mean of several distributions, so that a softmax gives the mean back."""

    def call(self, distributions: Sequence[Any]) -> Any:
        """Map some (batch, labels) probabilities to (batch, labels) logits."""
        labels = distributions[0].shape[-1]
        mean = sum(distributions[1:], distributions[0]) / len(distributions)
        # Rows that fill vectors of the processor: onnxruntime takes the logarithms of what is
        # left over in another way, so a batch would show.
        filled = ops.pad(mean, ((0, 0), (0, -labels % _VECTOR)), constant_values=1.0)
        return ops.log(ops.maximum(filled, _TINY))[:, :labels]
