"""The front end of the published network: 193 pooled features of a power spectrum."""

import keras
import numpy as np
from keras import KerasTensor, ops

from ser_train.layers.filterbanks import (
    contrast_bands,
    cosine_transform,
    mel_and_chroma,
    tonal_centroids,
)

MFCC, CHROMA, MEL, CONTRAST, TONNETZ = 40, 12, 128, 7, 6

FAMILIES = {
    "mfcc": slice(0, 40),
    "chroma": slice(40, 52),
    "mel": slice(52, 180),
    "contrast": slice(180, 187),
    "tonnetz": slice(187, 193),
}
"""Where each family of features lies among the 193, in the paper's order."""

FLOOR = 1e-10
"""Lowest power that is put on the decibel scale."""
RANGE_DB = 80.0
"""What lies further below the clip's maximum is lifted to there."""
TINY = 1.1754944e-38
"""A frame whose chroma is smaller stays as it is."""


@keras.saving.register_keras_serializable(package="ser_train")
class Pooled193(keras.layers.Layer):  # type: ignore[misc]
    """Means over time of 40 MFCC, 12 chroma, 128 mel, 7 contrast and 6 tonnetz features.

    Input is a power spectrum of shape (batch, frames, bins), float32, ``frames >= 1``; output has
    shape (batch, 193, 1), float32, in the order MFCC | chroma | mel | contrast | tonnetz, each
    what ``librosa.feature`` gives for the same frames, with two choices fixed: tuning is 0, and
    tonnetz rests on the STFT's chroma. Batch and frames are dynamic. Digital silence is finite.

    Parameters
    ----------
    sample_rate_hz : int
        Of the samples under the spectrum.
    mel_in_decibels : bool
        Give the means of the mel family on the decibel scale instead of as power.

    References
    ----------
    Issa, Demirci, Yazici: Speech emotion recognition with deep convolutional neural networks.
    Biomedical Signal Processing and Control 59:101894, 2020.
    """

    def __init__(
        self,
        sample_rate_hz: int = 16000,
        mel_in_decibels: bool = False,
        **keras_options: object,
    ) -> None:
        super().__init__(**{**keras_options, "trainable": False, "dtype": "float32"})
        self.sample_rate_hz = sample_rate_hz
        self.mel_in_decibels = mel_in_decibels

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the constants for the number of bins in ``input_shape``."""
        bins = input_shape[-1]
        if bins is None:
            raise ValueError(f"Pooled193: input shape {input_shape}, wanted a fixed last axis")
        fft_samples = 2 * (bins - 1)
        self._banks = mel_and_chroma(self.sample_rate_hz, fft_samples, MEL, CHROMA)
        self._cosines = cosine_transform(MFCC, MEL)
        self._centroids = tonal_centroids(CHROMA)
        self._bands = contrast_bands(self.sample_rate_hz, fft_samples, CONTRAST - 1)
        super().build(input_shape)

    def call(self, spectrum: KerasTensor) -> KerasTensor:
        """Pool a spectrum (batch, frames, bins) into (batch, 193, 1)."""
        # Constant @ batch: one product per clip, so that a batch gives the bits of single clips.
        banded = ops.matmul(self._banks, ops.transpose(spectrum, (0, 2, 1)))
        mel = banded[:, :MEL]
        mean_mel = _time_mean(mel)
        chroma = banded[:, MEL:]
        chroma = _divide_frames(chroma, ops.max(chroma, axis=1, keepdims=True))
        shares = _divide_frames(chroma, ops.matmul(np.ones((1, CHROMA), np.float32), chroma))
        pooled = [
            ops.matmul(self._cosines, _time_mean(_limit_range(_log_power(mel)))),
            _time_mean(chroma),
            _log_power(mean_mel) if self.mel_in_decibels else mean_mel,
            _time_mean(self._contrast(spectrum)),
            ops.matmul(self._centroids, _time_mean(shares)),
        ]
        return ops.concatenate(pooled, axis=1)

    def _contrast(self, spectrum: KerasTensor) -> KerasTensor:
        """Decibels between the strongest and the weakest bins of each band: (batch, 7, frames)."""
        peaks, valleys = [], []
        for band in self._bands:
            power = spectrum[:, :, band.first_bin : band.end_bin]
            strongest = ops.top_k(power, band.extreme_bins)[0]
            weakest = -ops.top_k(-power, band.extreme_bins)[0]
            peaks.append(ops.mean(ops.sqrt(strongest), axis=-1))
            valleys.append(ops.mean(ops.sqrt(weakest), axis=-1))
        # Two rows more make 16: onnxruntime takes logarithms of the last elements of a tensor
        # that do not fill a vector of the processor in another way, so a batch would show.
        level = _log_power(ops.stack([*peaks, *valleys, *peaks[:2]], axis=1))
        return _limit_range(level[:, :CONTRAST]) - _limit_range(level[:, CONTRAST : 2 * CONTRAST])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Give (batch, 193, 1)."""
        return (input_shape[0], FAMILIES["tonnetz"].stop, 1)

    def get_config(self) -> dict[str, object]:
        """Give what the constructor takes."""
        own = {"sample_rate_hz": self.sample_rate_hz, "mel_in_decibels": self.mel_in_decibels}
        return {**super().get_config(), **own}


def _time_mean(features: KerasTensor) -> KerasTensor:
    """Mean over the last axis, which is kept."""
    return ops.mean(features, axis=-1, keepdims=True)


def _log_power(power: KerasTensor) -> KerasTensor:
    """Ten times the decimal logarithm, from a floor of -100 dB."""
    return ops.log(ops.maximum(power, FLOOR)) * 4.3429448190325184


def _limit_range(level: KerasTensor) -> KerasTensor:
    """Lift (batch, bands, frames) decibels to `RANGE_DB` below each clip's own maximum."""
    return ops.maximum(level, ops.max(level, axis=(1, 2), keepdims=True) - RANGE_DB)


def _divide_frames(features: KerasTensor, size: KerasTensor) -> KerasTensor:
    """Divide each frame of (batch, bands, frames) by its size (batch, 1, frames), if it has one."""
    return features / ops.where(size < TINY, ops.ones_like(size), size)
