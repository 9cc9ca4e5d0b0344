"""The law of the stream: any chunking == whole, reset == fresh, causal, nothing aliased."""

import numpy as np
import pytest

from helpers.signals import Cut, as_format, at_random, demo_voice, fixed, run
from ser_live import StreamRecognizer
from ser_live.engine.resample import Resampler
from ser_live.engine.smoothing import Smoother
from ser_live.engine.spectrum import PowerSpectrum
from ser_live.engine.speech_gate import SpeechGate
from ser_live.engine.window import FrameWindow, SampleHistory
from ser_live.model.card import GateSpec, SmoothingSpec, SpectrumSpec
from ser_live.model.classifier import OnnxClassifier
from ser_live.testing import speech_like

SPECS = (SpectrumSpec(), SpectrumSpec(fft_samples=2048, hop_samples=512))


CUTS = {
    "17": fixed(17),
    "hop-1": fixed(159),
    "hop": fixed(160),
    "hop+1": fixed(161),
    **{f"random {seed}": at_random(seed) for seed in range(4)},
}
cuts = pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())


@pytest.mark.parametrize(
    ("rate", "channels", "dtype"),
    [  # the hostile input tries any combination of them
        (8000, 2, "float32"),
        (16000, 1, "int16"),
        (22050, 2, "int16"),
        (44100, 1, "float64"),
        (48000, 2, "float64"),
    ],
)
def test_any_chunking_of_any_format_gives_the_same_predictions(
    model: OnnxClassifier, rate: int, channels: int, dtype: str
) -> None:
    samples = as_format(demo_voice(rate, 3.0), channels, dtype)
    recognizer = StreamRecognizer(model, sample_rate_hz=rate, channels=channels)
    whole = run(recognizer, iter([samples]))
    assert {p.state for p in whole} >= {"silence", "warming_up", "speech"}
    for cut in (at_random(1), at_random(2)):
        recognizer.reset()
        assert run(recognizer, cut(samples)) == whole


@pytest.mark.parametrize(("rate", "seconds"), [(16000, 0.5), (22050, 0.5)])
def test_one_sample_at_a_time_gives_the_same_predictions(
    model: OnnxClassifier, rate: int, seconds: float
) -> None:
    samples = demo_voice(rate, seconds, 0.3)
    whole = run(StreamRecognizer(model, sample_rate_hz=rate), iter([samples]))
    assert run(StreamRecognizer(model, sample_rate_hz=rate), fixed(1)(samples)) == whole
    assert any(p.state != "silence" for p in whole)


@pytest.mark.parametrize("vad", [True, False])
def test_any_chunking_over_pauses(model: OnnxClassifier, vad: bool) -> None:
    samples = demo_voice(16000, 13.0 if vad else 5.0)
    whole = run(StreamRecognizer(model, vad=vad), iter([samples]))
    for cut in (fixed(159), fixed(161), at_random(0), at_random(3)):
        assert run(StreamRecognizer(model, vad=vad), cut(samples)) == whole


def test_reset_equals_fresh(model: OnnxClassifier) -> None:
    recognizer = StreamRecognizer(model, sample_rate_hz=44100)
    recognizer.process(speech_like(1.3, 44100, seed=5))
    recognizer.reset()
    samples = demo_voice(44100, 4.0)
    fresh = StreamRecognizer(model, sample_rate_hz=44100)
    assert run(recognizer, iter([samples])) == run(fresh, iter([samples]))


@pytest.mark.parametrize("rate", [16000, 44100])
def test_later_samples_never_change_earlier_predictions(model: OnnxClassifier, rate: int) -> None:
    samples = demo_voice(rate, 6.0)
    long = StreamRecognizer(model, sample_rate_hz=rate).process(samples)
    for seconds in (1.7, 3.0, 4.9):
        part = samples[: round(seconds * rate)]
        short = StreamRecognizer(model, sample_rate_hz=rate).process(part)
        assert long[: len(short)] == short
        assert len(short) >= int(seconds / 0.25) - 1


def test_nothing_aliases_the_callers_block(model: OnnxClassifier) -> None:
    samples = demo_voice(16000, 4.0)
    whole = run(StreamRecognizer(model), iter([samples]))
    recognizer, predictions = StreamRecognizer(model), []
    block = np.empty(700, np.float32)
    for chunk in fixed(700)(samples):
        view = block[: len(chunk)]
        view[:] = chunk
        predictions += recognizer.process(view)
        block[:] = np.nan
    assert predictions + recognizer.flush() == whole


# One stage at a time.


@cuts
@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"fft {s.fft_samples}")
def test_spectrum(cut: Cut, spec: SpectrumSpec) -> None:
    samples = speech_like(1.5)
    stage = PowerSpectrum(spec)
    whole = stage.process(samples)
    assert len(whole) == spec.frames_in(len(samples))
    stage.reset()
    pieces = [stage.process(chunk.astype(np.float32)) for chunk in cut(samples)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("samples", [0, 1, 511, 512, 513, 671, 672])
def test_spectrum_lengths(samples: int) -> None:
    frames = PowerSpectrum(SpectrumSpec()).process(speech_like(1.0)[:samples])
    assert frames.shape == (SpectrumSpec().frames_in(samples), 257)


def test_spectrum_is_the_textbook_one() -> None:
    samples = speech_like(0.2).astype(np.float64)
    frames = PowerSpectrum(SpectrumSpec()).process(samples.astype(np.float32))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    for i, frame in enumerate(frames):
        expected = np.abs(np.fft.rfft(hann * samples[i * 160 : i * 160 + 512])) ** 2
        np.testing.assert_allclose(frame, expected, rtol=1e-4, atol=1e-5)  # float32 transform


@cuts
@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampler(cut: Cut, rate: int) -> None:
    samples = speech_like(1.0, rate)
    stage = Resampler(rate)
    whole = np.concatenate(
        (stage.process(samples), stage.process(np.empty(0, np.float32), last=True))
    )
    assert abs(len(whole) - 16000) <= 1
    stage.reset()
    pieces = [stage.process(chunk.astype(np.float32)) for chunk in cut(samples)]
    pieces.append(stage.process(np.empty(0, np.float32), last=True))
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@cuts
def test_gate(cut: Cut) -> None:
    samples = demo_voice(16000, 13.0)
    stage = SpeechGate(GateSpec())
    stage.process(samples)
    whole = stage.decide()
    assert {step.is_speech for step in whole} == {True, False}
    stage.reset()
    for chunk in cut(samples):
        stage.process(chunk.astype(np.float32))
    assert stage.decide() == whole


@cuts
def test_window(cut: Cut) -> None:
    spec = SpectrumSpec()
    frames = np.arange(2000, dtype=np.float32)[:, np.newaxis].repeat(spec.bins, axis=1)
    stage = FrameWindow(spec, 48000)
    assert stage.latest(0, 0).shape == (0, 257)
    count = 0
    for chunk in cut(frames):
        stage.process(chunk.astype(np.float32))
        count += len(chunk)
        end = (count - 1) * spec.hop_samples + spec.fft_samples if count else 0
        for start in (0, end - 48000, end - 20000, end - 300):
            window = stage.latest(start, end)
            first = -(-max(start, end - 48000, 0) // spec.hop_samples)
            np.testing.assert_array_equal(window, frames[first:count])
    stage.reset()
    assert len(stage.latest(0, 48000)) == 0


def test_window_gives_a_copy() -> None:
    stage = FrameWindow(SpectrumSpec(), 48000)
    stage.process(np.ones((10, 257), np.float32))
    window = stage.latest(0, 16000)
    stage.process(np.zeros((1200, 257), np.float32))
    assert window.min() == 1.0


def test_smoother_reset_equals_fresh() -> None:
    rng = np.random.default_rng(0)
    stage = Smoother(SmoothingSpec())
    rows = rng.dirichlet(np.ones(4), 20).astype(np.float32)
    for k, row in enumerate(rows):
        stage.process(row, 4000 * k)
    stage.reset()
    fresh = Smoother(SmoothingSpec())
    for k, row in enumerate(rows[::-1]):
        a, b = stage.process(row, 4000 * k), fresh.process(row, 4000 * k)
        np.testing.assert_array_equal(a.probabilities, b.probabilities)
        assert a.label_index == b.label_index


@pytest.mark.parametrize("size", [1, 7999, 8000, 8001, 50_000])
def test_sample_history(size: int) -> None:
    samples = np.random.default_rng(size).normal(size=90_000).astype(np.float32)
    stage, count = SampleHistory(size), 0
    for chunk in at_random(size)(samples):
        stage.process(chunk.astype(np.float32))
        count += len(chunk)
        latest = stage.latest()
        np.testing.assert_array_equal(latest, samples[max(0, count - size) : count])
        latest[:] = np.nan
    for sample in (30_000, 80_001, 90_000):
        stage.forget_before(sample)
        latest = stage.latest()
        assert min(size, 90_000 - sample) <= latest.size <= 90_000 - sample + 8000
        np.testing.assert_array_equal(latest, samples[90_000 - latest.size :])
    stage.reset()
    assert stage.latest().size == 0
