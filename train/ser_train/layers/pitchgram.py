"""Power-spectrum frames to the strength of each pitch."""

from typing import Any

import keras
import numpy as np
from keras import ops

from ser_train.layers.logmel import SAMPLE_RATE_HZ

_SILENCE = 1e-10


@keras.saving.register_keras_serializable(package="ser_train")
class Pitchgram(keras.layers.Layer):  # type: ignore[misc]
    """How well each frame repeats after the period of each pitch, whatever its timbre and level.

    The autocorrelation is the cosine transform of the power spectrum; taking magnitudes instead
    of powers keeps formants from hiding the pitch. The pitches lie at equal musical intervals, so
    that a voice that is higher by some interval gives the same picture, shifted.

    Parameters
    ----------
    pitches : int
        Number of pitches.
    lowest_hz, highest_hz : float
        First and last pitch.
    band_hz : tuple of float
        Lowest and highest frequency of the partials that count.

    References
    ----------
    Tolonen, Karjalainen: A computationally efficient multipitch analysis model. IEEE Transactions
    on Speech and Audio Processing 8(6), 2000 (the generalised autocorrelation).
    """

    def __init__(
        self,
        pitches: int = 48,
        lowest_hz: float = 62.5,
        highest_hz: float = 500.0,
        band_hz: tuple[float, float] = (50.0, 4000.0),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.pitches = pitches
        self.lowest_hz = lowest_hz
        self.highest_hz = highest_hz
        self.band_hz = (float(band_hz[0]), float(band_hz[1]))

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Make the cosines for the number of bins."""
        bin_hz = SAMPLE_RATE_HZ / 2.0 / (input_shape[-1] - 1) * np.arange(input_shape[-1])
        inside = np.flatnonzero((bin_hz > self.band_hz[0]) & (bin_hz < self.band_hz[1]))
        self._bins = slice(int(inside[0]), int(inside[-1]) + 1)
        pitch_hz = np.geomspace(self.lowest_hz, self.highest_hz, self.pitches)
        cosines = np.cos(2.0 * np.pi * np.outer(bin_hz[self._bins], 1.0 / pitch_hz))
        bank = np.concatenate((cosines, np.ones((inside.size, 1))), axis=1) / inside.size
        self._bank = np.ascontiguousarray(bank.astype(np.float32))
        self.built = True

    def call(self, power: Any) -> Any:
        """Map (batch, frames, bins) power to (batch, pitches, frames, 1), from -1 to 1."""
        sums = ops.matmul(ops.sqrt(power[..., self._bins]), self._bank)
        shares = sums[..., :-1] / (sums[..., -1:] + _SILENCE)
        return ops.expand_dims(ops.transpose(shares, (0, 2, 1)), -1)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments, as Keras saves them."""
        own = {
            "pitches": self.pitches,
            "lowest_hz": self.lowest_hz,
            "highest_hz": self.highest_hz,
            "band_hz": self.band_hz,
        }
        return {**super().get_config(), **own}
