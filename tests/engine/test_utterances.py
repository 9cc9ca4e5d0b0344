"""Utterances: one answer for all that was said between two silences."""

import asyncio
import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_live import Event, Prediction, SerError, StreamRecognizer, alisten, listen, recognize_file
from ser_live.engine.utterances import Utterance, UtteranceTracker, tracker_of
from ser_live.live.listener import ListenOptions
from ser_live.prediction import State
from ser_live.sources import DEMO_PATH
from ser_live.testing import FakeMicrophone, Unplug, demo_voice

HOP = 0.25
quick = settings(max_examples=40)


def prediction(
    hop: int,
    state: State = "speech",
    start: float = 0.0,
    sad: float = 0.7,
    hop_seconds: float = HOP,
) -> Prediction:
    """Return the prediction of a hop, from 1; one with a label knows "happy" and "sad"."""
    end = hop * hop_seconds
    if state in ("silence", "warming_up"):
        start = end - hop_seconds if state == "silence" else start
        return Prediction(hop - 1, start, end, state, None, 0.0, None, None, changed=False)
    shares = {"happy": 1.0 - sad, "sad": sad}
    return Prediction(hop - 1, start, end, state, "sad", sad, shares, shares, changed=False)


silence = partial(prediction, state="silence")
warming_up = partial(prediction, state="warming_up")


def utterances_of(
    predictions: list[Prediction], uncertain_below: float = 0.5, *, is_provisional: bool = False
) -> list[Utterance]:
    tracker = UtteranceTracker(uncertain_below, is_provisional=is_provisional)
    found = [utterance for p in predictions for utterance in tracker.process(p)]
    return found + tracker.flush()


def spans(predictions: list[Prediction]) -> list[object]:
    found = utterances_of(predictions)
    return [(u.start_seconds, u.end_seconds, u.speech_seconds) for u in found]


def test_an_utterance_ends_when_silence_has_settled() -> None:
    stream = [silence(1), silence(2), warming_up(3, start=0.4), prediction(4, start=0.4)]
    tracker = UtteranceTracker()
    assert [tracker.process(p) for p in [*stream, silence(5)]] == [[]] * 5
    (utterance,) = tracker.process(silence(6))
    assert (utterance.start_seconds, utterance.end_seconds) == (0.4, 1.0)
    assert utterance.speech_seconds == pytest.approx(0.6)
    assert (utterance.label, utterance.confidence, utterance.is_final) == ("sad", 0.7, True)
    assert tracker.process(silence(7)) == tracker.flush() == []


def test_a_voice_that_comes_back_goes_on_with_its_utterance() -> None:
    stream = [prediction(4, start=0.0), silence(5), prediction(6, start=0.0)]
    assert spans(stream) == [(0.0, 1.5, pytest.approx(1.25))]


def test_a_voice_that_comes_back_late_overlaps_nothing() -> None:
    stream = [prediction(4), silence(5), silence(6), prediction(7), prediction(8)]
    assert spans(stream) == [(0.0, 1.0, 1.0), (1.5, 2.0, 0.5)]


@pytest.mark.parametrize("between", [[], [silence(5)]], ids=["gap", "between two hops"])
def test_a_window_that_begins_later_is_another_utterance(between: list[Prediction]) -> None:
    stream = [prediction(4), *between, prediction(8, start=1.1)]
    assert spans(stream) == [(0.0, 1.0, 1.0), (1.1, 2.0, pytest.approx(0.9))]


@pytest.mark.parametrize("hop_seconds", [0.05, 0.1, 0.2, 1.0])
def test_silence_settles_whatever_the_hop(hop_seconds: float) -> None:
    tracker = UtteranceTracker()
    first = round(3 / hop_seconds)
    tracker.process(prediction(first, hop_seconds=hop_seconds))
    for hop in itertools.count(first + 1):
        if tracker.process(silence(hop, hop_seconds=hop_seconds)):
            break
    quiet_seconds = (hop - first - 1) * hop_seconds
    assert quiet_seconds - hop_seconds < 0.2 <= quiet_seconds + 1e-9


def test_longer_windows_count_for_more_and_full_ones_alike() -> None:
    short = prediction(4, start=0.0, sad=0.1)  # 1 s
    full = [prediction(hop, start=hop * HOP - 3.0, sad=sad) for hop, sad in ((12, 0.9), (13, 0.7))]
    (utterance,) = utterances_of([short, *full])
    assert utterance.probabilities is not None
    assert utterance.probabilities["sad"] == pytest.approx(0.8, abs=1e-3)
    assert sum(utterance.probabilities.values()) == pytest.approx(1.0)
    assert utterance.confidence == utterance.probabilities["sad"]


def test_a_low_confidence_is_uncertain_and_so_is_a_short_word() -> None:
    assert [u.label for u in utterances_of([prediction(4, sad=0.55)], 0.6)] == ["uncertain"]
    (word,) = utterances_of([warming_up(1), warming_up(2)])
    assert (word.label, word.confidence, word.probabilities) == ("uncertain", 0.0, None)


def test_provisional_ones_come_with_each_label() -> None:
    stream = [warming_up(3), prediction(4, sad=0.4), prediction(8, sad=0.8), silence(9)]
    found = utterances_of(stream, is_provisional=True)
    assert [(u.label, u.end_seconds, u.is_final) for u in found] == [
        ("happy", 1.0, False),
        ("sad", 2.0, False),
        ("sad", 2.0, True),
    ]


def test_channels_are_told_apart() -> None:
    left = [replace(one, channel="left") for one in (prediction(4), silence(5), silence(6))]
    right = [replace(prediction(hop, sad=0.1), channel="right") for hop in (4, 5, 6)]
    found = utterances_of([one for pair in zip(left, right, strict=True) for one in pair])
    assert [(u.channel, u.label, u.end_seconds) for u in found] == [
        ("left", "sad", 1.0),
        ("right", "happy", 1.5),
    ]
    assert found[0].to_dict()["channel"] == "left"
    assert "channel" not in utterances_of([prediction(4)])[0].to_dict()


def test_another_model_does_not_mix_with_the_one_before() -> None:
    other = {"calm": 0.9, "bored": 0.1}
    later = Prediction(7, 0.0, 2.0, "speech", "calm", 0.9, other, other, changed=True)
    (utterance,) = utterances_of([prediction(4), later])
    assert utterance.probabilities == pytest.approx(other)


@st.composite
def streams(draw: st.DrawFn) -> list[Prediction]:
    """Any stream: hops may be left out, and windows begin anywhere before their end."""
    hop_seconds, hop, found = draw(st.sampled_from([0.01, 0.25, 1.0, 5.0])), 0, []
    for _ in range(draw(st.integers(0, 25))):
        hop += draw(st.sampled_from([1, 1, 1, 1, 2, 20]))
        states: list[State] = ["speech", "speech", "uncertain", "silence", "warming_up"]
        state = draw(st.sampled_from(states))
        length = draw(st.sampled_from([hop_seconds, 0.3, 1.0, 3.0, 30.0]))
        start = max(0.0, hop * hop_seconds - length)
        found.append(prediction(hop, state, start, draw(st.floats(0.0, 1.0)), hop_seconds))
    return found


@quick
@given(streams())
def test_utterances_are_ordered_apart_and_as_long_as_their_speech(
    stream: list[Prediction],
) -> None:
    end_before = 0.0
    for utterance in utterances_of(stream):
        assert end_before <= utterance.start_seconds < utterance.end_seconds
        length_seconds = utterance.end_seconds - utterance.start_seconds
        assert 0.0 < utterance.speech_seconds < length_seconds + 1e-6
        if utterance.probabilities is not None:
            assert sum(utterance.probabilities.values()) == pytest.approx(1.0)
        end_before = utterance.end_seconds


@quick
@given(streams(), st.integers(0, 25))
def test_later_predictions_change_nothing_and_reset_is_fresh(
    stream: list[Prediction], cut: int
) -> None:
    tracker = UtteranceTracker()
    before = [utterance for p in stream[:cut] for utterance in tracker.process(p)]
    whole = utterances_of(stream, 0.0)
    assert before == whole[: len(before)]
    tracker.reset()
    assert [u for p in stream for u in tracker.process(p)] + tracker.flush() == whole


def test_the_state_of_a_long_stream_stays_small() -> None:
    tracker = UtteranceTracker(is_provisional=True)
    for hop in range(4, 2000):
        tracker.process(prediction(hop, start=max(0.0, hop * HOP - 3.0)))
    (speaker,) = tracker._speakers.values()
    held = [value for value in vars(speaker).values() if hasattr(value, "__len__")]
    assert [len(value) for value in held] == [2]


def test_a_choice_that_is_none_is_refused() -> None:
    assert tracker_of(False) is None
    with pytest.raises(SerError, match="utterances is 'final', wanted True, False"):
        listen(DEMO_PATH, utterances="final")  # type: ignore[call-overload]
    for below in ("half", None, 2.0, float("nan")):
        with pytest.raises(SerError, match=rf"^uncertain_below is {below!r}, wanted 0 to 1, .+$"):
            UtteranceTracker(below)  # type: ignore[arg-type]


def heard(stream: np.ndarray, chunk: int) -> list[Utterance]:
    recognizer = StreamRecognizer("emotion-light")
    tracker = UtteranceTracker(recognizer.uncertain_below)
    predictions = []
    for start in range(0, len(stream), chunk):
        predictions += recognizer.process(stream[start : start + chunk])
    predictions += recognizer.flush()
    return [u for p in predictions for u in tracker.process(p)] + tracker.flush()


def test_listen_gives_the_utterances_of_the_demo_voice_and_any_chunking_the_same() -> None:
    voice = demo_voice()
    whole = heard(voice, len(voice))
    assert len(whole) == 4, "the four utterances of the demo"
    assert heard(voice, 4001) == whole
    with listen(DEMO_PATH, utterances=True, model="emotion-light") as listener:
        items = list(listener)
    assert [item for item in items if isinstance(item, Utterance)] == whole
    assert recognize_file(DEMO_PATH, utterances=True, model="emotion-light").utterances == tuple(
        whole
    )
    with listen(DEMO_PATH, model="emotion-light") as listener:
        assert list(listener) == [item for item in items if not isinstance(item, Utterance)]


def test_what_was_said_before_a_device_is_lost_does_not_wait() -> None:
    microphone = FakeMicrophone(demo_voice(), [Unplug(at_seconds=2.2, away_seconds=1.0)], seconds=6)
    clock = microphone.clock.monotonic
    with listen(
        microphone, events=True, utterances=True, model="emotion-light", clock=clock
    ) as items:
        kinds = [item.kind if isinstance(item, Event) else type(item).__name__ for item in items]
    assert kinds[kinds.index("device_lost") + 1] == "Utterance"
    assert kinds.index("Utterance") < kinds.index("device_restored")


@pytest.mark.parametrize("below", [0.0, 1.0])
def test_the_caller_says_what_is_uncertain(half_demo_file: Path, below: float) -> None:
    options = ListenOptions(model="emotion-light", uncertain_below=below)
    with listen(half_demo_file, utterances=True, **options) as items:
        labels = {item.label == "uncertain" for item in items if isinstance(item, Utterance)}
    assert labels == {below == 1.0}


def test_asyncio_yields_them_too(half_demo_file: Path) -> None:
    options = ListenOptions(model="emotion-light")

    async def labels() -> list[str]:
        async with alisten(half_demo_file, utterances="provisional", **options) as items:
            found = [item async for item in items if isinstance(item, Utterance)]
        finals = [utterance for utterance in found if utterance.is_final]
        assert len(found) > 2 * len(finals)
        return [utterance.label for utterance in finals]

    assert len(asyncio.run(labels())) == 2
