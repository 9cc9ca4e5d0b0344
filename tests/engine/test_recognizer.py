"""States, grid, flush, border checks and statistics of StreamRecognizer."""

import copy
import dataclasses
import json
import math
import pickle
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.signals import demo_voice
from helpers.streams import FailingModel
from ser_live import Prediction, SerError, StreamRecognizer
from ser_live.model.card import SAMPLE_RATE_HZ, SmoothingSpec, WindowSpec
from ser_live.model.classifier import OnnxClassifier
from ser_live.testing import tiny_card, write_tiny_model
from ser_live.testing.models import TINY_LABELS


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32)


def test_the_grid_is_one_prediction_per_hop_whatever_the_state(model: OnnxClassifier) -> None:
    predictions = StreamRecognizer(model, hop_seconds=0.1).process(demo_voice(16000, 6.04))
    assert [p.index for p in predictions] == list(range(60))
    assert [p.end_seconds for p in predictions] == [(k + 1) * 1600 / 16000 for k in range(60)]
    assert {p.state for p in predictions} == {"silence", "warming_up", "speech"}
    for p in predictions:
        assert 0.0 <= p.start_seconds < p.end_seconds <= p.start_seconds + 3.0


def test_fields_follow_the_state(model: OnnxClassifier) -> None:
    before = None
    for p in StreamRecognizer(model).process(demo_voice(16000, 15.0)):
        if p.state in ("silence", "warming_up"):
            assert (p.label, p.confidence, p.probabilities, p.raw_probabilities) == (
                None, 0.0, None, None,
            )  # fmt: skip
        else:
            assert p.probabilities is not None
            assert p.raw_probabilities is not None
            assert p.label in TINY_LABELS
            assert p.confidence == p.probabilities[p.label]
            assert math.isclose(sum(p.probabilities.values()), 1.0, rel_tol=1e-9)
            assert math.isclose(sum(p.raw_probabilities.values()), 1.0, rel_tol=1e-5)
        assert p.changed == (before is None or (before.state, before.label) != (p.state, p.label))
        assert json.loads(json.dumps(p.to_dict()))["state"] == p.state
        before = p


def test_warming_up_lasts_one_second_from_the_onset(model: OnnxClassifier) -> None:
    predictions = StreamRecognizer(model, hop_seconds=0.05).process(demo_voice(16000, 3.0))
    warming = [p for p in predictions if p.state == "warming_up"]
    onset_seconds = warming[0].start_seconds + model.card.window.pre_roll_seconds
    assert all(p.end_seconds - onset_seconds < 1.0 for p in warming)
    first = next(p for p in predictions if p.state == "speech")
    assert 1.0 <= first.end_seconds - onset_seconds < 1.05 + 1e-9


def test_low_confidence_is_uncertain_and_keeps_its_best_guess(tmp_path: Path) -> None:
    card = tiny_card(smoothing=SmoothingSpec(uncertain_below=1.0))
    unsure = write_tiny_model(tmp_path / "unsure.onnx", card)
    states = {p.state: p for p in StreamRecognizer(unsure).process(demo_voice(16000, 3.0))}
    assert "speech" not in states
    assert states["uncertain"].label in TINY_LABELS


def test_a_new_utterance_does_not_hear_the_one_before(model: OnnxClassifier) -> None:
    first, second = demo_voice(16000, 3.3), demo_voice(16000, 3.0, start=5.0)
    after = StreamRecognizer(model).process(np.concatenate((first, silence(2.0), second)))
    other = StreamRecognizer(model).process(np.concatenate((second, silence(2.3), second)))
    tail = [p for p in after if p.end_seconds >= 6.5]
    expected = [p for p in other if p.end_seconds >= 6.5]
    assert {p.state for p in tail} >= {"speech"}
    assert [(p.state, p.label, p.raw_probabilities) for p in tail] == [
        (p.state, p.label, p.raw_probabilities) for p in expected
    ]


def test_a_short_pause_does_not_end_the_utterance(model: OnnxClassifier) -> None:
    voice = demo_voice(16000, 2.8)
    gap = np.concatenate((voice, silence(0.3), demo_voice(16000, 2.0, start=0.4)))
    states = [p.state for p in StreamRecognizer(model).process(gap) if p.end_seconds > 1.5]
    assert set(states) == {"speech"}


def test_without_gate_everything_is_speech(model: OnnxClassifier) -> None:
    predictions = StreamRecognizer(model, vad=False).process(silence(5.0) + 1e-3)
    assert [p.state for p in predictions[:3]] == ["warming_up"] * 3
    assert all(p.state in ("speech", "uncertain") for p in predictions[3:])
    assert [p.start_seconds for p in predictions[-2:]] == [1.75, 2.0]


def test_smoothing_zero_is_the_raw_argmax(model: OnnxClassifier) -> None:
    voice = demo_voice(16000, 15.0)
    for p in StreamRecognizer(model, smoothing_seconds=0).process(voice):
        if p.raw_probabilities is not None:
            best = max(p.raw_probabilities.items(), key=lambda item: item[1])
            assert p.label == best[0]


@pytest.mark.parametrize(("seconds", "expected"), [(0.2, 0), (0.5, 1), (0.74, 1), (0.75, 1)])
def test_a_stream_that_ends_early_gives_one_prediction_at_flush(
    model: OnnxClassifier, seconds: float, expected: int
) -> None:
    recognizer = StreamRecognizer(model)
    due = recognizer.process(demo_voice(16000, 0.3 + seconds))
    assert all(p.label is None for p in due)
    closing = recognizer.flush()
    assert len(closing) == expected
    assert all(p.state in ("speech", "uncertain") for p in closing)
    assert [p.index for p in closing] == [len(due)] * expected


@pytest.mark.parametrize("rate", [16000, 44100])
def test_flush_drains_once(model: OnnxClassifier, rate: int) -> None:
    recognizer = StreamRecognizer(model, sample_rate_hz=rate)
    samples = demo_voice(rate, 2.6)
    predictions = recognizer.process(samples) + recognizer.flush()
    assert predictions[-1].end_seconds == pytest.approx(2.6, abs=1e-4)
    assert len(predictions) == 11
    assert recognizer.flush() == []
    calls: list[Callable[[], object]] = [
        lambda: recognizer.process(samples),
        lambda: recognizer.skip(10),
    ]
    for call in calls:
        with pytest.raises(SerError, match=r"after flush.* call reset\(\) first"):
            call()
    recognizer.reset()
    assert len(recognizer.process(samples)) == 10


def test_an_empty_stream_gives_nothing(model: OnnxClassifier) -> None:
    recognizer = StreamRecognizer(model)
    assert recognizer.process(np.empty(0, np.float32)) == []
    assert recognizer.flush() == []


@pytest.mark.parametrize("shape", [(4, 2), (4, 1, 1), ()])
def test_mono_is_a_row_or_a_column(model: OnnxClassifier, shape: tuple[int, ...]) -> None:
    with pytest.raises(SerError, match=re.escape(f"{shape}, wanted (n, 1) or (n,)")):
        StreamRecognizer(model).process(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "options",
    [
        {"hop_seconds": 0.0}, {"hop_seconds": -0.25},
        {"hop_seconds": 0.255}, {"hop_seconds": math.nan}, {"hop_seconds": 1e9},
        {"window_seconds": 0.5}, {"window_seconds": math.inf}, {"window_seconds": 1000},
        {"smoothing_seconds": -1}, {"smoothing_seconds": math.nan}, {"model": "no-such-model"},
        {"model": "no/such.onnx"},
    ],
    ids=str,
)  # fmt: skip
def test_bad_options_say_what_is_wanted(model: OnnxClassifier, options: dict[str, object]) -> None:
    with pytest.raises(SerError, match="wanted"):
        StreamRecognizer(**{"model": model, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_samples_at_full_scale_are_clipped_on_any_channel(
    model: OnnxClassifier, dtype: type[np.generic]
) -> None:
    """Three frames in twenty at full scale, on either channel or both, by both extremes."""
    recognizer = StreamRecognizer(model, channels=2)
    samples = np.full((20, 2), 32766)
    samples[0, 0], samples[1, 1], samples[2] = 32767, -32768, 32767
    block = samples.astype(np.int16) if dtype is np.int16 else (samples / 32768).astype(dtype)
    for _ in range(800):
        recognizer.process(block)
    assert recognizer.stats.clipped_samples == 2400


def test_stats(model: OnnxClassifier) -> None:
    recognizer = StreamRecognizer(model, sample_rate_hz=48000, window_seconds=2.0)
    predictions = recognizer.process(demo_voice(48000, 5.0))
    stats = recognizer.stats
    assert stats.predictions == len(predictions)
    assert (stats.samples_in, stats.seconds) == (240000, 5.0)
    counts = {stage.name: stage.count for stage in stats.stages}
    emotional = sum(p.label is not None for p in predictions)
    assert counts["gate"] == counts["spectrum"] == counts["total"] == len(predictions)
    assert counts["inference"] == counts["smoothing"] == emotional
    assert 0.0 < stats.delay.resampler_seconds < 0.05
    assert stats.delay.window_seconds == 1.0
    for stage in stats.stages:
        assert 0.0 < stage.p50_seconds <= stage.p95_seconds <= stage.max_seconds
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.predictions = 0  # type: ignore[misc]
    recognizer.reset()
    assert recognizer.stats.predictions == 0


def test_timing_is_no_part_of_equality(model: OnnxClassifier) -> None:
    p: Prediction = StreamRecognizer(model).process(demo_voice(16000, 2.0))[-1]
    assert p == dataclasses.replace(p, timing=None, lag_seconds=3.0)
    assert p.timing is not None
    assert p.timing.total_seconds > 0.0


def test_a_longer_warm_up_of_the_card_is_kept(tmp_path: Path) -> None:
    card = tiny_card(window=WindowSpec(warm_up_seconds=2.0))
    recognizer = StreamRecognizer(write_tiny_model(tmp_path / "slow.onnx", card))
    states = [p.state for p in recognizer.process(demo_voice(16000, 3.0))]
    assert states.count("warming_up") == 8
    with pytest.raises(SerError, match="wanted 2 to 30"):
        StreamRecognizer(tmp_path / "slow.onnx", window_seconds=1.0)


BROKEN = SerError("the weights are damaged")


@pytest.mark.parametrize(
    ("at", "size"), [(1, 64_000), (1, 77), (4, 21_003), (4, 4000), (9, 64_000), (9, 77)]
)
def test_what_was_finished_before_a_failure_is_handed_out(
    model: OnnxClassifier, at: int, size: int
) -> None:
    voice = demo_voice(16000, 4.0)
    whole = StreamRecognizer(model).process(voice)
    finished = [p.raw_probabilities is not None for p in whole]
    wanted = whole[: [k for k, is_inferred in enumerate(finished) if is_inferred][at - 1]]
    recognizer = StreamRecognizer(FailingModel(model, at, BROKEN))
    got: list[Prediction] = []

    def play() -> None:
        for chunk in [*np.split(voice, range(size, len(voice), size)), voice]:
            got.extend(recognizer.process(chunk))

    with pytest.raises(SerError, match="the weights are damaged"):
        play()
    assert got == wanted
    calls: list[Callable[[], object]] = [
        lambda: recognizer.process(voice), recognizer.flush, lambda: recognizer.skip(10),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(SerError, match=r"the weights are damaged; .* only after reset\(\)"):
            call()
    recognizer.reset()
    assert recognizer.process(voice) == whole


@pytest.mark.parametrize("method", ["flush", "skip"])
def test_a_failure_at_the_end_is_not_hidden(model: OnnxClassifier, method: str) -> None:
    recognizer = StreamRecognizer(FailingModel(model, 1, BROKEN))
    recognizer.process(demo_voice(16000, 1.2))
    arguments = () if method == "flush" else (16000,)
    for _ in range(2):
        with pytest.raises(SerError, match="the weights are damaged"):
            getattr(recognizer, method)(*arguments)


def test_an_interrupted_call_is_not_gone_on_from(model: OnnxClassifier) -> None:
    recognizer = StreamRecognizer(FailingModel(model, 3, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        recognizer.process(demo_voice(16000, 4.0))
    with pytest.raises(SerError, match=r"stopped by KeyboardInterrupt; .* only after reset\(\)"):
        recognizer.process(demo_voice(16000, 4.0))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_stream_has_no_copy(model: OnnxClassifier, copied: Callable[[object], object]) -> None:
    with pytest.raises(SerError, match=r"cannot be copied or pickled; make another one"):
        copied(StreamRecognizer(model))


def test_one_more_stream_needs_under_a_mebibyte(model: OnnxClassifier) -> None:
    voice = demo_voice(16000, 19.0)
    tracemalloc.start()
    try:
        recognizer = StreamRecognizer(model)
        for block in np.array_split(voice, 100):
            recognizer.process(block)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 2**20
