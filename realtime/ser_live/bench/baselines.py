"""Baselines of ``ser-bench --compare``: other ways to recognize, which compute the whole window.

Needs librosa and Keras (``pip install 'ser-live[train]'``); nothing else of the runtime does.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.engine.spectrum import PowerSpectrum
from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_live.model.classifier import OnnxClassifier

Recognize = Callable[[NDArray[np.float32]], object]
"""Takes the whole window, shape (n,); its result is thrown away."""


def require_packages() -> None:
    """Raise SerError if a package that the baselines need is not installed."""
    for name in ("keras", "librosa"):
        if find_spec(name) is None:
            raise SerError(
                f"--compare needs {name}, which is not installed; pip install 'ser-live[train]'"
            )


def baselines(model: OnnxClassifier) -> list[tuple[str, int, Recognize]]:
    """Return all baselines: name, times that it is measured, and the work itself."""
    keras, librosa = import_module("keras"), import_module("librosa")
    usual = "usual way: librosa's five features over the window, Keras predict"
    rival = "fair rival: librosa's log-mel over the window, the same ONNX graph"
    return [
        (usual, 30, _five_features_and_keras(keras, librosa, len(model.card.labels))),
        (rival, 200, _log_mel_and_onnx(librosa, model)),
    ]


def _five_features_and_keras(keras: Any, librosa: Any, labels: int) -> Recognize:
    """Return librosa's five pooled features over the whole window, then Keras ``predict``.

    The network is the convolutional one of Issa, Demirci and Yazici 2020 with random weights:
    its cost does not depend on them.
    """
    layers = keras.layers
    convolution = {"kernel_size": 5, "padding": "same", "activation": "relu"}
    network = keras.Sequential(
        [
            keras.Input((193, 1)),
            layers.Conv1D(256, **convolution),
            layers.Conv1D(128, **convolution),
            layers.MaxPooling1D(8),
            *(layers.Conv1D(128, **convolution) for _ in range(4)),
            layers.Flatten(),
            layers.Dense(labels, activation="softmax"),
        ]
    )

    def recognize(window: NDArray[np.float32]) -> object:
        feature, rate = librosa.feature, SAMPLE_RATE_HZ
        magnitude = np.abs(librosa.stft(window))
        families = (
            feature.mfcc(y=window, sr=rate, n_mfcc=40),
            feature.chroma_stft(S=magnitude, sr=rate),
            feature.melspectrogram(y=window, sr=rate),
            feature.spectral_contrast(S=magnitude, sr=rate),
            feature.tonnetz(y=librosa.effects.harmonic(window), sr=rate),
        )
        pooled = np.concatenate([family.mean(axis=1) for family in families])
        return network.predict(pooled[np.newaxis, :, np.newaxis], verbose=0)

    return recognize


def _log_mel_and_onnx(librosa: Any, classifier: OnnxClassifier) -> Recognize:
    """Return librosa's log-mel over the whole window, then the very same ONNX graph."""
    spec = classifier.card.spectrum

    def recognize(window: NDArray[np.float32]) -> object:
        mel = librosa.feature.melspectrogram(
            y=window, sr=SAMPLE_RATE_HZ, n_fft=spec.fft_samples, hop_length=spec.hop_samples,
            n_mels=64, center=False,
        )  # fmt: skip
        log_mel = librosa.power_to_db(mel)
        return log_mel, classifier.probabilities(frames)

    frames = PowerSpectrum(spec).process(
        np.random.default_rng(0).normal(size=3 * SAMPLE_RATE_HZ).astype(np.float32)
    )
    return recognize
