"""Pooling over time by attention."""

from typing import Any

import keras
from keras import ops

_SMALLEST_VARIANCE = 1e-5


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
