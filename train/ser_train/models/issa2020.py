"""The published networks and their input: 193 pooled features of a recording, and CNNs over them.

Issa, Demirci, Yazici: Speech emotion recognition with deep convolutional neural networks.
Biomedical Signal Processing and Control 59:101894, 2020.
"""

from pathlib import Path

import keras
import numpy as np
from keras import KerasTensor, layers
from numpy.typing import NDArray

from ser_live.engine.spectrum import PowerSpectrum
from ser_train.audio import read_audio
from ser_train.layers import Pooled193, with_probabilities
from ser_train.models.registry import ISSA_SPECTRUM


def pooled_features(path: Path) -> NDArray[np.float32]:
    """Return the features (193, 1) of a recording: see `ser_train.pooled193`."""
    samples = read_audio(path)
    missing = max(0, ISSA_SPECTRUM.fft_samples - samples.size)
    power = PowerSpectrum(ISSA_SPECTRUM).process(np.pad(samples, (0, missing)))
    features: NDArray[np.float32] = keras.ops.convert_to_numpy(Pooled193()(power[None]))[0]
    return features


def build_issa_ravdess(n_labels: int, bins: int, padding: str = "same") -> keras.Model:
    """Build the network that the paper uses for RAVDESS, with fresh weights.

    Parameters
    ----------
    n_labels : int
        Number of labels.
    bins : int
        Frequency bins of the power spectrum; 1025 for the paper's transform.
    padding : str
        Of all convolutions: "same" as in the paper's figure, "valid" as in the published code.

    Returns
    -------
    keras.Model
        From "spectrum" (batch, frames, bins), float32, to "probabilities" (batch, n_labels).

    Notes
    -----
    What differs from the paper, and why: the mel family is on the decibel scale and every
    feature is standardised by the layer "standardize", whose statistics come from training
    clips (``adapt`` on the output of "frontend"), because raw mel power spans ten decades.
    Recordings are at 16 kHz and heard from the speech onset for at most three seconds, as a live
    stream hears them, not as whole clips at 22.05 kHz.
    """
    return _six_convolutions(n_labels, bins, padding, 0.1, "issa_ravdess")


def build_issa_iemocap(n_labels: int, bins: int, padding: str = "same") -> keras.Model:
    """Build the paper's network for IEMOCAP: that for RAVDESS with more dropout before pooling.

    Parameters, result and what differs from the paper are those of `build_issa_ravdess`.
    """
    return _six_convolutions(n_labels, bins, padding, 0.2, "issa_iemocap")


def build_issa_emodb(n_labels: int, bins: int, padding: str = "same") -> keras.Model:
    """Build the paper's "model A" for EMO-DB: half as deep as that for RAVDESS.

    Parameters, result and what differs from the paper are those of `build_issa_ravdess`.
    """
    spectrum = keras.Input((None, bins), name="spectrum")
    x = _first_two(spectrum, padding, 0.1)
    x = layers.MaxPooling1D(8)(x)
    x = layers.ReLU()(layers.BatchNormalization()(_convolution(x, 128, padding)))
    x = layers.Flatten()(layers.Dropout(0.2)(x))
    logits = layers.Dense(n_labels, name="logits")(x)
    return with_probabilities(spectrum, logits, "issa_emodb")


def _six_convolutions(
    n_labels: int, bins: int, padding: str, dropout: float, name: str
) -> keras.Model:
    spectrum = keras.Input((None, bins), name="spectrum")
    x = _first_two(spectrum, padding, dropout)
    x = layers.MaxPooling1D(8)(layers.BatchNormalization()(x))
    x = layers.ReLU()(_convolution(x, 128, padding))
    x = layers.ReLU()(_convolution(x, 128, padding))
    x = layers.ReLU()(layers.BatchNormalization()(_convolution(x, 128, padding)))
    x = layers.ReLU()(_convolution(layers.Dropout(0.2)(x), 128, padding))
    x = layers.Dropout(0.2)(layers.Flatten()(x))
    x = layers.Dense(n_labels, name="scores")(x)
    logits = layers.BatchNormalization(name="logits")(x)
    return with_probabilities(spectrum, logits, name)


def _first_two(spectrum: KerasTensor, padding: str, dropout: float) -> KerasTensor:
    """Pool and standardise the features, then convolve twice: alike in all of the paper's."""
    features = Pooled193(mel_in_decibels=True, name="frontend")(spectrum)
    x = layers.Normalization(axis=1, name="standardize")(features)
    x = layers.ReLU()(layers.BatchNormalization()(_convolution(x, 256, padding)))
    return layers.Dropout(dropout)(layers.ReLU()(_convolution(x, 128, padding)))


def _convolution(x: KerasTensor, channels: int, padding: str) -> KerasTensor:
    return layers.Conv1D(channels, 5, padding=padding)(x)
