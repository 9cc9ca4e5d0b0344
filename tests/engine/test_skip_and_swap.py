"""Gaps, other formats, other hops and other models in the middle of a stream."""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers.signals import Cut, at_random, fixed
from ser_live import Prediction, SerError, StreamRecognizer
from ser_live.engine.resample import FULL_SCALE
from ser_live.model.card import SpectrumSpec, WindowSpec
from ser_live.model.classifier import OnnxClassifier
from ser_live.testing import demo_voice, tiny_card, write_tiny_model

HOP_SECONDS = 0.25
RATES = (8000, 16000, 22050, 44100, 48000)
VOICES = {rate: demo_voice(rate) for rate in RATES}
calm = settings(max_examples=8)


@pytest.fixture(scope="module")
def other_spectrum(tmp_path_factory: pytest.TempPathFactory) -> OnnxClassifier:
    card = tiny_card(name="other", spectrum=SpectrumSpec(fft_samples=1024, hop_samples=333))
    path = tmp_path_factory.mktemp("model") / "other.onnx"
    return OnnxClassifier.load(write_tiny_model(path, card, seed=1))


whole = fixed(10**9)


@functools.cache
def alone(model: OnnxClassifier, vad: bool = True) -> dict[int, Prediction]:
    """Return by number what a model makes of the whole voice."""
    recognizer = StreamRecognizer(model, vad=vad)
    return {p.index: p for p in recognizer.process(VOICES[16000])}


Stretch = tuple[int, NDArray[np.float32]]
"""Samples of a gap, and the stretch of the voice after it."""


@st.composite
def streams(draw: st.DrawFn) -> tuple[int, list[Stretch]]:
    """A rate, and stretches that are worth hearing at it."""
    rate = draw(st.sampled_from(RATES))
    voice, script = VOICES[rate], []
    for _ in range(draw(st.integers(2, 4))):
        gap_seconds = draw(st.sampled_from((0.0, 0.01, 0.3, 2.0)))
        seconds = draw(st.sampled_from((0.0, 0.4, 2.5, 4.5)))
        odd = [draw(st.integers(1, 300)) for _ in range(2)]
        part, voice = np.split(voice, [round(seconds * rate) + odd[1]])
        script.append((round(gap_seconds * rate) + odd[0], part))
    return rate, script


def run(
    recognizer: StreamRecognizer, script: list[Stretch], cut: Cut
) -> tuple[list[list[Prediction]], list[int]]:
    """Return the predictions of each stretch (the last ones with its end), and where it begins."""
    at = 0
    got: list[list[Prediction]] = []
    starts = []
    for gap_samples, voice in script:
        ends = recognizer.skip(gap_samples)
        if got:
            got[-1] += ends
        else:
            assert ends == []
        starts.append(at + gap_samples)
        got.append([p for block in cut(voice) for p in recognizer.process(block)])
        at = starts[-1] + len(voice)
    got[-1] += recognizer.flush()
    return got, starts


def check_grid(predictions: list[Prediction], hop_seconds: float = HOP_SECONDS) -> None:
    """Index and end are in step, also where a gap or the end cut the hop short."""
    hops = [math.ceil(round(p.end_seconds / hop_seconds, 9)) for p in predictions]
    assert [p.index + 1 for p in predictions] == hops == sorted(set(hops))


def same(one: list[Prediction], other: list[Prediction]) -> bool:
    """Equal, except that `changed` looks back over the gap."""
    return [dataclasses.replace(p, changed=False) for p in one] == [
        dataclasses.replace(p, changed=False) for p in other
    ]


@calm
@given(stream=streams(), seed=st.integers(0, 999), vad=st.booleans())
def test_gaps(
    model: OnnxClassifier, stream: tuple[int, list[Stretch]], seed: int, vad: bool
) -> None:
    rate, script = stream
    recognizer = StreamRecognizer(model, sample_rate_hz=rate, vad=vad)
    got, starts = run(recognizer, script, whole)
    recognizer.reset()
    assert run(recognizer, script, at_random(seed)) == (got, starts)

    everything = [p for part in got for p in part]
    check_grid(everything)
    event(f"{sum(p.raw_probabilities is not None for p in everything) // 20 * 20} answers or more")
    for index, ((_, voice), start) in enumerate(zip(script, starts, strict=True)):
        assert all(p.start_seconds >= start / rate - 1 / 16000 for p in got[index])
        alone = StreamRecognizer(model, sample_rate_hz=rate, vad=vad)
        alone.skip(start)
        wanted = alone.process(voice)
        following = script[index + 1 :]
        wanted += alone.skip(following[0][0]) if following else alone.flush()
        assert same(got[index], wanted)


@pytest.mark.parametrize(("rate", "gap_samples"), [(8000, 1), (22050, 3), (44100, 1)])
def test_the_clock_keeps_time_over_a_thousand_gaps(
    model: OnnxClassifier, rate: int, gap_samples: int
) -> None:
    recognizer = StreamRecognizer(model, sample_rate_hz=rate, hop_seconds=0.01)
    voice, predictions = VOICES[rate], []
    for start in range(0, 61 * 1000, 61):
        predictions += recognizer.process(voice[start : start + 61])
        predictions += recognizer.skip(gap_samples)
    check_grid(predictions, 0.01)
    seconds = 1000 * (61 + gap_samples) / rate
    assert recognizer.next_due_seconds == pytest.approx(seconds, abs=0.0101)


def test_a_resampler_that_rounds_up_does_not_set_the_clock_back(model: OnnxClassifier) -> None:
    recognizer = StreamRecognizer(model, sample_rate_hz=96000, hop_seconds=0.01)
    recognizer.skip(9)  # one and a half samples at 16 kHz; 945 are 157 and a half
    got = recognizer.process(np.zeros(945, np.float32)) + recognizer.skip(1)
    got += recognizer.process(np.zeros(96000, np.float32))
    assert [p.index for p in got] == list(range(len(got)))
    assert len(got) > 90


def test_a_gap_inside_a_hop_leaves_the_hop_to_what_comes_after(model: OnnxClassifier) -> None:
    recognizer = StreamRecognizer(model)
    recognizer.process(VOICES[16000][: 2 * 16000 + 1000])
    assert recognizer.skip(1000) == []
    (prediction,) = recognizer.process(VOICES[16000][:2000])
    assert (prediction.index, prediction.end_seconds) == (8, 2.25)
    assert prediction.start_seconds >= 2.0


@pytest.mark.parametrize(("gap_samples", "next_index"), [(0, 9), (1000, 9), (16000, 12)])
def test_a_stretch_ends_before_its_gap_is_known(
    model: OnnxClassifier, gap_samples: int, next_index: int
) -> None:
    recognizer, voice = StreamRecognizer(model), VOICES[16000]
    before = recognizer.process(voice[:33000])
    before += recognizer.end_stretch()
    assert (before[-1].index, before[-1].end_seconds) == (8, 2.0625)
    assert before[-1].raw_probabilities is not None
    assert recognizer.end_stretch() + recognizer.skip(gap_samples) == []
    after = [p for block in np.array_split(voice, 100) for p in recognizer.process(block)]
    check_grid(before + after)
    assert after[0].index == next_index
    assert after[0].start_seconds >= 2.0625 + gap_samples / 16000
    recognizer.reset()
    assert recognizer.process(voice[:33000]) == before[:-1]
    if gap_samples > 3000:  # of more than the rest of the hop
        assert [before[-1], *after] == recognizer.skip(gap_samples) + recognizer.process(voice)


@pytest.mark.parametrize(
    "gap", [(-1,), (0.5,), ("many",), (None,), (10, 100, 1), (10, 16000, 1000)], ids=str
)
def test_a_gap_that_cannot_be_changes_nothing(model: OnnxClassifier, gap: tuple[Any, ...]) -> None:
    recognizer, voice = StreamRecognizer(model), VOICES[16000][:64000]
    got = recognizer.process(voice[:30000])
    with pytest.raises(SerError, match="wanted"):
        recognizer.skip(*gap)
    assert got + recognizer.process(voice[30000:]) == StreamRecognizer(model).process(voice)


def test_no_gap_is_no_gap(model: OnnxClassifier) -> None:
    recognizer, voice = StreamRecognizer(model), VOICES[16000][:64000]
    got = recognizer.process(voice[:30000]) + recognizer.skip(0) + recognizer.process(voice[30000:])
    assert got == StreamRecognizer(model).process(voice)


class TestFormats:
    @pytest.mark.parametrize(
        ("before", "after", "gap_seconds"),
        [(16000, 48000, 0.0), (48000, 16000, 2.2), (44100, 8000, 0.013), (8000, 44100, 0.0)],
    )
    def test_the_clock_goes_on_at_another_rate(
        self, model: OnnxClassifier, before: int, after: int, gap_seconds: float
    ) -> None:
        recognizer = StreamRecognizer(model, sample_rate_hz=before)
        first = recognizer.process(VOICES[before][: 3 * before + 777])
        seconds = 3 + 777 / before + round(gap_seconds * before) / before
        first += recognizer.skip(round(gap_seconds * before), after, 2)
        assert (recognizer.sample_rate_hz, recognizer.channels) == (after, 2)
        voice = np.stack([VOICES[after][: 4 * after]] * 2, axis=1)
        second = recognizer.process(voice) + recognizer.flush()

        alone = StreamRecognizer(model, sample_rate_hz=after, channels=2)
        alone.skip(round(seconds * after))
        assert same(second, alone.process(voice) + alone.flush())
        check_grid(first + second)
        assert seconds + 4 - HOP_SECONDS < second[-1].end_seconds < seconds + 4.001

    def test_the_counters_go_on(self, model: OnnxClassifier) -> None:
        recognizer = StreamRecognizer(model, sample_rate_hz=48000)
        before = recognizer.process(VOICES[48000][:96000])
        before += recognizer.skip(48000, 16000)
        after = recognizer.process(16.0 * VOICES[16000][:48000])
        stats = recognizer.stats
        assert stats.predictions == len(before) + len(after)
        assert stats.samples_in == 96000 + 48000
        assert stats.seconds == pytest.approx(2.0 + 3.0)
        assert next(s for s in stats.stages if s.name == "total").count == stats.predictions
        loud = np.abs(16 * VOICES[16000][:48000]) >= FULL_SCALE
        assert stats.clipped_samples == np.count_nonzero(loud) > 0
        assert [p.changed for p in (before + after)[1:]] == [
            (a.state, a.label) != (b.state, b.label)
            for a, b in zip(before + after, (before + after)[1:], strict=False)
        ]


class TestHops:
    @calm
    @given(
        changes=st.lists(st.tuples(st.integers(1, 30_000), st.integers(1, 9)), max_size=12),
        seed=st.integers(0, 999),
    )
    def test_hops_may_change_at_any_time_and_the_grid_stays(
        self, model: OnnxClassifier, changes: list[tuple[int, int]], seed: int
    ) -> None:
        def run(cut: Cut) -> list[Prediction]:
            recognizer, got = StreamRecognizer(model), list[Prediction]()
            ends = np.cumsum([samples for samples, _ in changes], dtype=int)
            *parts, rest = np.split(VOICES[16000], ends)
            for part, (_, hops) in zip(parts, changes, strict=True):
                got += [p for block in cut(part) for p in recognizer.process(block)]
                recognizer.hops_per_prediction = hops
            return got + recognizer.process(rest[:40_000])

        narrow = alone(model)
        got = run(whole)
        assert got == run(at_random(seed))
        check_grid(got)
        for prediction in got:
            assert prediction.end_seconds % HOP_SECONDS == 0.0
            assert prediction.raw_probabilities == narrow[prediction.index].raw_probabilities
            assert prediction.state in (narrow[prediction.index].state, "speech", "uncertain")

    def test_with_n_hops_every_nth_prediction_is_given(self, model: OnnxClassifier) -> None:
        recognizer = StreamRecognizer(model)
        recognizer.hops_per_prediction = 4
        got = recognizer.process(VOICES[16000])
        assert [p.index for p in got] == [4 * k + 3 for k in range(len(got))]
        assert len(got) == VOICES[16000].size // 16000

    @pytest.mark.parametrize("hops", [0, -1, 65, 1.5, None])
    def test_impossible_hops_are_refused(self, model: OnnxClassifier, hops: object) -> None:
        with pytest.raises(SerError, match="wanted 1 to 64"):
            StreamRecognizer(model).hops_per_prediction = hops  # type: ignore[assignment]


class TestSwap:
    @pytest.mark.parametrize(
        ("at_seconds", "vad"),
        [(0.5, True), (4.0, True), (9.25, False), (17.0, True)],
    )
    def test_the_new_model_hears_the_window_as_if_it_had_always_been_there(
        self, model: OnnxClassifier, other_spectrum: OnnxClassifier, at_seconds: float, vad: bool
    ) -> None:
        voice, at = VOICES[16000], round(at_seconds * 16000)
        always = alone(other_spectrum, vad)
        recognizer = StreamRecognizer(model, vad=vad)
        before = recognizer.process(voice[:at])
        recognizer.swap(other_spectrum)
        after = recognizer.process(voice[at:])
        assert before == StreamRecognizer(model, vad=vad).process(voice[:at])
        assert [p.index for p in before + after] == list(range(len(always)))
        for prediction in after:
            assert prediction.raw_probabilities == always[prediction.index].raw_probabilities
            assert prediction.start_seconds == always[prediction.index].start_seconds
        if at_seconds < 17:
            assert any(p.raw_probabilities for p in after)

    @calm
    @given(
        at=st.lists(st.integers(1, 60_000), min_size=1, max_size=5),
        gap=st.integers(0, 40_000),
        seed=st.integers(0, 999),
    )
    def test_swapping_back_and_forth_at_any_sample(
        self,
        model: OnnxClassifier,
        other_spectrum: OnnxClassifier,
        at: list[int],
        gap: int,
        seed: int,
    ) -> None:
        def run(used: list[OnnxClassifier], cut: Cut) -> list[Prediction]:
            recognizer = StreamRecognizer(used[0])
            start, *parts, rest = np.split(VOICES[16000], np.cumsum([9000, *at]))
            got = recognizer.process(start) + recognizer.skip(gap)
            for part, classifier in zip(parts, used[1:], strict=True):
                got += [p for block in cut(part) for p in recognizer.process(block)]
                recognizer.swap(classifier)
            return got + recognizer.process(rest[:60_000])

        models = [model, other_spectrum]
        used = [models[k % 2] for k in range(len(at) + 1)]
        mixed = run(used, whole)
        assert mixed == run(used, at_random(seed))
        one, other = (run([m] * len(used), whole) for m in models)
        for k, prediction in enumerate(mixed):
            raw = prediction.raw_probabilities
            assert raw in (one[k].raw_probabilities, other[k].raw_probabilities)

    def test_the_longest_window_is_there_at_once(
        self, model: OnnxClassifier, tmp_path: Path
    ) -> None:
        card = tiny_card(name="long", window=WindowSpec(seconds=30.0))
        long = OnnxClassifier.load(write_tiny_model(tmp_path / "long.onnx", card))
        voice = np.concatenate([VOICES[16000]] * 3)[: 42 * 16000]
        at = 40 * 16000 + 123
        always = StreamRecognizer(long, vad=False, hop_seconds=2.0).process(voice)
        recognizer = StreamRecognizer(model, vad=False, hop_seconds=2.0)
        recognizer.process(voice[:at])
        recognizer.swap(long)
        (first, *_) = recognizer.process(voice[at:])
        assert first.end_seconds - first.start_seconds == 30.0
        assert first.raw_probabilities == always[first.index].raw_probabilities

    def test_a_model_that_does_not_load_leaves_the_old_one(
        self, model: OnnxClassifier, tmp_path: Path
    ) -> None:
        recognizer, voice = StreamRecognizer(model), VOICES[16000][:64000]
        got = recognizer.process(voice[:40000])
        with pytest.raises(SerError, match=r"nothing\.onnx"):
            recognizer.swap(tmp_path / "nothing.onnx")
        slow_to_warm = tiny_card(window=WindowSpec(seconds=5.0, warm_up_seconds=4.0))
        path = write_tiny_model(tmp_path / "slow.onnx", slow_to_warm)
        fixed = StreamRecognizer(model, window_seconds=2.0)
        with pytest.raises(SerError, match=r"window_seconds is 2\.0, wanted 4 to 30"):
            fixed.swap(path)
        assert fixed.process(voice) == StreamRecognizer(model, window_seconds=2.0).process(voice)
        assert got + recognizer.process(voice[40000:]) == StreamRecognizer(model).process(voice)

    def test_smoothing_goes_on_where_the_labels_are_the_same(
        self, model: OnnxClassifier, tmp_path: Path
    ) -> None:
        voice, at = VOICES[16000], 2 * 16000
        twin = OnnxClassifier.load(write_tiny_model(tmp_path / "twin.onnx"))
        recognizer = StreamRecognizer(model)
        got = recognizer.process(voice[:at])
        recognizer.swap(twin)
        got += recognizer.process(voice[at:])
        assert got == StreamRecognizer(model).process(voice)
        card = tiny_card(labels=("calm", "cross"))
        stranger = OnnxClassifier.load(write_tiny_model(tmp_path / "stranger.onnx", card))
        recognizer.reset()
        recognizer.process(voice[:at])
        recognizer.swap(stranger)
        (first, *_) = recognizer.process(voice[at:])
        assert recognizer.labels == ("calm", "cross")
        assert set(first.probabilities or ()) == {"calm", "cross"}
        assert first.probabilities == pytest.approx(first.raw_probabilities)
