"""The constants of the pooled front end: filter banks, bands and transforms as numpy arrays.

The banks come from librosa, which is imported when one is built and never before.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def mel_and_chroma(
    sample_rate_hz: int, fft_samples: int, mel_bands: int, chroma_bands: int
) -> NDArray[np.float32]:
    """Give the Slaney mel bank and, below it, the chroma bank at tuning 0.

    Returns
    -------
    ndarray, shape (mel_bands + chroma_bands, fft_samples // 2 + 1), float32
        To be multiplied with a power spectrum: `librosa.filters.mel` and `librosa.filters.chroma`.
    """
    from librosa.filters import chroma, mel  # noqa: PLC0415 - slow, wanted only by a layer

    mel_bank = mel(sr=sample_rate_hz, n_fft=fft_samples, n_mels=mel_bands)
    chroma_bank = chroma(sr=sample_rate_hz, n_fft=fft_samples, n_chroma=chroma_bands, tuning=0.0)
    return np.concatenate((mel_bank, chroma_bank)).astype(np.float32)


def cosine_transform(coefficients: int, bands: int) -> NDArray[np.float32]:
    """Give the orthonormal DCT-II as a matrix of shape (coefficients, bands), float32."""
    order = np.arange(coefficients)[:, None]
    matrix = np.cos(np.pi / bands * (np.arange(bands) + 0.5) * order) * np.sqrt(2.0 / bands)
    matrix[0] /= np.sqrt(2.0)
    transform: NDArray[np.float32] = matrix.astype(np.float32)
    return transform


def tonal_centroids(chroma_bands: int) -> NDArray[np.float32]:
    """Give the projection of chroma onto fifths, minor and major thirds.

    Returns
    -------
    ndarray, shape (6, chroma_bands), float32
        To be multiplied with chroma that sums to 1 (Harte, Sandler, Gasser 2006).
    """
    per_semitone = np.array([7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3])
    angle = per_semitone[:, None] * np.linspace(0, 12, chroma_bands, endpoint=False)
    angle[::2] -= 0.5  # the even rows are sines
    radius = np.array([1, 1, 1, 1, 0.5, 0.5])
    return (radius[:, None] * np.cos(np.pi * angle)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class ContrastBand:
    """The bins of one band of spectral contrast."""

    first_bin: int
    """Its lowest bin."""
    end_bin: int
    """One past its highest bin."""
    extreme_bins: int
    """So many highest bins make the peak, so many lowest ones the valley."""


def contrast_bands(
    sample_rate_hz: int, fft_samples: int, octaves: int = 6, lowest_hz: float = 200.0
) -> tuple[ContrastBand, ...]:
    """Cut the spectrum into ``octaves + 1`` bands as `librosa.feature.spectral_contrast` does.

    Notes
    -----
    Each band but the first begins one bin lower and each but the last ends one bin earlier than
    its frequencies say, while the 2 % are taken of the uncut band: so librosa has it.
    """
    bin_hz = np.fft.rfftfreq(fft_samples, 1.0 / sample_rate_hz)
    edges_hz = np.concatenate(([0.0], lowest_hz * 2.0 ** np.arange(octaves + 1)))
    bands = []
    for k in range(octaves + 1):
        inside = np.flatnonzero((bin_hz >= edges_hz[k]) & (bin_hz <= edges_hz[k + 1]))
        first = int(inside[0]) - (k > 0)
        end = bin_hz.size if k == octaves else int(inside[-1]) + 1
        extremes = max(1, int(np.rint(0.02 * (end - first))))
        bands.append(ContrastBand(first, end - (k < octaves), extremes))
    return tuple(bands)
