"""One model, many streams: they never hear of each other."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ser_live import Prediction, StreamRecognizer
from ser_live.live.listener import Listener
from ser_live.model.catalog import find_model
from ser_live.model.classifier import OnnxClassifier
from ser_live.testing import Crash, FakeMicrophone, Overrun, demo_voice

VOICE = demo_voice()
RATES = (8000, 16000, 44100)
VOICES = {rate: demo_voice(rate) for rate in RATES}


def voice_of(stream: int) -> tuple[int, NDArray[np.float32]]:
    """A rate and four seconds of the voice, another stretch for each stream."""
    rate = RATES[stream % len(RATES)]
    start = round(1.3 * stream * rate) % (15 * rate)
    return rate, VOICES[rate][start : start + 4 * rate]


def alone(model: OnnxClassifier, stream: int) -> list[Prediction]:
    rate, voice = voice_of(stream)
    recognizer = StreamRecognizer(model, sample_rate_hz=rate)
    return recognizer.process(voice) + recognizer.flush()


def in_blocks(model: OnnxClassifier, stream: int, barrier: threading.Barrier) -> list[Prediction]:
    rate, voice = voice_of(stream)
    recognizer = StreamRecognizer(model, sample_rate_hz=rate)
    barrier.wait(30.0)
    got = [p for block in np.array_split(voice, 40) for p in recognizer.process(block)]
    return got + recognizer.flush()


@pytest.mark.parametrize("name", ["tiny", "emotion"])
def test_eight_threads_share_a_model(model: OnnxClassifier, name: str) -> None:
    shared = model if name == "tiny" else OnnxClassifier.load(find_model(name))
    wanted = [alone(shared, stream) for stream in range(8)]
    barrier = threading.Barrier(8)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(in_blocks, [shared] * 8, range(8), [barrier] * 8)) == wanted


@settings(max_examples=4)
@given(seed=st.integers(0, 9999), streams=st.integers(2, 6))
def test_any_interleaving_equals_isolated_runs(
    model: OnnxClassifier, seed: int, streams: int
) -> None:
    rng = np.random.default_rng(seed)
    recognizers = []
    left: list[list[NDArray[np.float32]]] = []
    for stream in range(streams):
        rate, voice = voice_of(stream)
        recognizers.append(StreamRecognizer(model, sample_rate_hz=rate))
        left.append(np.split(voice, np.sort(rng.integers(0, len(voice), 10))))
    got: list[list[Prediction]] = [[] for _ in range(streams)]
    while waiting := [stream for stream in range(streams) if left[stream]]:
        stream = int(rng.choice(waiting))
        got[stream] += recognizers[stream].process(left[stream].pop(0))
    for stream in range(streams):
        assert got[stream] + recognizers[stream].flush() == alone(model, stream)


def test_microphones_in_threads_share_a_model(model: OnnxClassifier) -> None:
    """Each in its own virtual time, with its own faults."""

    def hear(stream: int) -> list[Prediction]:
        faults = [Overrun(1.0 + 0.1 * stream, 0.3), Crash(3.0)]
        microphone = FakeMicrophone(VOICE, faults, seconds=5.0, seed=stream)
        clock = microphone.clock.monotonic
        with Listener[Prediction](microphone, model=model, clock=clock) as predictions:
            return list(predictions)

    wanted = [hear(stream) for stream in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(hear, range(4))) == wanted
    assert threading.active_count() == 1
