"""Power-spectrum frames to log-mel bands that do not depend on the recording level."""

from typing import Any

import keras
import numpy as np
from keras import ops

SAMPLE_RATE_HZ = 16000
_SILENCE_POWER = 1e-30


@keras.saving.register_keras_serializable(package="ser_train")
class LogMel(keras.layers.Layer):  # type: ignore[misc]
    """Log-mel energies above a floor that is relative to the window's mean mel power.

    ``log(1 + mel / (mean * 10 ** (floor_db / 10)))`` does not depend on gain and is 0 at the
    floor, so that digital silence and zero padding look alike.

    Parameters
    ----------
    mels : int
        Number of bands of ``librosa.filters.mel`` (Slaney scale and area normalisation).
    fmin_hz : float
        Lower edge of the first band.
    floor_db : float
        Floor above the mean power over the window's frames and bands; negative.
    """

    def __init__(
        self, mels: int = 64, fmin_hz: float = 50.0, floor_db: float = -70.0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.mels = mels
        self.fmin_hz = fmin_hz
        self.floor_db = floor_db

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Take librosa's filter bank for the number of bins."""
        from librosa.filters import mel  # noqa: PLC0415 - a second, and only building needs it

        bank = mel(
            sr=SAMPLE_RATE_HZ, n_fft=2 * (input_shape[-1] - 1), n_mels=self.mels, fmin=self.fmin_hz
        )
        self._bank = np.ascontiguousarray(bank.T.astype(np.float32))
        self.built = True

    def call(self, power: Any) -> Any:
        """Map (batch, frames, bins) power to (batch, mels, frames, 1)."""
        mel = ops.matmul(power, self._bank)
        flat = ops.reshape(mel, (ops.shape(mel)[0], -1))  # one axis: a batch gives single windows
        mean = ops.maximum(ops.mean(flat, axis=-1, keepdims=True), _SILENCE_POWER)
        scale = 10.0 ** (-self.floor_db / 10.0) / ops.expand_dims(mean, -1)
        levels = ops.log(mel * scale + 1.0)
        return ops.expand_dims(ops.transpose(levels, (0, 2, 1)), -1)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments, as Keras saves them."""
        own = {"mels": self.mels, "fmin_hz": self.fmin_hz, "floor_db": self.floor_db}
        return {**super().get_config(), **own}
