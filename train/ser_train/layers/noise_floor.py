"""Power-spectrum frames without the noise that never stops."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="ser_train")
class FloorSubtraction(keras.layers.Layer):  # type: ignore[misc]
    """Subtract from each frequency what it never falls below in the window: hum, fans, hiss.

    Parameters
    ----------
    frames : int
        So many frames are averaged before the minimum is taken.
    factor : float
        The minimum of a noise lies under its mean; this makes up for it.
    kept_share : float
        Share of the power that is always kept.

    References
    ----------
    Boll: Suppression of acoustic noise in speech using spectral subtraction. IEEE Transactions on
    Acoustics, Speech and Signal Processing 27(2), 1979.
    Martin: Noise power spectral density estimation based on optimal smoothing and minimum
    statistics. IEEE Transactions on Speech and Audio Processing 9(5), 2001.
    """

    def __init__(
        self, frames: int = 8, factor: float = 1.5, kept_share: float = 0.03, **options: Any
    ) -> None:
        super().__init__(**options)
        self.frames = frames
        self.factor = factor
        self.kept_share = kept_share

    def call(self, power: Any) -> Any:
        """Map (batch, frames, bins) power to the same shape; there must be ``frames`` frames."""
        block = (self.frames, 1)
        picture = ops.expand_dims(power, -1)
        means = ops.average_pool(picture, block, strides=block, padding="valid")
        floor = self.factor * ops.squeeze(ops.min(means, axis=1, keepdims=True), -1)
        return ops.maximum(power - floor, self.kept_share * power)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments, as Keras saves them."""
        own = {"frames": self.frames, "factor": self.factor, "kept_share": self.kept_share}
        return {**super().get_config(), **own}
