"""Sounds without speech, and with it."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from helpers.streams import offline
from ser_live import Prediction
from ser_live.model.classifier import OnnxClassifier

SECONDS = 8.0


RATE = 16000


TIME = np.arange(round(SECONDS * RATE)) / RATE


def coloured_noise(exponent: float, seed: int) -> NDArray[np.float64]:
    """Noise whose power falls with frequency to the given exponent; peak 1."""
    rng = np.random.default_rng(seed)
    frequency = np.fft.rfftfreq(TIME.size)
    frequency[0] = frequency[1]
    shaped = np.fft.rfft(rng.normal(size=TIME.size)) * frequency ** (-exponent / 2)
    noise: NDArray[np.float64] = np.fft.irfft(shaped, TIME.size)
    noise /= np.abs(noise).max()
    return noise


def hum(hz: float) -> NDArray[np.float64]:
    wave: NDArray[np.float64] = sum(
        (np.sin(2 * np.pi * hz * k * TIME) / k for k in range(1, 9)), np.zeros(TIME.size)
    )
    wave /= np.abs(wave).max()
    return wave


def clicks(every_seconds: float, length: int) -> NDArray[np.float64]:
    wave = np.zeros(TIME.size)
    for start in range(0, TIME.size - length, round(every_seconds * RATE)):
        wave[start : start + length] = 1.0
    return wave


def sounds() -> Iterator[tuple[str, NDArray[np.float64]]]:
    for seed in (0, 1):
        yield f"white noise {seed}", coloured_noise(0, seed)
        yield f"pink noise {seed}", coloured_noise(1, seed)
        yield f"brown noise {seed}", coloured_noise(2, seed)
    for hz in (50, 60, 100, 120):
        yield f"hum {hz} Hz", hum(hz)
    for hz in (100, 150, 200, 300, 440, 1000, 3000):
        yield f"tone {hz} Hz", np.sin(2 * np.pi * hz * TIME)
    yield "clicks", clicks(0.5, 1)
    yield "pulses", clicks(0.25, 80)


SOUNDS = dict(sounds())


def recognize(
    model: OnnxClassifier, samples: NDArray[np.floating], rate: int = RATE
) -> list[Prediction]:
    return offline(model, samples.astype(np.float32), sample_rate_hz=rate)
