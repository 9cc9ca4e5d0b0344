"""Pooling over time by attention."""

from typing import Any

import keras
from keras import ops

_SMALLEST_VARIANCE = 1e-5


@keras.saving.register_keras_serializable(package="ser_train")
class AttentiveStatistics(keras.layers.Layer):  # type: ignore[misc]
    """Attention-weighted mean and standard deviation over time, one weight per channel.

    After Okabe, Koshinaka and Shinoda 2018, "Attentive statistics pooling for deep speaker
    embedding". Sums run over the last axis, so that a batch gives the bits of single windows.

    Parameters
    ----------
    hidden : int
        Width of the layer that scores frames.
    """

    def __init__(self, hidden: int = 64, **options: Any) -> None:
        super().__init__(**options)
        self.hidden = hidden

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the two dense layers that score frames."""
        channels = input_shape[-1]
        self.inner = keras.layers.Dense(self.hidden, activation="tanh", name="inner")
        self.outer = keras.layers.Dense(channels, name="outer")
        self.inner.build(input_shape)
        self.outer.build((*input_shape[:-1], self.hidden))
        self.built = True

    def call(self, frames: Any) -> Any:
        """Map (batch, frames, channels) to (batch, 2 * channels)."""
        scores = ops.transpose(self.outer(self.inner(frames)), (0, 2, 1))
        weights = ops.softmax(scores, axis=-1)
        values = ops.transpose(frames, (0, 2, 1))
        mean = ops.sum(weights * values, axis=-1, keepdims=True)
        variance = ops.sum(weights * ops.square(values - mean), axis=-1, keepdims=True)
        deviation = ops.sqrt(variance + _SMALLEST_VARIANCE)
        return ops.squeeze(ops.concatenate([mean, deviation], axis=1), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments, as Keras saves them."""
        return {**super().get_config(), "hidden": self.hidden}
