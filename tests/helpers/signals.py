"""Signals, ways to cut them, and what a stream makes of them."""

import functools
from collections.abc import Callable, Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from ser_live import Prediction, StreamRecognizer
from ser_live.engine.channels import ChannelRecognizer
from ser_live.sources import DEMO_PATH

Cut = Callable[[NDArray[np.generic]], Iterator[NDArray[np.generic]]]


def fixed(size: int) -> Cut:
    def cut(samples: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
        for start in range(0, len(samples), size):
            yield samples[start : start + size]

    return cut


def at_random(seed: int) -> Cut:
    def cut(samples: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
        rng = np.random.default_rng(seed)
        start = 0
        while start < len(samples):
            size = int(rng.choice([0, 1, 2, 17, 159, 160, 161, 511, 512, 513, 3999, 4001, 20000]))
            yield samples[start : start + size]
            start += size

    return cut


read_demo = functools.cache(functools.partial(soundfile.read, DEMO_PATH, dtype="float32"))


def demo_voice(rate: int, seconds: float, start: float = 0.0) -> NDArray[np.float32]:
    """A stretch of the demo voice, played at another rate by interpolation."""
    samples, own_rate = read_demo()
    at = (start + np.arange(round(seconds * rate)) / rate) * own_rate
    voice: NDArray[np.float32] = np.interp(at, np.arange(len(samples)), samples).astype(np.float32)
    return voice


def as_format(mono: NDArray[np.float32], channels: int, dtype: str) -> NDArray[np.generic]:
    samples = np.stack([mono * (1 - 0.3 * c) for c in range(channels)], axis=1)
    return (samples * 32767).astype(np.int16) if dtype == "int16" else samples.astype(dtype)


def run(
    recognizer: StreamRecognizer | ChannelRecognizer, chunks: Iterator[NDArray[np.generic]]
) -> list[Prediction]:
    predictions = [p for chunk in chunks for p in recognizer.process(chunk)]
    return predictions + recognizer.flush()
