"""Sounds for tests."""

import numpy as np
from numpy.typing import NDArray


def speech_like(seconds: float, rate: int = 16000, seed: int = 0) -> NDArray[np.float32]:
    """Make harmonics of a gliding pitch under a moving formant: not speech, but as busy.

    Parameters
    ----------
    seconds : float
        Length.
    rate : int
        Samples per second.
    seed : int
        Of the pitch and of a faint noise.

    Returns
    -------
    ndarray, shape (n,), float32
        Mono samples in [-1, 1].
    """
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 40 * np.sin(2 * np.pi * 0.7 * time + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formant = 900 + 500 * np.sin(2 * np.pi * 3.1 * time)
    voice = sum(
        np.exp(-(((k * pitch - formant) / 600) ** 2)) * np.sin(k * phase) for k in range(1, 20)
    )
    envelope = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * time)
    quiet = 0.001 * rng.normal(size=time.size)
    samples: NDArray[np.float32] = (0.2 * envelope * voice + quiet).astype(np.float32)
    return samples
