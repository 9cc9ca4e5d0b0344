"""The live view tells every state of the engine, driven by a real microphone's script of faults."""

import io
import itertools
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.terminal import rows_of, terminal
from ser_live import Prediction
from ser_live.cli.view import LiveView
from ser_live.cli.view.frame import Frame
from ser_live.cli.view.headline import letters
from ser_live.cli.view.tracker import EVENT_SECONDS, EventQueue, ViewState
from ser_live.events import Event, EventKind
from ser_live.live.listener import Listener, LiveStep, listen
from ser_live.model.classifier import OnnxClassifier
from ser_live.recording import Recorder
from ser_live.sources import RawSource
from ser_live.testing import (
    Clipping,
    FakeMicrophone,
    Fault,
    Offset,
    Overrun,
    SlowModel,
    Unplug,
    VirtualClock,
    Zeros,
    demo_voice,
    tiny_card,
    write_tiny_model,
)

FRAME_SECONDS = 0.5


@dataclass(frozen=True)
class Shot:
    """A frame and what it was drawn from."""

    at: float
    state: ViewState
    rows: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.rows)

    @property
    def timeline(self) -> str:
        return self.rows[next(k for k, row in enumerate(self.rows) if "60 s ago" in row) - 1]

    def says(self, word: str) -> bool:
        """A word stands there in large letters."""
        drawn = letters(word, 200, large=False) or ["?"]
        return all(any(row.rstrip() in shown for shown in self.rows) for row in drawn)


class Film:
    """A view that is drawn twice a second of its microphone's time."""

    def __init__(self, listener: Listener[Prediction], size: tuple[int, int] = (80, 24)) -> None:
        clock = listener.source.clock  # type: ignore[attr-defined]
        assert isinstance(clock, VirtualClock)
        self.clock = clock
        self.shots: list[Shot] = []
        self.height = size[1]
        listener.open()
        self.view = LiveView(listener, "", terminal(*size), clock.monotonic)
        self.began_at = clock.monotonic()
        self._shoot()

    def _shoot(self) -> None:
        self.shots.append(shot(self.view, self.clock.monotonic() - self.began_at))
        assert len(self.shots[-1].rows) <= self.height
        self.clock.call_at(self.clock.monotonic() + FRAME_SECONDS, self._shoot)

    def at(self, seconds: float) -> Shot:
        return min(self.shots, key=lambda s: abs(s.at - seconds))


def shot(view: LiveView, at: float = 0.0) -> Shot:
    return Shot(at, view.state(), rows_of(view))


def filmed(
    model: Path | OnnxClassifier,
    faults: Sequence[Fault],
    seconds: float,
    size: tuple[int, int] = (80, 24),
    cpu_budget: float | None = None,
    clock: VirtualClock | None = None,
    block_seconds: float = 0.1,
    between: Callable[[Listener[Prediction], LiveStep], None] = lambda listener, step: None,
) -> Film:
    """Film a whole stream; ``between`` is called after each step."""
    microphone = FakeMicrophone(
        demo_voice(), faults, seconds=seconds, block_seconds=block_seconds, clock=clock
    )
    listener = listen(
        microphone, model=model, cpu_budget=cpu_budget, clock=microphone.clock.monotonic
    )
    film = Film(listener, size)
    for step in listener.steps():
        film.view.update(step)
        between(listener, step)
    return film


def gaps(timeline: str) -> int:
    return timeline.count("×")  # noqa: RUF001 - that is the sign


def test_a_lost_microphone_is_the_headline_and_counts_while_nothing_comes(tiny_model: Path) -> None:
    film = filmed(tiny_model, [Unplug(6.0, 12.0)], 30.0, block_seconds=0.02)
    away = [shot for shot in film.shots if 6.5 <= shot.at <= 18.0]
    assert len(away) >= 22
    for shown in away:
        assert shown.says("microphone lost")
        assert "trying to open it again" in shown.text
        assert re.search(rf"for {math.floor(shown.at - 5.99)} s ·", shown.text)
        assert abs(gaps(shown.timeline) - (shown.at - 6.0) / 60 * 76) <= 1.5
        missing = re.search(r"lost +(\d+\.\d) s missing", shown.text)
        assert missing is not None
        assert float(missing[1]) == pytest.approx(shown.at - 6.0, abs=0.2)
        assert "%" not in shown.text
    after = film.at(20.0)
    assert not after.says("microphone lost")
    assert "device restored  fake microphone: back after 12." in after.text
    assert re.search(r"lost +1 restart, 12\.\d s missing", after.text)
    assert abs(gaps(after.timeline) - 12.9 / 60 * 76) <= 1.5
    assert "gap  12." in film.at(22.5).text


def test_the_timeline_neither_jumps_nor_stops_when_the_microphone_is_back(tiny_model: Path) -> None:
    film = filmed(tiny_model, [Unplug(6.0, 4.0)], 20.0)
    seconds = [shot.state.seconds for shot in film.shots]
    steps = [b - a for a, b in itertools.pairwise(seconds)]
    assert min(steps) >= 0.0
    assert max(steps) <= 3 * FRAME_SECONDS


def test_what_was_recognized_before_a_hole_is_not_shown_after_it(tiny_model: Path) -> None:
    film = filmed(tiny_model, [Unplug(2.75, 4.0)], 12.0)
    assert film.at(2.5).state.prediction is not None
    back = next(shot for shot in film.shots if shot.at > 4.0 and shot.state.problem is None)
    assert back.state.prediction is None or back.state.prediction.end_seconds > 6.75


def test_a_muted_microphone_is_the_headline_with_its_hint(tiny_model: Path) -> None:
    film = filmed(tiny_model, [Zeros(3.0, 6.0)], 14.0)
    for at in (5.5, 7.5, 8.5):
        shown = film.at(at)
        assert shown.says("no signal")
        assert re.search(rf"for {math.floor(at - 3.0)} s · (see|allow|is it) ", shown.text)
        assert re.search(r"level +─+  no signal", shown.text)
    assert not film.at(4.0).says("no signal")
    assert not film.at(9.75).says("no signal")


def test_clipping_and_an_offset_are_told_with_their_hints(tiny_model: Path) -> None:
    film = filmed(tiny_model, [Clipping(1.0, 2.0), Offset(8.0, 6.0)], 16.0)
    texts = [shot.text for shot in film.shots]
    assert any("● input clipping" in text and "lower the input level" in text for text in texts)
    assert any("● input offset" in text and "try another input or cable" in text for text in texts)
    assert "CLIPPING" in film.at(2.5).text
    assert "CLIPPING" not in film.at(7.0).text


def test_overruns_are_counted_and_mark_what_they_degrade(tiny_model: Path) -> None:
    film = filmed(tiny_model, [Overrun(2.5, 0.05)], 8.0)
    shown = film.at(3.5)
    assert "1 overrun" in shown.text
    assert "degraded by lost audio" in shown.text
    assert shown.timeline.rstrip().endswith("▄")
    assert "degraded by lost audio" not in film.at(7.5).text


def test_a_slow_model_is_behind_and_leaves_predictions_out(tiny_model: Path) -> None:
    clock = VirtualClock()
    model = SlowModel(OnnxClassifier.load(tiny_model), 0.6, clock)
    film = filmed(model, [], 20.0, clock=clock)
    behind = [shot for shot in film.shots if shot.state.behind_seconds]
    assert behind
    assert all(f"{s.state.behind_seconds:.1f} s behind" in s.text for s in behind)
    assert any("● overload" in s.text for s in behind)
    assert re.search(r"lost .*\d+ left out", film.shots[-1].text)
    source = film.shots[-1].state.stats.source
    assert source.captured == source.processed + source.dropped + source.buffered
    dropped = f"{source.dropped:,} dropped".replace(",", " ")
    assert dropped in film.shots[-1].text


def test_predictions_that_were_left_out_leave_their_marks(tiny_model: Path) -> None:
    clock = VirtualClock()
    model = SlowModel(OnnxClassifier.load(tiny_model), 0.0, clock)

    def sleep(_: Listener[Prediction], step: LiveStep) -> None:
        if 2.75 <= step.seconds < 2.78:  # a reader that sleeps: nothing is lost but the present
            clock.advance(3.0)

    film = filmed(model, [], 12.0, clock=clock, block_seconds=0.02, between=sleep)
    assert "-" in film.shots[-1].timeline
    assert gaps(film.shots[-1].timeline) == 0


def test_a_wider_hop_is_told(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    monkeypatch.setattr(time, "thread_time", clock.monotonic)
    model = SlowModel(OnnxClassifier.load(tiny_model), 0.1, clock)
    film = filmed(model, [], 12.0, cpu_budget=0.1, clock=clock)
    assert "hop 0.25 s" in film.at(2.0).rows[1]
    told = film.at(6.0)
    assert "hop 0.5 s to save energy" in told.text
    assert "● hop changed  a prediction every 0.5 s" in told.text
    assert "are allowed" in told.text
    assert "-" not in film.at(11.0).timeline


def test_another_model_takes_over_with_labels_of_its_own(tiny_model: Path, tmp_path: Path) -> None:
    other = write_tiny_model(
        tmp_path / "b.onnx", tiny_card(name="other", labels=("bored", "proud"))
    )

    def swap(listener: Listener[Prediction], step: LiveStep) -> None:
        if 3.5 <= step.seconds < 3.51:
            listener.swap(other)

    shown = filmed(tiny_model, [], 9.0, between=swap).at(7.5)
    assert "other, hop" in shown.text
    assert "● model swapped  other instead of tiny" in shown.text
    assert "bored" in shown.text
    assert "neutral" not in shown.text
    assert shown.timeline.count("█") >= 4


def test_recording_is_marked_and_its_end_is_told(tiny_model: Path, tmp_path: Path) -> None:
    microphone = FakeMicrophone(demo_voice(), [Unplug(3.0, 1.0, sample_rate_hz=48000)], seconds=8.0)
    recorder = Recorder(microphone, tmp_path / "a.wav", model=tiny_model)
    listener = listen(recorder, model=tiny_model, clock=microphone.clock.monotonic)
    listener.open()
    view = LiveView(listener, "recording to a.wav", terminal(80, 24), microphone.clock.monotonic)
    steps = listener.steps()
    view.update(next(steps))
    shown = shot(view)
    assert "● REC" in shown.text
    assert "recording to a.wav" in shown.text
    for step in steps:
        view.update(step)
    shown = shot(view)
    assert "● REC" not in shown.text
    assert "the device came back with 48000 Hz" in shown.text


def test_a_pipe_without_samples_is_waited_for(tiny_model: Path) -> None:
    clock = VirtualClock()
    data = (demo_voice()[: 16000 * 3] * 32767).astype("<i2").tobytes()
    with listen(RawSource(io.BytesIO(data)), model=tiny_model) as listener:
        view = LiveView(listener, "", terminal(80, 24), clock.monotonic)
        assert "waiting for sound" in shot(view).text
        steps = listener.steps()
        while view.state().seconds < 2.9:
            view.update(next(steps))
        assert "confidence" in shot(view).text
        clock.advance(7.3)
        assert shot(view).says("waiting")
        assert "no audio for 7 s" in shot(view).text


@pytest.mark.parametrize("size", [(60, 18), (120, 40)])
def test_nothing_jumps_whatever_happens(tiny_model: Path, size: tuple[int, int]) -> None:
    faults: list[Fault] = [Clipping(1.0, 1.0), Unplug(5.0, 3.0), Zeros(12.0, 3.0), Overrun(20, 0.5)]
    film = filmed(tiny_model, faults, 24.0, size)
    for word in ("neutral", "60 s ago", "level", "latency", "frames", "lost"):
        rows = {
            next(k for k, row in enumerate(shot.rows) if row.strip().startswith(word))
            for shot in film.shots
        }
        assert len(rows) == 1, word


class TestEventQueue:
    def test_events_at_once_have_their_turns_and_the_last_fades(self) -> None:
        queue = EventQueue()
        kinds: list[EventKind] = ["device_restored", "gap", "input_offset"]
        for kind in kinds:
            queue.add(Event(kind, 0.0, ""), 100.0)
        told = [(queue.at(100.0 + t / 2), t / 2) for t in range(60)]
        shown = [item.kind for (item, _), _ in told if item is not None]
        assert list(dict.fromkeys(shown)) == kinds
        assert min(shown.count(kind) for kind in kinds) >= 4
        last = max(t for (item, _), t in told if item is not None)
        assert last == pytest.approx(5.0 + EVENT_SECONDS, abs=0.5)

    def test_one_of_its_kind_is_replaced_at_once(self) -> None:
        queue = EventQueue()
        for number in range(50):
            queue.add(Event("gap", 0.0, str(number)), 100.0 + 0.1 * number)
        item, age_seconds = queue.at(105.0)
        assert item is not None
        assert item.detail == "49"
        assert age_seconds < 1.0

    def test_in_a_flood_no_event_waits_for_ever(self) -> None:
        queue = EventQueue()
        kinds: list[EventKind] = ["gap", "overload"]
        for number in range(200):
            queue.add(Event(kinds[number % 2], 0.0, str(number)), 100.0)
        item, _ = queue.at(106.0)
        assert item is not None
        assert item.detail == "199"


def test_the_level_is_that_of_the_last_moment(tiny_model: Path) -> None:
    with listen(RawSource(io.BytesIO()), model=tiny_model) as listener:
        view = LiveView(listener, "", terminal(80, 24))
        view.update(LiveStep((), 1.0, 0.7, 0.1))
        assert "CLIPPING" in shot(view).text
        view.update(LiveStep((), 0.1, 0.05, 2.0))
        assert "-26 dBFS, peak -20" in shot(view).text
        assert "CLIPPING" not in shot(view).text


def test_ctrl_c_while_it_starts_gives_the_screen_back(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Frame, "rows", interrupt)
    with listen(RawSource(io.BytesIO()), model=tiny_model) as listener:
        view = LiveView(listener, "", terminal(80, 24))
        with pytest.raises(KeyboardInterrupt), view:
            pass
        monkeypatch.undo()
    view.console.file.seek(0)
    written = view.console.file.read()
    assert written.count("\x1b[?1049h") == written.count("\x1b[?1049l") == 1


def test_channels_apart_stand_one_above_the_other(tiny_model: Path, tmp_path: Path) -> None:
    voice = demo_voice()[: 8 * 16000]
    soundfile.write(tmp_path / "call.wav", np.stack([voice, np.zeros_like(voice)], axis=1), 16000)
    with listen(tmp_path / "call.wav", model=tiny_model, use_channels="split") as listener:
        view = LiveView(listener, "", terminal(100, 30))
        for step in listener.steps():
            view.update(step)
    rows = rows_of(view)
    assert len(rows) <= 30
    heads = [number for number, row in enumerate(rows) if "ser-live" in row]
    assert [rows[number].split("channel ")[1].split()[0] for number in heads] == ["left", "right"]
    below = rows[heads[1] :]
    assert any("SILENCE" in row for row in below)
    assert any(letter in row for row in rows[: heads[1]] for letter in "█▄▀")
