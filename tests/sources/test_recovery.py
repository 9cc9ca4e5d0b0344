"""Whatever happens to a microphone: every frame is accounted for, and the timeline is right."""

import dataclasses
import math
import re
import threading
from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers.streams import is_accounted, listening
from ser_live import Event, Prediction, SerError, StreamRecognizer
from ser_live.live.listener import Listener
from ser_live.model.classifier import OnnxClassifier
from ser_live.sources import Block, Notice
from ser_live.sources import capture_protocol as protocol
from ser_live.sources.microphone import SystemClock
from ser_live.testing import (
    Backlog,
    ClockJump,
    Crash,
    FakeMicrophone,
    Fault,
    HangOnOpen,
    Jitter,
    NotANumber,
    Overrun,
    Stall,
    Unplug,
    VirtualClock,
    WrongRate,
    Zeros,
    demo_voice,
)
from ser_live.testing.microphone import FakeCapture

RATE = 16000
SECONDS = 9.0
BLOCK_SECONDS = 0.04
HOP_SECONDS = 0.25
SHORT_SECONDS = 0.1
VOICE = demo_voice()


def voice_at(times: NDArray[np.float64]) -> NDArray[np.float32]:
    """The voice as a function of time, so that it can be heard at any rate."""
    nearest: NDArray[np.float32] = VOICE[np.rint(times * RATE).astype(np.int64) % VOICE.size]
    return nearest


class Recorded(FakeMicrophone):
    """Remembers what it gave, each block with its rate."""

    blocks: list[tuple[Block, int]]
    losses: set[int]
    """Numbers of the blocks before which the device was lost."""

    def __iter__(self) -> Iterator[Block | Notice]:
        self.blocks, self.losses = [], set()
        for item in super().__iter__():
            if isinstance(item, Block):
                self.blocks.append((item, self.sample_rate_hz))
            elif item.kind == "device_lost":
                self.losses.add(len(self.blocks))
            yield item


def is_on_grid(prediction: Prediction) -> bool:
    """Index and end are in step; what ends a stretch may come on top of what was due there."""
    hops = round(prediction.end_seconds / HOP_SECONDS, 9)
    return prediction.index == math.ceil(hops) - 1 or prediction.index == hops


def gap_seconds(gap: Event) -> float:
    found = re.match(r"([\d.]+) s are missing", gap.detail)
    assert found
    return float(found[1])


def seconds(least: float, most: float) -> st.SearchStrategy[float]:
    return st.integers(round(least * 1000), round(most * 1000)).map(lambda ms: ms / 1000)


AT = seconds(0.021, SECONDS - 1.0)  # opened at first, it works
LENGTHS = st.sampled_from((0.003, 0.04, 0.1, 0.15, 0.6, 1.5))
FAULTS = st.one_of(
    st.builds(Jitter, AT, LENGTHS, seconds(0.0, 0.3)),
    st.builds(Stall, AT, LENGTHS),
    st.builds(Overrun, AT, LENGTHS, st.booleans()),
    st.builds(Backlog, AT, LENGTHS),
    st.builds(
        Unplug,
        AT,
        LENGTHS,
        st.sampled_from((None, 8000, 44100, 48000)),
        st.sampled_from((None, 1, 2)),
        st.integers(0, 3),
    ),
    st.builds(Crash, AT),
    st.builds(HangOnOpen, AT, st.sampled_from((0.5, 60.0))),
    st.builds(NotANumber, AT, LENGTHS, st.sampled_from((math.nan, math.inf))),
    st.builds(Zeros, AT, LENGTHS),
    st.builds(ClockJump, AT, st.sampled_from((-5000.0, -7.0, 7.0, 5000.0))),
    st.builds(WrongRate, AT, LENGTHS, st.sampled_from((0.9, 0.999, 1.01, 1.5))),
)
SCRIPTS = st.lists(FAULTS, min_size=1, max_size=6)


@dataclasses.dataclass
class Told:
    """All that came of a stream."""

    predictions: list[Prediction] = dataclasses.field(default_factory=list)
    events: list[Event] = dataclasses.field(default_factory=list)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def gaps(self) -> list[tuple[float, float]]:
        gaps = [item for item in self.events if item.kind == "gap"]
        return [(gap.at_seconds, gap.at_seconds + gap_seconds(gap)) for gap in gaps]


def heard(
    microphone: FakeMicrophone,
    listener: Listener[Prediction | Event],
    tolerance_seconds: float = BLOCK_SECONDS,
) -> Told:
    """Listen to the end and check at every step what must always hold."""
    told, hardware = Told(), microphone.hardware
    for step in listener.steps():
        counters = microphone.counters
        assert is_accounted(counters)
        assert counters.captured == hardware.captured_frames
        if counters.buffered == 0:
            wanted = hardware.end_seconds - hardware.untold_seconds
            assert step.seconds == pytest.approx(wanted, abs=tolerance_seconds + 0.001)
        for item in step.items:
            if isinstance(item, Event):
                assert item.at_seconds <= step.seconds
                told.events.append(item)
        told.predictions += step.predictions
    assert microphone.counters.buffered == 0
    return told


def expected(microphone: Recorded, model: OnnxClassifier) -> list[Prediction]:
    """Return what a recognizer says that is given the blocks and told of their gaps."""
    blocks = microphone.blocks
    if not blocks:
        return []
    rate = blocks[0][1]
    recognizer = StreamRecognizer(model, rate, blocks[0][0].samples.shape[1])
    predictions: list[Prediction] = []
    degraded: list[tuple[float, float]] = []
    frames = 0
    for number, (block, block_rate) in enumerate(blocks):
        if number in microphone.losses:
            predictions += recognizer.end_stretch()
        missing, channels = block.missing_frames, block.samples.shape[1]
        start_seconds, missing_seconds = frames / rate, missing / block_rate
        is_other = (block_rate, channels) != (rate, recognizer.channels)
        if is_other or missing_seconds > SHORT_SECONDS:
            skipped = round(missing_seconds * rate)
            predictions += recognizer.skip(skipped, block_rate, channels)
            rate, frames = block_rate, round(start_seconds * block_rate)
        elif missing or block.overruns:
            predictions += recognizer.process(np.zeros((missing, channels), np.float32))
            degraded.append((start_seconds, start_seconds + missing_seconds))
        frames += missing
        bad = np.flatnonzero(~np.isfinite(block.samples).all(axis=1))
        if bad.size:
            degraded.append(((frames + bad[0]) / rate, (frames + bad[-1] + 1) / rate))
        samples = np.nan_to_num(block.samples, nan=0.0, posinf=0.0, neginf=0.0)
        predictions += recognizer.process(samples)
        frames += len(samples)
    return [
        dataclasses.replace(p, degraded=any(spans(p, start, end) for start, end in degraded))
        for p in predictions + recognizer.flush()
    ]


def spans(prediction: Prediction, start: float, end: float) -> bool:
    """Tell whether some of a gap lies in the window of a prediction."""
    return prediction.start_seconds < end and start < prediction.end_seconds


def check_predictions(told: Told, microphone: Recorded, model: OnnxClassifier) -> None:
    assert told.predictions == expected(microphone, model)
    indices = [p.index for p in told.predictions]
    assert indices == sorted(set(indices))
    for p in told.predictions:
        assert is_on_grid(p)
        assert p.lag_seconds is not None
        assert 0.0 <= p.lag_seconds < SECONDS + 10.0
        for start, end in told.gaps():
            assert p.degraded or not spans(p, start + 0.001, end - 0.001)


def run_script(model: OnnxClassifier, script: list[Fault]) -> FakeMicrophone:
    microphone = Recorded(
        voice_at, script, seconds=SECONDS, block_seconds=BLOCK_SECONDS, sample_rate_hz=RATE
    )
    jitter_seconds = max([0.0, *(f.most_seconds for f in script if isinstance(f, Jitter))])
    stall_seconds = max([0.0, *(f.duration_seconds for f in script if isinstance(f, Stall))])
    jumps = any(isinstance(f, ClockJump) for f in script)
    # The block that came when the clock jumped tells the new time by its own delay.
    delay_seconds = max(jitter_seconds, stall_seconds) if jumps else 0.0
    listener = listening(microphone, model, policy="block")
    told = heard(microphone, listener, BLOCK_SECONDS + delay_seconds)
    check_predictions(told, microphone, model)
    assert not any("-" in item.detail for item in told.events)  # no time below zero
    kinds = told.kinds()
    assert kinds.count("device_restored") == microphone.counters.restarts
    assert kinds.count("device_lost") - kinds.count("device_restored") in (0, 1)
    assert listener.stats.missing_seconds == pytest.approx(
        sum(end - start for start, end in told.gaps()), abs=0.001 * len(told.gaps())
    )
    return microphone


@settings(max_examples=4, deadline=None)
@given(script=SCRIPTS)
def test_any_faults(model: OnnxClassifier, script: list[Fault]) -> None:
    microphone = run_script(model, script)
    for fault in microphone.hardware.felt:
        event(type(fault).__name__)
    event(f"{microphone.counters.restarts} restarts")


@pytest.mark.parametrize(
    "script",
    [
        [ClockJump(0.0, -5000.0)],
        [ClockJump(2.1, -5000.0), Crash(3.1), ClockJump(3.15, 5000.0)],
        [Backlog(1.0, 0.003), Backlog(3.1, 1.5), Unplug(6.0, 0.2, 48000)],
        [Overrun(1.1, 0.04), Overrun(3.1, 0.6), Overrun(5.0, 0.1), Overrun(6.0, 1.5)],
        [Overrun(3.1, 0.04, is_known=False), Overrun(5.0, 1.5, is_known=False)],
        [NotANumber(2.1, 0.003), Crash(3.1), NotANumber(3.2, 0.1)],
        [Stall(2.0, 0.6), Stall(4.0, 1.5)],
        [Stall(0.021, 0.6), Unplug(0.021, 0.003)],
        [Unplug(3.1, 0.1, 44100, 2, 2), HangOnOpen(3.1)],
        [Crash(0.021), HangOnOpen(0.021), HangOnOpen(0.021)],
        [Jitter(1.0, 5.0, 0.3), WrongRate(2.0, 2.0, 1.5), Crash(3.1)],
    ],
    ids=str,
)
def test_known_scripts(model: OnnxClassifier, script: list[Fault]) -> None:
    assert run_script(model, script).hardware.felt


@pytest.mark.long
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=st.lists(FAULTS, min_size=1, max_size=12))
def test_many_faults(model: OnnxClassifier, script: list[Fault]) -> None:
    run_script(model, script)


def test_samples_stand_at_their_place_after_any_gap(model: OnnxClassifier) -> None:
    """The signal tells its own time: what was heard of it stands where it belongs."""
    script = [
        Overrun(1.0, 0.05),
        Overrun(2.0, 0.5),
        Unplug(4.0, 1.0),
        Crash(7.0),
        HangOnOpen(7.0),
        HangOnOpen(7.0, 2.0),
        Unplug(16.0, 0.5, sample_rate_hz=48000, channels=2, refusals=2),
        Stall(20.0, 2.0),
    ]
    microphone = Recorded(lambda times: times / 100.0, script, seconds=28.0, block_seconds=0.05)
    listener = listening(microphone, model)
    for step in listener.steps():
        if step.rms > 0.0 and microphone.counters.buffered == 0:
            last = microphone.blocks[-1][0].samples[-1, 0] * 100.0
            assert step.seconds == pytest.approx(last, abs=0.002)
    assert microphone.counters.restarts == 4
    assert microphone.hardware.felt == script


def test_events_of_a_loss_tell_what_and_how_long(model: OnnxClassifier) -> None:
    microphone = FakeMicrophone(VOICE, [Unplug(3.0, 2.0)], seconds=9.0)
    told = heard(microphone, listening(microphone, model))
    assert told.kinds() == ["device_lost", "device_restored", "gap"]
    lost, restored, gap = told.events
    assert lost.at_seconds == pytest.approx(3.0, abs=BLOCK_SECONDS)
    assert "the device is gone" in lost.detail
    assert "back after" in restored.detail
    assert gap.at_seconds == lost.at_seconds
    before = [p for p in told.predictions if p.end_seconds <= lost.at_seconds]
    # What was heard of the unfinished hop does not wait until the device is back.
    assert before[-1].end_seconds == lost.at_seconds
    assert max(p.lag_seconds or 0.0 for p in told.predictions) < 0.3
    assert 2.0 <= gap_seconds(gap) <= 3.0
    assert microphone.hardware.end_seconds == pytest.approx(9.0)
    assert told.predictions[-1].end_seconds == pytest.approx(9.0, abs=0.001)


@pytest.mark.parametrize("hop_seconds", [0.25, 2.0])
@pytest.mark.parametrize("policy", ["latest", "block"])
def test_the_last_prediction_comes_before_the_outage(
    model: OnnxClassifier, hop_seconds: float, policy: str
) -> None:
    """Also where the device is back within the hop."""
    faults = [Unplug(3.1, 0.05), Unplug(6.1, 29.0)]
    microphone = FakeMicrophone(VOICE, faults, seconds=42.0, block_seconds=0.1)
    listener = listening(microphone, model, policy=policy, hop_seconds=hop_seconds)
    told = heard(microphone, listener)
    ends = [p.end_seconds for p in told.predictions]
    lost = [e.at_seconds for e in told.events if e.kind == "device_lost"]
    assert len(lost) == 2
    assert set(lost) <= set(ends)
    assert [p.index for p in told.predictions] == sorted({p.index for p in told.predictions})
    (lag,) = (stage for stage in listener.stats.stages if stage.name == "lag")
    assert lag.max_seconds < 0.3
    assert listener.stats.skipped_predictions == 0


def test_a_sleep_of_the_system_is_a_gap_as_long(
    model: OnnxClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an outage, and without one."""
    microphone = FakeMicrophone(
        VOICE, [Unplug(3.0, 2.0), Unplug(9.0, 1.0)], seconds=16.0, block_seconds=0.1
    )
    monkeypatch.setattr(
        "ser_live.sources.microphone.asleep_seconds",
        lambda: 3600.0 * ((microphone.device_seconds > 4.0) + (microphone.device_seconds > 13.0)),
    )
    items = [item for item in listening(microphone, model) if isinstance(item, Event)]
    lengths = [gap_seconds(item) for item in items if item.kind == "gap"]
    assert lengths == [pytest.approx(seconds, abs=0.6) for seconds in (3602.5, 1.5, 3600.0)]


@pytest.mark.parametrize("fault", [Unplug(3.0, 2.0), Crash(3.0), Stall(3.0, 2.0)])
def test_without_reconnection_a_loss_is_an_error(model: OnnxClassifier, fault: Fault) -> None:
    microphone = FakeMicrophone(VOICE, [fault], seconds=9.0, reconnect=False)
    listener = listening(microphone, model)
    told: list[Prediction | Event] = []
    with pytest.raises(SerError, match=r"fake microphone: the device stopped .*plugged in"):
        told += listener  # what came before is kept by list's in-place extension
    assert len(told) >= 11
    assert microphone.counters.restarts == 0
    assert is_accounted(microphone.counters)
    assert list(listener) == []


def slept(
    microphone: FakeMicrophone, model: OnnxClassifier, sleep_seconds: float, is_waiting: bool
) -> tuple[Told, float]:
    """Hear it to the end, with a sleep of the whole machine; return how long the stream was."""
    told, clock = Told(), microphone.clock
    assert isinstance(clock, VirtualClock)
    if is_waiting:
        clock.call_at(clock.monotonic() + 3.01, lambda: clock.advance(sleep_seconds))
    for step in listening(microphone, model).steps():
        told.events += step.events
        if not is_waiting and step.seconds >= 2.9:
            clock.advance(sleep_seconds)
            is_waiting = True
    return told, step.seconds


@pytest.mark.parametrize("is_waiting", [True, False], ids=["while it waits", "between blocks"])
@pytest.mark.parametrize("is_known", [True, False], ids=["counted", "not counted"])
def test_waking_from_sleep_is_no_loss(
    model: OnnxClassifier, is_known: bool, is_waiting: bool
) -> None:
    """The machine slept for a minute: no block came, and none was waited for."""
    faults = [Overrun(3.0, 60.0, is_known)]
    microphone = FakeMicrophone(VOICE, faults, seconds=66.0, block_seconds=0.25)
    told, heard_seconds = slept(microphone, model, 60.05, is_waiting)
    assert told.kinds() == (["gap"] if is_known else [])
    assert microphone.counters.restarts == 0
    assert heard_seconds == pytest.approx(66.0 if is_known else 6.0, abs=0.001)


def test_a_device_that_stays_silent_after_the_sleep_is_lost(model: OnnxClassifier) -> None:
    microphone = FakeMicrophone(VOICE, [Unplug(3.0, 3700.0)], seconds=3720.0)
    told, _ = slept(microphone, model, 3600.0, is_waiting=False)
    assert told.kinds() == ["device_lost", "device_restored", "gap"]
    (gap,) = told.gaps()
    assert gap[1] - gap[0] == pytest.approx(3700.0, abs=6.0)


def test_back_off_grows_and_a_refusing_device_is_asked_again(model: OnnxClassifier) -> None:
    microphone = FakeMicrophone(
        VOICE, [Unplug(2.0, 0.0, refusals=8)], seconds=20.0, block_seconds=0.1
    )
    told = heard(microphone, listening(microphone, model))
    ((start, end),) = told.gaps()
    assert 8.0 < end - start < 15.0
    assert microphone.counters.restarts == 1


def test_closing_while_it_is_away_ends_at_once(model: OnnxClassifier) -> None:
    microphone = FakeMicrophone(VOICE, [Unplug(2.0, 1e6)])
    listener = listening(microphone, model)
    events = []
    for item in listener:
        if isinstance(item, Event):
            events.append(item.kind)
            listener.close()
    assert events == ["device_lost"]
    assert microphone.device_seconds < 3.0
    assert is_accounted(microphone.counters)


def test_closing_from_another_thread_ends_a_real_wait(model: OnnxClassifier) -> None:
    microphone = FakeMicrophone(VOICE, [Unplug(0.2, 1e6)], clock=SystemClock())
    listener = listening(microphone, model)
    closer = threading.Timer(0.4, listener.close)
    closer.start()
    started_at = microphone.clock.monotonic()
    with listener:
        list(listener)
    closer.join()
    assert microphone.clock.monotonic() - started_at < 5.0
    assert threading.active_count() == 1


def test_closing_while_it_is_opened_leaves_nothing_open(model: OnnxClassifier) -> None:
    microphone = FakeMicrophone(VOICE, [HangOnOpen(0.0, 3.0)])
    listener, clock = listening(microphone, model), microphone.clock
    assert isinstance(clock, VirtualClock)
    clock.call_at(clock.monotonic() + 1.0, listener.close)
    with (
        mock.patch.object(microphone, "close", wraps=microphone.close) as close,
        pytest.raises(SerError, match="closed while it was opened"),
    ):
        listener.open()
    assert close.call_count >= 2  # also what was opened after the first
    assert clock.monotonic() == 1001.0


def test_a_device_that_comes_back_in_another_format_goes_on(model: OnnxClassifier) -> None:
    script = [Unplug(4.0, 0.5, 48000, 2), Unplug(10.0, 0.5, 8000, 1)]
    microphone = Recorded(voice_at, script, seconds=18.0)
    recognizer = StreamRecognizer(model, sample_rate_hz=RATE)
    listener = listening(microphone, model, recognizer=recognizer)
    told = heard(microphone, listener)
    check_predictions(told, microphone, model)
    assert listener.recognizer is recognizer
    assert (recognizer.sample_rate_hz, recognizer.channels) == (8000, 1)
    stats = listener.stats
    assert stats.recognizer.predictions == len(told.predictions)
    assert stats.recognizer.seconds + stats.missing_seconds == pytest.approx(18.0, abs=0.01)
    kinds = ["device_lost", "device_restored", "gap"] * 2
    assert told.kinds() == [*kinds, "input_narrow_band"]


class OddCapture(FakeCapture):
    """It takes its time to end, and is not quite dead afterwards."""

    late_frames = undead_calls = 0

    def close(self) -> None:
        clock, before = self.microphone.clock, self.device.captured_frames
        if isinstance(clock, VirtualClock) and self.microphone.device_seconds < 7.0:
            clock.advance(0.1)
            clock.call_at(clock.monotonic() + 0.05, self.speak_up)
            clock.call_at(clock.monotonic() + 2.0, self.speak_up)
        OddCapture.late_frames += self.device.captured_frames - before
        super().close()

    def speak_up(self) -> None:
        OddCapture.undead_calls += 1
        now = self.microphone.clock.monotonic()
        self._sink(protocol.Audio(np.ones((100, 3), np.float32), now, 0, 0, 0))


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> type[OddCapture]:
    """Captures of all fake microphones, with counts of what they did."""
    monkeypatch.setattr("ser_live.testing.microphone.FakeCapture", OddCapture)
    monkeypatch.setattr(OddCapture, "late_frames", 0)
    monkeypatch.setattr(OddCapture, "undead_calls", 0)
    return OddCapture


@pytest.mark.parametrize("rate", [None, 48000])
def test_what_came_while_the_capture_was_being_closed_is_heard(
    model: OnnxClassifier, odd: type[OddCapture], rate: int | None
) -> None:
    """A stalled capture may give its last blocks between the decision and its end."""
    faults = [Stall(3.0, 0.85), Unplug(3.89, 0.1, sample_rate_hz=rate)]
    microphone = FakeMicrophone(VOICE, faults, seconds=8.0)
    told = heard(microphone, listening(microphone, model))
    assert odd.late_frames > 0
    assert told.kinds() == ["device_lost", "device_restored", "gap"]
    assert gap_seconds(told.events[-1]) < 0.5


def test_a_capture_that_was_given_up_is_not_heard(
    model: OnnxClassifier, odd: type[OddCapture]
) -> None:
    microphone = FakeMicrophone(VOICE, [Crash(3.0)], seconds=8.0)
    told = heard(microphone, listening(microphone, model))
    assert odd.undead_calls == 2
    assert told.kinds() == ["device_lost", "device_restored", "gap"]
    assert microphone.channels == 1
