"""The logits of an ensemble."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

_TINY = 1.1754944e-38
_VECTOR = 16


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
