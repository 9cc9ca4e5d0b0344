"""Readers, models and machines that are too slow, and inputs that are wrong."""

import itertools
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.streams import FailingModel, GivenSource, is_accounted, listening, offline
from ser_live import Event, Prediction, SerError, StreamRecognizer, listen
from ser_live.live.input_faults import InputMonitor
from ser_live.live.listener import Listener
from ser_live.model.classifier import OnnxClassifier
from ser_live.sources import Block, Notice
from ser_live.testing import (
    Clipping,
    Crash,
    FakeMicrophone,
    Fault,
    Offset,
    SlowModel,
    Unplug,
    VirtualClock,
    Zeros,
    demo_voice,
    tiny_card,
    write_tiny_model,
)

VOICE = demo_voice()
HOP_SECONDS = 0.25
BROKEN = SerError("the weights are damaged")


def sleep_on(microphone: FakeMicrophone, seconds: float) -> None:
    assert isinstance(microphone.clock, VirtualClock)
    microphone.clock.advance(seconds)


def parted(items: list[Prediction | Event]) -> tuple[list[Prediction], list[Event]]:
    predictions = [item for item in items if isinstance(item, Prediction)]
    return predictions, [item for item in items if isinstance(item, Event)]


def taken(
    microphone: FakeMicrophone,
    listener: Listener[Prediction | Event],
    sleeps: dict[int, float],
    every: float = 0.0,
) -> tuple[list[Prediction], list[Event]]:
    """Take all items, with a sleep after some predictions (by index) or after each."""
    items: list[Prediction | Event] = []
    for item in listener:
        items.append(item)
        assert is_accounted(microphone.counters)
        if isinstance(item, Prediction):
            sleep_on(microphone, sleeps.get(item.index, every))
    assert microphone.counters.captured == microphone.hardware.captured_frames
    return parted(items)


class TestLatest:
    def test_what_is_too_old_is_left_out_and_counted(self, model: OnnxClassifier) -> None:
        microphone = FakeMicrophone(VOICE, seconds=18.0, block_seconds=0.1)
        listener = listening(microphone, model)
        predictions, events = taken(microphone, listener, {7: 5.0})
        everything = StreamRecognizer(model).process(VOICE[: 18 * 16000])
        given = {p.index for p in predictions}
        left_out = [p.index for p in everything if p.index not in given]
        assert len(left_out) == listener.stats.skipped_predictions
        assert left_out == list(range(left_out[0], left_out[-1] + 1))
        assert 14 <= len(left_out) <= 17
        assert [e.kind for e in events] == ["overload", "overload"]
        assert f"{len(left_out)} predictions were left out" in events[1].detail
        assert microphone.counters.dropped == 0
        after = [p for p in predictions if p.index > left_out[-1]]
        assert after[0].lag_seconds is not None
        assert after[0].lag_seconds < 1.3
        # All of the audio was heard: what comes after is what it always would have been.
        wanted = everything[after[0].index :]
        assert [p.raw_probabilities for p in after] == [p.raw_probabilities for p in wanted]
        assert [p.probabilities for p in after] == [p.probabilities for p in wanted]

    def test_a_reader_that_is_always_slow_stays_at_the_present(self, model: OnnxClassifier) -> None:
        microphone = FakeMicrophone(VOICE, seconds=30.0, block_seconds=0.1)
        listener = listening(microphone, model)
        predictions, _ = taken(microphone, listener, {}, every=0.6)
        # The last second is heard to its end: nothing newer comes.
        lags = [p.lag_seconds or 0.0 for p in predictions if p.end_seconds < 29.0]
        assert max(lags) < 1.3
        assert listener.stats.skipped_predictions > 30
        assert microphone.counters.dropped == 0

    def test_a_reader_that_sleeps_longer_than_the_buffer_loses_audio_and_is_told(
        self, model: OnnxClassifier
    ) -> None:
        microphone = FakeMicrophone(VOICE, seconds=40.0, buffer_seconds=5.0)
        listener = listening(microphone, model)
        # In the middle of a block and of an utterance: the gap closes a prediction long gone by.
        predictions, events = taken(microphone, listener, {10: 20.0})
        counters = microphone.counters
        # The reader jumps to the newest quarter of a second instead of chasing the writer.
        assert counters.dropped == pytest.approx(19.75 * 16000, abs=1600)
        reason, gap = events
        assert gap.kind == "gap"
        assert gap.at_seconds == pytest.approx(2.76, abs=0.001)
        assert (reason.kind, reason.at_seconds) == ("overload", gap.at_seconds)
        words = "15.0 s that the buffer had no room for, 4.8 s to be back at the present"
        assert reason.detail == f"audio was dropped: {words}"
        assert listener.stats.missing_seconds == counters.dropped / 16000
        assert predictions[-1].end_seconds == pytest.approx(40.0, abs=0.3)
        assert max(p.lag_seconds or 0.0 for p in predictions) < 1.3
        assert listener.stats.skipped_predictions == 1
        for p in predictions:
            assert not p.start_seconds < gap.at_seconds < p.end_seconds - 1e-9

    def test_a_model_that_is_too_slow_skips_audio(self, model: OnnxClassifier) -> None:
        clock = VirtualClock()
        microphone = FakeMicrophone(VOICE, seconds=60.0, block_seconds=0.1, clock=clock)
        slow = SlowModel(model, 0.6, clock)
        listener = listening(microphone, slow, vad=False)
        predictions, events = taken(microphone, listener, {})
        counters = microphone.counters
        assert counters.dropped_stale > 16000
        assert counters.dropped_overrun == 0
        assert {"overload", "gap"} <= {e.kind for e in events}
        lags = [p.lag_seconds for p in predictions if p.lag_seconds is not None]
        assert max(lags) < 5.0
        assert len(predictions) > 15
        halves = np.array_split(lags, 2)
        assert np.mean(halves[1]) < np.mean(halves[0]) + 0.5


class TestBlock:
    def test_everything_is_given_however_late(self, model: OnnxClassifier) -> None:
        microphone = FakeMicrophone(VOICE, seconds=18.0, block_seconds=0.1)
        listener = listening(microphone, model, policy="block")
        predictions, events = taken(microphone, listener, {7: 5.0, 30: 5.0})
        assert predictions == offline(model, VOICE[: 18 * 16000])
        assert events == []
        assert listener.stats.skipped_predictions == 0
        late = max(p.lag_seconds for p in predictions if p.lag_seconds is not None)
        assert 4.5 < late < 6.0


class TestError:
    def test_lost_audio_is_an_error(self, model: OnnxClassifier) -> None:
        microphone = FakeMicrophone(VOICE, seconds=40.0, block_seconds=0.1, buffer_seconds=5.0)
        listener = listening(microphone, model, policy="error")
        for item in itertools.islice(listener, 12):
            assert isinstance(item, Prediction)
        sleep_on(microphone, 7.0)
        with pytest.raises(SerError, match=r"frames were lost .*take them faster"):
            next(listener)
        assert is_accounted(microphone.counters)

    def test_late_is_no_error_as_long_as_nothing_is_lost(self, model: OnnxClassifier) -> None:
        microphone = FakeMicrophone(VOICE, seconds=18.0, block_seconds=0.1, buffer_seconds=5.0)
        listener = listening(microphone, model, policy="error")
        predictions, _ = taken(microphone, listener, {7: 4.0, 30: 4.0})
        assert len(predictions) >= 72

    def test_a_policy_has_a_name(self, model: OnnxClassifier) -> None:
        with pytest.raises(SerError, match="wanted latest, block or error"):
            listening(FakeMicrophone(VOICE), model, policy="newest")


class TestBudget:
    def test_the_hop_widens_and_returns(
        self, model: OnnxClassifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = VirtualClock()
        monkeypatch.setattr(time, "thread_time", clock.monotonic)
        microphone = FakeMicrophone(VOICE, seconds=90.0, block_seconds=0.05, clock=clock)
        slow = SlowModel(model, 0.04, clock)  # a sixth of a core at every hop
        listener = listening(microphone, slow, vad=False, cpu_budget=0.05)
        predictions, events = [], []
        for item in listener:
            if isinstance(item, Prediction):
                predictions.append(item)
                if item.end_seconds >= 40.0:
                    slow.seconds = 0.001
            else:
                events.append(item)
        hops = [float(e.detail.split()[3]) for e in events]
        assert {e.kind for e in events} == {"hop_changed"}
        assert hops == [0.5, 1.0, 0.5, 0.25]
        steps = {0.25 * round(4 * s) for s in np.diff([p.end_seconds for p in predictions])}
        assert steps <= {0.25, 0.5, 0.75, 1.0}
        for p in predictions:
            assert p.end_seconds == (p.index + 1) * HOP_SECONDS
        busy = [p for p in predictions if 20.0 < p.end_seconds < 40.0]
        assert len(busy) == pytest.approx(20, abs=2)
        assert len([p for p in predictions if p.end_seconds > 80.0]) == 40
        assert microphone.counters.dropped == 0

    def test_time_in_which_other_programs_run_is_no_cost(self, model: OnnxClassifier) -> None:
        clock = VirtualClock()
        microphone = FakeMicrophone(VOICE, seconds=30.0, block_seconds=0.1, clock=clock)
        slow = SlowModel(model, 0.2, clock)  # it waits, and works no more than before
        listener = listening(microphone, slow, vad=False, cpu_budget=0.5)
        predictions, events = taken(microphone, listener, {})
        assert events == []
        assert len(predictions) == 120

    def test_a_given_recognizer_begins_with_the_narrow_hop(self, model: OnnxClassifier) -> None:
        recognizer = StreamRecognizer(model)
        recognizer.hops_per_prediction = 8
        microphone = FakeMicrophone(VOICE, seconds=5.0)
        listener = listening(microphone, model, recognizer=recognizer, cpu_budget=0.5)
        predictions, _ = taken(microphone, listener, {})
        assert len(predictions) >= 20

    @pytest.mark.parametrize("budget", [0.0, -0.1, 65.0, float("nan")])
    def test_impossible_budgets_are_refused(self, model: OnnxClassifier, budget: float) -> None:
        with pytest.raises(SerError, match="wanted a share of a core"):
            listening(FakeMicrophone(VOICE), model, cpu_budget=budget)


class TestInput:
    @pytest.mark.parametrize(
        ("faults", "kinds"),
        [
            ([Zeros(2.0, 1.5)], []),
            ([Zeros(2.0, 5.0), Zeros(9.0, 5.0)], ["input_silent", "input_silent"]),
            ([Clipping(2.0, 1.5), Clipping(6.0, 1.5)], ["input_clipping"]),
            ([Clipping(2.0, 1.5), Clipping(15.5, 2.0)], ["input_clipping", "input_clipping"]),
            ([Offset(2.0, 3.0), Offset(8.0, 3.0, -0.05)], ["input_offset", "input_offset"]),
            ([Offset(2.0, 8.0, 0.005)], []),
            ([Zeros(2.0, 6.0), Crash(5.0)], ["input_silent"]),
        ],
        ids=str,
    )
    def test_each_episode_is_told_once(
        self, model: OnnxClassifier, faults: list[Fault], kinds: list[str]
    ) -> None:
        microphone = FakeMicrophone(VOICE, faults, seconds=20.0, block_seconds=0.1)
        _, events = taken(microphone, listening(microphone, model), {})
        told = [e for e in events if e.kind.startswith("input_")]
        assert [e.kind for e in told] == kinds
        starts = [fault.at_seconds for fault in faults]
        assert all(any(0 < e.at_seconds - s < 3.5 for s in starts) for e in told)
        assert all(e.detail and "\n" not in e.detail for e in told)

    @pytest.mark.parametrize("frames", [1, 17, 399, 400, 401, 10_000])
    @pytest.mark.parametrize("as_integers", [False, True])
    def test_findings_are_the_same_however_the_stream_is_cut(
        self, as_integers: bool, frames: int
    ) -> None:
        samples = np.random.default_rng(0).uniform(-0.1, 0.1, (12400, 2))
        samples[500:1301] = 0.01
        samples[2000:2030:2], samples[2001:2030:2] = 1.0, -1.0
        samples[4000:6000] += 0.1
        samples[6700:7500] = 0.01
        samples[7601:8401] = 0.0
        samples[8500:8502, 1] = -1.0
        samples[9200:, 1] = -samples[9200:, 0]
        if as_integers:
            samples = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
        monitor, found = InputMonitor(400, 2), list[Event]()
        for start in range(0, len(samples), frames):
            found += monitor.process(samples[start : start + frames], start)
        assert [(event.kind, round(event.at_seconds * 400)) for event in found] == [
            ("input_narrow_band", 400),
            ("input_silent", 1600),
            ("input_clipping", 2400),
            ("input_offset", 4400),
            ("input_silent", 7600),
            ("input_silent", 8800),
            ("input_clipping", 8800),
            ("input_channels", 12000),
        ]
        assert found[2].detail.startswith("7.5 % of the frames of a second clip;")
        assert found[6].detail.startswith("0.5 % of the frames of a second clip;")

    @pytest.mark.parametrize(
        ("faults", "told"),
        [
            ([], []),
            ([Zeros(2.0, 5.0)], []),
            ([Zeros(2.0, 11.0)], [("input_silent", 12, "every sample is 0 for 10 s$")]),
            ([Zeros(0.0, 16.0)], [("input_silent", 10, "is 0"), ("input_silent", 16, "no sound")]),
            (
                [Clipping(0.5, 1.5), Clipping(13.5, 2.0)],
                [("input_clipping", 1, "of the frames"), ("input_clipping", 16, "2 times in all")],
            ),
            ([Offset(2.0, 8.0)], [("input_offset", 3, "the mean is")]),
        ],
        ids=str,
    )
    def test_of_a_recording_each_finding_is_told_once(
        self,
        model: OnnxClassifier,
        faults: list[Fault],
        told: list[tuple[str, float, str]],
        tmp_path: Path,
    ) -> None:
        microphone = FakeMicrophone(VOICE, faults, seconds=16.0, block_seconds=0.1)
        with microphone:
            samples = [item.samples for item in microphone if isinstance(item, Block)]
        soundfile.write(tmp_path / "a.wav", np.concatenate(samples), 16000, subtype="FLOAT")
        assert_told(tmp_path / "a.wav", model, told)

    @pytest.mark.parametrize(
        ("gains", "words"),
        [
            ((1, 1), ""),
            ((1, 0), ""),  # 6 dB less, which the gate and the model do not mind
            ((1, -0.5), ""),
            ((1, -1), r"cancel each other in the mix \(-\d\d dB\); .* 'left' the first one alone"),
            ((0.5, -0.45, 0, 0), "cancel each other"),
        ],
    )
    @pytest.mark.parametrize("seconds", [0.7, 16.0])
    def test_a_voice_that_the_mix_cancels_is_told(
        self,
        model: OnnxClassifier,
        gains: tuple[float, ...],
        words: str,
        seconds: float,
        tmp_path: Path,
    ) -> None:
        channels = VOICE[8000 : 8000 + round(seconds * 16000), np.newaxis] * np.array(gains)
        channels += 1e-4 * np.random.default_rng(0).standard_normal(channels.shape)
        soundfile.write(tmp_path / "a.wav", channels, 16000, subtype="FLOAT")
        told = [("input_channels", min(seconds, 1.0), words)] if words else []
        assert_told(tmp_path / "a.wav", model, told)

    def test_two_voices_on_two_channels_are_told(
        self, model: OnnxClassifier, tmp_path: Path
    ) -> None:
        is_first = np.arange(len(VOICE)) // 64000 % 2 == 0
        channels = np.stack([VOICE * is_first, VOICE * ~is_first], axis=1)
        soundfile.write(tmp_path / "a.wav", channels, 16000)
        told = [("input_channels", 8.0, "channels 1 and 2 sound in turn")]
        assert_told(tmp_path / "a.wav", model, told)


def assert_told(path: Path, model: OnnxClassifier, told: list[tuple[str, float, str]]) -> None:
    with listen(path, events=True, model=model) as items:
        events = [item for item in items if isinstance(item, Event)]
    assert [event.kind for event in events] == [kind for kind, _, _ in told]
    for event, (_, at_seconds, words) in zip(events, told, strict=True):
        assert event.at_seconds == pytest.approx(at_seconds, abs=1e-3)
        assert re.search(words, event.detail)
        assert "mute" not in event.detail


class TestConsumers:
    def test_an_exception_closes_the_source(self, model: OnnxClassifier) -> None:
        microphone = FakeMicrophone(VOICE)
        listener = listening(microphone, model)
        next(listener)
        with pytest.raises(ZeroDivisionError), listener:
            raise ZeroDivisionError
        assert list(microphone) == []
        assert list(listener) == []

    def test_an_exception_of_the_model_arrives_and_closes_the_source(
        self, model: OnnxClassifier
    ) -> None:
        microphone = FakeMicrophone(VOICE)
        listener = listening(microphone, FailingModel(model, 7, BROKEN), vad=False)
        assert len(list(itertools.islice(listener, 9))) == 9
        with pytest.raises(SerError, match="the weights are damaged"):
            next(listener)
        assert list(listener) == []
        assert list(microphone) == []

    def test_what_was_finished_before_a_gap_comes_before_the_failure_after_it(
        self, model: OnnxClassifier
    ) -> None:
        blocks = [Block(VOICE[:41600, None]), Block(VOICE[41600:73600, None], None, 54400)]
        damaged = FailingModel(model, 3, BROKEN)
        predictions = listen(GivenSource(blocks), model=damaged, hop_seconds=1.5, vad=False)
        assert [p.end_seconds for p in itertools.islice(predictions, 2)] == [1.5, 2.6]
        with pytest.raises(SerError, match="the weights are damaged"):
            next(predictions)

    def test_a_listener_may_be_left_and_taken_up_again(self, model: OnnxClassifier) -> None:
        microphone = FakeMicrophone(VOICE, seconds=10.0, block_seconds=0.1)
        listener = listening(microphone, model)
        got = [next(listener) for _ in range(5)]
        got += list(listener)
        assert got == offline(model, VOICE[:160_000])

    def test_the_order_of_events_and_predictions_is_that_of_the_stream(
        self, model: OnnxClassifier
    ) -> None:
        microphone = FakeMicrophone(VOICE, [Unplug(3.1, 1.0)], seconds=8.0)
        ends = [
            item.end_seconds if isinstance(item, Prediction) else item.at_seconds
            for item in listening(microphone, model)
        ]
        assert ends == sorted(ends)

    def test_a_model_is_swapped_between_two_predictions(
        self, model: OnnxClassifier, tmp_path: Path
    ) -> None:
        other = write_tiny_model(tmp_path / "other.onnx", tiny_card(name="other"), seed=1)
        microphone = FakeMicrophone(VOICE, seconds=10.0, block_seconds=0.1)
        listener = listening(microphone, model)
        items: list[Prediction | Event] = []
        for item in listener:
            items.append(item)
            if isinstance(item, Prediction) and item.index == 19:
                listener.swap(other)
        predictions, events = parted(items)
        assert [(e.kind, e.detail) for e in events] == [("model_swapped", "other instead of tiny")]
        assert events[0].at_seconds == pytest.approx(5.0, abs=0.03)
        recognizers = [StreamRecognizer(model), StreamRecognizer(other)]
        before, after = (r.process(VOICE[:160_000]) for r in recognizers)
        raw = [p.raw_probabilities for p in before[:20] + after[20:]]
        assert [p.raw_probabilities for p in predictions] == raw
        with pytest.raises(SerError, match=r"nothing\.onnx"):
            listener.swap(tmp_path / "nothing.onnx")


class TestLag:
    def test_a_lag_is_never_negative(self, model: OnnxClassifier) -> None:
        """At 96 kHz the resampler rounds up: the last prediction ends after the last sample."""
        voice = demo_voice(96000)[: 2 * 96000 + 3]

        class Late(FakeMicrophone):
            def __iter__(self) -> Iterator[Block | Notice]:
                yield Block(voice[:, np.newaxis], 100.0)

        microphone = Late(voice, sample_rate_hz=96000)
        with listen(microphone, model=model, vad=False, clock=lambda: 100.0) as predictions:
            got = list(predictions)
        assert got[-1].end_seconds > len(voice) / 96000
        assert all(p.lag_seconds is not None and p.lag_seconds >= 0.0 for p in got)
        assert got[-1].lag_seconds == 0.0
