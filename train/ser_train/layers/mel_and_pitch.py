"""The input of our sequence network: log-mel bands and pitch of speech, without steady noise."""

from typing import Any

import keras
import numpy as np
from keras import ops

SAMPLE_RATE_HZ = 16000
_SILENT_MEL_POWER = 1e-30
_SILENT_MAGNITUDE = 1e-10
_FLOOR_FRAMES = 8
"""So many frames are averaged before the minimum is taken."""
_FLOOR_FACTOR = 1.5
"""The minimum of a noise lies under its mean; this makes up for it."""
_KEPT_SHARE = 0.03
"""Share of the power that is always kept."""
_PITCHES = 48
_LOWEST_PITCH_HZ, _HIGHEST_PITCH_HZ = 62.5, 500.0
_BAND_HZ = (50.0, 4000.0)
"""Lowest and highest frequency of the partials that count for a pitch."""


@keras.saving.register_keras_serializable(package="ser_train")
class MelAndPitch(keras.layers.Layer):  # type: ignore[misc]
    """Timbre and pitch of speech without steady noise: `LogMel` and `Pitchgram`.

    One layer, so that the members of an ensemble compute it once.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._floor = FloorSubtraction()
        self._log_mel = LogMel()
        self._pitchgram = Pitchgram()

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Build the parts, which have no weights."""
        for part in (self._floor, self._log_mel, self._pitchgram):
            part.build(input_shape)
        self.built = True

    def call(self, power: Any) -> tuple[Any, Any]:
        """Map (batch, frames, bins) power to (batch, mels, frames, 1) and (.., pitches, ..)."""
        speech = self._floor(power)
        return self._log_mel(speech), self._pitchgram(speech)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments; Keras' own guess would leave out the name."""
        config: dict[str, Any] = super().get_config()
        return config


@keras.saving.register_keras_serializable(package="ser_train")
class FloorSubtraction(keras.layers.Layer):  # type: ignore[misc]
    """Subtract from each frequency what it never falls below in the window: hum, fans, hiss.

    References
    ----------
    Boll: Suppression of acoustic noise in speech using spectral subtraction. IEEE Transactions on
    Acoustics, Speech and Signal Processing 27(2), 1979.
    Martin: Noise power spectral density estimation based on optimal smoothing and minimum
    statistics. IEEE Transactions on Speech and Audio Processing 9(5), 2001.
    """

    def call(self, power: Any) -> Any:
        """Map (batch, frames, bins) power to the same shape; there must be 8 frames."""
        block = (_FLOOR_FRAMES, 1)
        picture = ops.expand_dims(power, -1)
        means = ops.average_pool(picture, block, strides=block, padding="valid")
        floor = _FLOOR_FACTOR * ops.squeeze(ops.min(means, axis=1, keepdims=True), -1)
        return ops.maximum(power - floor, _KEPT_SHARE * power)


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
        mean = ops.maximum(ops.mean(flat, axis=-1, keepdims=True), _SILENT_MEL_POWER)
        scale = 10.0 ** (-self.floor_db / 10.0) / ops.expand_dims(mean, -1)
        levels = ops.log(mel * scale + 1.0)
        return ops.expand_dims(ops.transpose(levels, (0, 2, 1)), -1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as Keras saves them."""
        own = {"mels": self.mels, "fmin_hz": self.fmin_hz, "floor_db": self.floor_db}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="ser_train")
class Pitchgram(keras.layers.Layer):  # type: ignore[misc]
    """Strength with which each frame repeats after the period of each pitch.

    It does not depend on timbre and level.

    The autocorrelation is the cosine transform of the power spectrum; taking magnitudes instead
    of powers keeps formants from hiding the pitch. The pitches lie at equal musical intervals, so
    that a voice that is higher by some interval gives the same picture, shifted.

    References
    ----------
    Tolonen, Karjalainen: A computationally efficient multipitch analysis model. IEEE Transactions
    on Speech and Audio Processing 8(6), 2000 (the generalised autocorrelation).
    """

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Make the cosines for the number of bins."""
        bin_hz = SAMPLE_RATE_HZ / 2.0 / (input_shape[-1] - 1) * np.arange(input_shape[-1])
        inside = np.flatnonzero((bin_hz > _BAND_HZ[0]) & (bin_hz < _BAND_HZ[1]))
        self._bins = slice(int(inside[0]), int(inside[-1]) + 1)
        pitch_hz = np.geomspace(_LOWEST_PITCH_HZ, _HIGHEST_PITCH_HZ, _PITCHES)
        cosines = np.cos(2.0 * np.pi * np.outer(bin_hz[self._bins], 1.0 / pitch_hz))
        bank = np.concatenate((cosines, np.ones((inside.size, 1))), axis=1) / inside.size
        self._bank = np.ascontiguousarray(bank.astype(np.float32))
        self.built = True

    def call(self, power: Any) -> Any:
        """Map (batch, frames, bins) power to (batch, pitches, frames, 1), from -1 to 1."""
        sums = ops.matmul(ops.sqrt(power[..., self._bins]), self._bank)
        shares = sums[..., :-1] / (sums[..., -1:] + _SILENT_MAGNITUDE)
        return ops.expand_dims(ops.transpose(shares, (0, 2, 1)), -1)
