"""Power-spectrum frames to log-mel bands that do not depend on the recording level."""

from typing import Any

import keras
import numpy as np
from keras import ops

SAMPLE_RATE_HZ = 16000
_SMALLEST_MEAN = 1e-30


@keras.saving.register_keras_serializable(package="ser_train")
class LogMel(keras.layers.Layer):  # type: ignore[misc]
    """Decibels of mel energy over the mean mel energy of the window, with a soft floor.

    ``10 log10(mel / mean(mel) + 10 ** (floor_db / 10))``: dividing by the window's own mean makes
    the result independent of gain; the floor keeps near-silence from dominating.

    Parameters
    ----------
    mels : int
        Number of bands of ``librosa.filters.mel`` (Slaney scale and area normalisation).
    fmin_hz : float
        Lower edge of the first band.
    floor_db : float
        Level of the floor under the window's mean.
    """

    def __init__(
        self, mels: int = 64, fmin_hz: float = 50.0, floor_db: float = -70.0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.mels = mels
        self.fmin_hz = fmin_hz
        self.floor_db = floor_db

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Take librosa's filter bank for the number of bins."""
        from librosa.filters import mel  # noqa: PLC0415 - a second, and only building needs it

        bins = input_shape[-1]
        assert bins is not None
        bank = mel(sr=SAMPLE_RATE_HZ, n_fft=2 * (bins - 1), n_mels=self.mels, fmin=self.fmin_hz)
        self._bank = np.ascontiguousarray(bank.T.astype(np.float32))
        self.built = True

    def call(self, power: Any) -> Any:
        """Map (batch, frames, bins) power to (batch, frames, mels) decibels."""
        mel = ops.matmul(power, self._bank)
        flat = ops.reshape(mel, (ops.shape(mel)[0], -1))
        mean = ops.maximum(ops.mean(flat, axis=-1, keepdims=True), _SMALLEST_MEAN)
        relative = mel / ops.expand_dims(mean, -1) + 10.0 ** (self.floor_db / 10.0)
        return ops.log(relative) * (10.0 / np.log(10.0))

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments, as Keras saves them."""
        own = {"mels": self.mels, "fmin_hz": self.fmin_hz, "floor_db": self.floor_db}
        return {**super().get_config(), **own}
