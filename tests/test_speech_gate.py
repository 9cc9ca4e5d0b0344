"""What is no speech never becomes an emotion, at any level; what is speech does."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import ser_live
from ser_live import Prediction, StreamRecognizer
from ser_live.engine.speech_gate import STEP_SAMPLES, GateStep, SpeechGate
from ser_live.model.card import GateSpec
from ser_live.model.classifier import OnnxClassifier
from tiny_models import write_model

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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OnnxClassifier:
    return OnnxClassifier.load(write_model(tmp_path_factory.mktemp("model") / "tiny.onnx"))


def recognize(model: OnnxClassifier, samples: NDArray[np.floating]) -> list[Prediction]:
    recognizer = StreamRecognizer(model)
    return recognizer.process(samples.astype(np.float32)) + recognizer.flush()


def decided(samples: NDArray[np.floating]) -> list[GateStep]:
    gate = SpeechGate(GateSpec())
    gate.process(samples.astype(np.float32))
    return gate.decide()


@pytest.mark.parametrize("level_db", [0, -20, -40, -60, -80])
@pytest.mark.parametrize("name", SOUNDS)
def test_what_is_no_speech_is_no_emotion(model: OnnxClassifier, name: str, level_db: int) -> None:
    predictions = recognize(model, SOUNDS[name] * 10 ** (level_db / 20))
    assert len(predictions) == SECONDS * 4
    assert all(p.label is None and p.probabilities is None for p in predictions)


@pytest.mark.parametrize("level_db", [0, -40])
@pytest.mark.parametrize("name", ["white noise 0", "pink noise 1", "hum 50 Hz", "tone 440 Hz"])
def test_noise_after_silence_and_switched_on_and_off(
    model: OnnxClassifier, name: str, level_db: int
) -> None:
    sound = SOUNDS[name] * 10 ** (level_db / 20)
    sound[:RATE] = 0.0
    sound[3 * RATE : 5 * RATE] = 0.0
    assert all(p.label is None for p in recognize(model, sound))


@pytest.mark.parametrize("spec", [GateSpec(), GateSpec(onset_steps=1, onset_of_steps=32)])
def test_no_utterance_begins_before_the_earliest_onset(spec: GateSpec) -> None:
    samples, rate = demo_voice()
    voice = np.interp(np.arange(0, len(samples), rate / RATE), np.arange(len(samples)), samples)
    voice += SOUNDS["pink noise 0"].repeat(3)[: voice.size] * 0.02
    gate, earliest = SpeechGate(spec), 0
    for block in np.array_split(voice.astype(np.float32), 100):
        gate.process(block)
        for step in gate.decide():
            assert not step.is_speech or step.onset_sample >= earliest
        assert gate.earliest_onset_sample <= step.end_sample
        earliest = max(earliest, gate.earliest_onset_sample)
    assert earliest > 10 * RATE


def test_digital_silence_asks_no_network() -> None:
    steps = decided(np.zeros(RATE * 2))
    assert len(steps) == RATE * 2 // STEP_SAMPLES
    assert {(step.probability, step.is_speech) for step in steps} == {(0.0, False)}


def test_steady_noise_costs_nothing_after_the_floor_is_known() -> None:
    steps = decided(SOUNDS["white noise 0"])
    assert all(step.probability == 0.0 for step in steps[-100:])


def demo_voice() -> tuple[NDArray[np.float32], int]:
    path = Path(ser_live.__file__).parent / "data" / "demo.ogg"
    samples, rate = soundfile.read(path, dtype="float32")
    return samples, rate


@pytest.mark.parametrize("gain_db", [-60, -40, -20, 20])
def test_gain_does_not_change_what_is_recognized(model: OnnxClassifier, gain_db: int) -> None:
    samples, rate = demo_voice()
    plain, changed = (
        StreamRecognizer(model, sample_rate_hz=rate).process(samples * np.float32(gain))
        for gain in (1.0, 10 ** (gain_db / 20))
    )
    assert [(p.state, p.label) for p in plain] == [(p.state, p.label) for p in changed]


def test_an_onset_and_a_release_take_their_time() -> None:
    samples, rate = demo_voice()
    spec = GateSpec()
    voice = np.interp(np.arange(0, len(samples), rate / RATE), np.arange(len(samples)), samples)
    steps = decided(voice)
    onsets = [b for a, b in itertools.pairwise(steps) if b.is_speech and not a.is_speech]
    ends = [b for a, b in itertools.pairwise(steps) if a.is_speech and not b.is_speech]
    assert len(onsets) == len(ends) == 4
    assert [step.utterance for step in onsets] == [1, 2, 3, 4]
    for step in onsets:
        first = step.onset_sample // STEP_SAMPLES
        counted = [s.probability >= spec.onset_probability for s in steps[first : first + 4]]
        assert sum(counted) >= spec.onset_steps
        assert counted[0]
    for step in ends:
        last = step.end_sample // STEP_SAMPLES
        quiet = [s.probability < spec.release_probability for s in steps[last - 13 : last]]
        assert all(quiet)
