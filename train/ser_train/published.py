"""The published network and its input: 193 pooled features of a recording, and a CNN over them.

Issa, Demirci, Yazici: Speech emotion recognition with deep convolutional neural networks.
Biomedical Signal Processing and Control 59:101894, 2020.
"""

from pathlib import Path

import keras
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ser_live.card import SAMPLE_RATE_HZ, SpectrumSpec
from ser_live.errors import SerError
from ser_live.spectrum import PowerSpectrum
from ser_train.layers.pooled193 import Pooled193

SPECTRUM = SpectrumSpec(fft_samples=2048, hop_samples=512)
"""librosa's default transform, which the published code uses."""


def pooled_features(path: Path) -> NDArray[np.float32]:
    """Give the features (193, 1) of a recording: see `ser_train.pooled193`."""
    samples = _read_mono(path)
    missing = max(0, SPECTRUM.fft_samples - samples.size)
    power = PowerSpectrum(SPECTRUM).process(np.pad(samples, (0, missing)))
    features: NDArray[np.float32] = keras.ops.convert_to_numpy(Pooled193()(power[None]))[0]
    return features


def _read_mono(path: Path) -> NDArray[np.float32]:
    if not path.is_file():
        raise SerError(f"{path}: no such file, wanted a recording")
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise SerError(f"{path}: not readable as audio ({error.error_string})") from error
    if len(samples) == 0:
        raise SerError(f"{path}: holds no samples")
    if not np.isfinite(samples).all():
        raise SerError(f"{path}: holds samples that are not finite; repair the recording")
    mono = np.mean(samples, axis=1, dtype=np.float32)
    resampled: NDArray[np.float32] = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ)
    return resampled
