"""The front end of the published networks: 193 pooled features of a power spectrum.

Its mel bank comes from librosa, which is imported when one is built and never before.
"""

import keras
import numpy as np
import scipy.fft
from keras import KerasTensor, ops
from numpy.typing import NDArray

MFCC, CHROMA, MEL, CONTRAST, TONNETZ = 40, 12, 128, 7, 6

FAMILIES = {
    "mfcc": slice(0, 40),
    "chroma": slice(40, 52),
    "mel": slice(52, 180),
    "contrast": slice(180, 187),
    "tonnetz": slice(187, 193),
}
"""Place of each family of features among the 193, in the paper's order."""

FLOOR = 1e-10
"""Lowest power that is put on the decibel scale."""
RANGE_DB = 80.0
"""Levels further below the clip's maximum are lifted to there."""
TINY = 1.1754944e-38
"""A frame whose chroma is smaller stays as it is."""
_LOWEST_CONTRAST_HZ = 200.0
"""Upper edge of the first band; each further one is an octave."""


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
        from librosa.filters import mel  # noqa: PLC0415 - a second, and only building needs it

        bins = input_shape[-1]
        if bins is None:
            raise ValueError(f"Pooled193: input shape {input_shape}, wanted a fixed last axis")
        fft_samples = 2 * (bins - 1)
        rate_hz = self.sample_rate_hz
        mel_bank = mel(sr=rate_hz, n_fft=fft_samples, n_mels=MEL)
        self._banks = np.concatenate((mel_bank, _chroma_bank(rate_hz, fft_samples)))
        # The orthonormal DCT-II as a matrix, shape (MFCC, MEL).
        self._cosines = scipy.fft.dct(np.eye(MEL), norm="ortho", axis=0)[:MFCC].astype(np.float32)
        self._centroids = _tonal_centroids()
        self._bands = _contrast_bands(rate_hz, fft_samples)
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
        for bins, extremes in self._bands:
            power = spectrum[:, :, bins]
            strongest = ops.top_k(power, extremes)[0]
            weakest = -ops.top_k(-power, extremes)[0]
            peaks.append(ops.mean(ops.sqrt(strongest), axis=-1))
            valleys.append(ops.mean(ops.sqrt(weakest), axis=-1))
        # Two rows more make 16: onnxruntime takes logarithms of the last elements of a tensor
        # that do not fill a vector of the processor in another way, so a batch would show.
        level = _log_power(ops.stack([*peaks, *valleys, *peaks[:2]], axis=1))
        return _limit_range(level[:, :CONTRAST]) - _limit_range(level[:, CONTRAST : 2 * CONTRAST])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (batch, 193, 1)."""
        return (input_shape[0], FAMILIES["tonnetz"].stop, 1)

    def get_config(self) -> dict[str, object]:
        """Return what the constructor takes."""
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


def _chroma_bank(sample_rate_hz: int, fft_samples: int) -> NDArray[np.float32]:
    """Return what `librosa.filters.chroma` gives at tuning 0, shape (CHROMA, fft_samples // 2 + 1).

    Computed here, to the bit: librosa compiles code at the first call, which takes up to a minute.
    """
    bin_hz = np.arange(1, fft_samples) * (sample_rate_hz / fft_samples)
    position = CHROMA * np.log2(bin_hz / 27.5)  # in semitones above the lowest A
    position = np.concatenate(([position[0] - 1.5 * CHROMA], position))  # 0 Hz has no octave
    width = np.concatenate((np.maximum(np.diff(position), 1.0), [1.0]))
    distance = position - np.arange(CHROMA)[:, None] + CHROMA / 2 + 10 * CHROMA
    distance = np.remainder(distance, CHROMA) - CHROMA / 2
    bank = np.exp(-0.5 * (2 * distance / width) ** 2)
    bank /= np.sqrt(np.sum(bank**2, axis=0))
    bank *= np.exp(-0.5 * ((position / CHROMA - 5.0) / 2.0) ** 2)  # octaves around the fifth
    from_c: NDArray[np.float32] = np.roll(bank, -3 * (CHROMA // 12), axis=0).astype(np.float32)
    return from_c[:, : fft_samples // 2 + 1]


def _tonal_centroids() -> NDArray[np.float32]:
    """Return the projection of chroma onto fifths, minor and major thirds, shape (6, CHROMA).

    To be multiplied with chroma that sums to 1 (Harte, Sandler, Gasser 2006).
    """
    per_semitone = np.array([7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3])
    angle = per_semitone[:, None] * np.linspace(0, 12, CHROMA, endpoint=False)
    angle[::2] -= 0.5  # the even rows are sines
    radius = np.array([1, 1, 1, 1, 0.5, 0.5])
    return (radius[:, None] * np.cos(np.pi * angle)).astype(np.float32)


def _contrast_bands(sample_rate_hz: int, fft_samples: int) -> list[tuple[slice, int]]:
    """Cut the spectrum into bands as `librosa.feature.spectral_contrast` does.

    Returns
    -------
    list of (slice, int)
        The bins of each band; so many highest ones make its peak, as many lowest ones its valley.

    Notes
    -----
    Each band but the first begins one bin lower and each but the last ends one bin earlier than
    its frequencies say, while the 2 % are taken of the uncut band: so librosa has it.
    """
    bin_hz = np.fft.rfftfreq(fft_samples, 1.0 / sample_rate_hz)
    edges_hz = np.concatenate(([0.0], _LOWEST_CONTRAST_HZ * 2.0 ** np.arange(CONTRAST)))
    bands = []
    for k in range(CONTRAST):
        inside = np.flatnonzero((bin_hz >= edges_hz[k]) & (bin_hz <= edges_hz[k + 1]))
        first, is_last = int(inside[0]) - (k > 0), k == CONTRAST - 1
        end = bin_hz.size if is_last else int(inside[-1]) + 1
        extremes = max(1, int(np.rint(0.02 * (end - first))))
        bands.append((slice(first, end if is_last else end - 1), extremes))
    return bands
