"""The scalar that makes confidence honest."""

from typing import Any

import keras


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
