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

    def call(self, power: Any, training: bool = False) -> Any:
        """Map (batch, frames, bins) power to the same shape; there must be ``frames`` frames."""
        # The same sums either way: TensorFlow is four times as slow with strides as with blocks,
        # and onnxruntime, which runs what is not training, is slower with blocks.
        blocks = self._blocks(power) if training else self._strides(power)
        mean = sum(blocks[1:], blocks[0]) * (1.0 / self.frames)  # frame by frame: exact in a batch
        floor = self.factor * ops.min(mean, axis=1, keepdims=True)
        return ops.maximum(power - floor, self.kept_share * power)

    def _strides(self, power: Any) -> list[Any]:
        ends = [first - self.frames + 1 or None for first in range(self.frames)]
        return [power[:, first : ends[first] : self.frames] for first in range(self.frames)]

    def _blocks(self, power: Any) -> list[Any]:
        count, bins = ops.shape(power)[1] // self.frames, power.shape[-1]
        whole = power[:, : count * self.frames]
        rows = ops.reshape(whole, (-1, count, self.frames * bins))
        return [rows[..., first * bins : (first + 1) * bins] for first in range(self.frames)]

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments, as Keras saves them."""
        own = {"frames": self.frames, "factor": self.factor, "kept_share": self.kept_share}
        return {**super().get_config(), **own}
