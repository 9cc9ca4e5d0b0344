"""Raw PCM: any bytes in any portions, through the whole engine."""

import functools
import io
import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuzz import check_message, scratch
from ser_live import Prediction, SerError, StreamRecognizer
from ser_live.model.classifier import OnnxClassifier
from ser_live.sources import RawSource
from ser_live.testing import speech_like, write_tiny_model

RATES_HZ = (0, 7999, 8000, 11025, 16000, 44100, 384000, 384001)
CHANNELS = (1, 2, 3, 0, 64, 65)
STRANGE = (np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-42, -0.0, 1e6, 1.0000001e6)
FORMATS = ("s16le", "f32le", "u8", "")


class Portions(io.BytesIO):
    """Pipe that gives its bytes in portions of given sizes."""

    def __init__(self, data: bytes, sizes: Iterable[int]) -> None:
        super().__init__(data)
        self._sizes = iter(sizes)

    def read1(self, size: int | None = -1, /) -> bytes:
        most = size or len(self.getbuffer())
        return super().read1(min(most, next(self._sizes, most)))


def check(data: bytes) -> None:
    """Take the first four bytes as the configuration and the rest as samples."""
    head, samples = data[:4].ljust(4, b"\0"), data[4:]
    rate, channels = RATES_HZ[head[0] % len(RATES_HZ)], CHANNELS[head[1] % len(CHANNELS)]
    portion = head[3] * head[3] + 1
    if len(samples) // portion > 2000:
        return  # slow, and nothing new
    stream = Portions(samples, itertools.repeat(portion))
    try:
        source = RawSource(stream, rate, channels, FORMATS[head[2] % len(FORMATS)])  # type: ignore[arg-type]
        recognizer = StreamRecognizer(_model(), rate, channels, vad=head[2] < 128)
        with source:
            predictions = [p for b in source for p in _heard(recognizer, b.samples)]
        predictions += recognizer.flush()
    except SerError as error:
        check_message(error)
        return
    check_numbers(predictions)


def check_numbers(predictions: list[Prediction]) -> None:
    """Check that predictions hold probabilities, and times of this world."""
    for p in predictions:
        assert math.isfinite(p.confidence)
        assert 0.0 <= p.start_seconds <= p.end_seconds < math.inf
        for distribution in (p.probabilities, p.raw_probabilities):
            if distribution is not None:
                assert all(0.0 <= share <= 1.0 + 1e-6 for share in distribution.values())
                assert abs(sum(distribution.values()) - 1.0) < 1e-5


def _heard(recognizer: StreamRecognizer, samples: NDArray[Any]) -> list[Prediction]:
    before = recognizer.stats
    try:
        return recognizer.process(samples)
    except SerError as error:
        check_message(error)
        assert recognizer.stats == before, "a refused block left a trace"
        return []


@functools.cache
def _model() -> OnnxClassifier:
    return OnnxClassifier.load(write_tiny_model(scratch("tiny.onnx")))


def seeds() -> list[bytes]:
    voice = speech_like(1.3)
    return [
        bytes((4, 0, 0, 200)) + (voice * 32767).astype("<i2").tobytes(),
        bytes((2, 0, 1, 99)) + voice[:12000].astype("<f4").tobytes(),
        bytes((4, 1, 1, 255)) + voice[:14000].astype("<f4").tobytes(),
        bytes((6, 0, 0, 255)) + (voice * 32767).astype("<i2").tobytes(),
        bytes((4, 0, 1, 255)) + np.repeat(STRANGE, 15).astype("<f4").tobytes(),
    ]
