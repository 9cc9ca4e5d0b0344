"""Follow a stream step by step, and tell at any moment what the live view shows of it."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ser_live.events import Event
from ser_live.live.listener import Listener, LiveStats, LiveStep
from ser_live.model.card import ModelCard
from ser_live.prediction import Prediction
from ser_live.recording import Recorder

TIMELINE_SECONDS = 60.0
"""Length of the timeline."""
EVENT_SECONDS = 11.0
"""Time that the newest event is shown, fading."""

_TURN_SECONDS = 2.5
_WAIT_SECONDS = 5.0
_LEVEL_SECONDS = 0.25
_CLIP_SECONDS = 1.5
_SILENT_AMPLITUDE = 1e-5
_NO_AUDIO_SECONDS = 1.5
# The listener fills shorter gaps with zeros: the predictions around them are degraded.
_SHORT_GAP_SECONDS = 0.1
_BEHIND_SECONDS = 1.0
_EVENTS_KEPT = 8


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the timeline."""

    start_seconds: float
    end_seconds: float
    prediction: Prediction | None
    """None: the audio is missing."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is nothing to recognize just now."""

    kind: Literal["device_lost", "input_silent", "no_audio"]
    seconds: float
    """Duration up to now."""
    detail: str = ""
    """Detail of its event; empty without one."""


@dataclass(frozen=True, slots=True)
class ViewState:
    """Everything that one frame shows."""

    source: str
    """Name of the source, its rate and channels."""
    card: ModelCard
    """Card of the model."""
    hop_seconds: float
    """From one prediction to the next."""
    is_hop_widened: bool
    """More than asked for, to save energy."""
    notice: str
    """A sentence that must not be overlooked, or nothing."""
    is_recording: bool
    """The audio is kept on disk."""
    note: str
    """The latest of what the source wants a person to know, or nothing."""
    prediction: Prediction | None
    """The latest one; None before the first and just after a gap."""
    seconds: float
    """Length of the stream; goes on while the device is away."""
    held_seconds: float
    """Age of the present label or state."""
    timeline: tuple[Span, ...]
    """The last minute."""
    problem: Problem | None
    """Why there is nothing to recognize; None while there is."""
    away_seconds: float
    """Time since the device was lost; 0 while it is there."""
    behind_seconds: float
    """Audio that waits, if that is more than usual; else 0."""
    event: Event | None
    """The event to tell of now."""
    event_seconds: float
    """Time since it was told first."""
    events: tuple[Event, ...]
    """The latest ones, the newest first."""
    rms_dbfs: float
    """Level of the last moment."""
    peak_dbfs: float
    is_clipping: bool
    """Samples have reached full scale lately."""
    stats: LiveStats


class EventQueue:
    """Tell of one event at a time: each has its turn, the newest stays until it has faded."""

    def __init__(self) -> None:
        self._turns: deque[tuple[float, Event]] = deque()

    def add(self, event: Event, now: float) -> None:
        """Put an event behind the others; it takes the place of one of its kind."""
        turn_at = now
        if self._turns:
            last_at, last = self._turns[-1]
            turn_at = last_at + _TURN_SECONDS
            if last.kind == event.kind:
                self._turns.pop()
                turn_at = last_at
        self._turns.append((min(max(now, turn_at), now + _WAIT_SECONDS), event))

    def at(self, now: float) -> tuple[Event | None, float]:
        """Return the event whose turn it is, and for how long that has been so."""
        while len(self._turns) > 1 and self._turns[1][0] <= now:
            self._turns.popleft()
        if not self._turns or not 0.0 <= now - self._turns[0][0] < EVENT_SECONDS:
            return None, 0.0
        return self._turns[0][1], now - self._turns[0][0]


class Tracker:
    """Follow a listener, and tell at any moment what a frame shows.

    Parameters
    ----------
    listener : Listener
        Open.
    notice : str
        A sentence that must not be overlooked, or nothing.
    clock : callable
        Returns the time in seconds that only grow.
    channel : str or None
        The channel to follow, where several are recognized apart.
    """

    def __init__(
        self,
        listener: Listener[Any],
        notice: str,
        clock: Callable[[], float],
        channel: str | None = None,
    ) -> None:
        self.listener = listener
        self.channel = channel
        self.notice = notice
        self.clock = clock
        self._timeline: deque[Span] = deque()
        self._prediction: Prediction | None = None
        self._changed_at_seconds = 0.0
        self._seconds = 0.0
        self._missing_seconds = 0.0
        self._gap_end_seconds = 0.0
        self._came_at = self.clock()
        self._levels: deque[LiveStep] = deque()
        self._clipped_at_seconds = -math.inf
        self._sounded_at_seconds = 0.0
        self._lost: Event | None = None
        self._silent: Event | None = None
        self._events: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self._queue = EventQueue()

    def process(self, step: LiveStep) -> None:
        """Take the next step."""
        now = self.clock()
        if step.seconds > self._seconds:
            self._came_at = now
            self._seconds = step.seconds
            self._lost = None
            self._take_level(step)
        for event in step.events:
            self._take_event(event, now)
        for prediction in step.predictions:
            if prediction.channel == self.channel:
                self._take_prediction(prediction)
        oldest_seconds = self._seconds - TIMELINE_SECONDS
        while self._timeline and self._timeline[0].end_seconds <= oldest_seconds:
            self._timeline.popleft()

    def state(self) -> ViewState:
        """Return what a frame would show now."""
        source, recognizer = self.listener.source, self.listener.recognizer
        now, stats = self.clock(), self.listener.stats
        behind_seconds = stats.source.buffered / source.sample_rate_hz
        problem = self._problem(now, behind_seconds)
        is_away = problem is not None and problem.kind == "device_lost"
        away_seconds = problem.seconds if problem is not None and is_away else 0.0
        seconds, timeline = self._seconds + away_seconds, tuple(self._timeline)
        if is_away:
            timeline += (Span(self._seconds, seconds, None),)
        channels = {1: "mono", 2: "stereo"}.get(source.channels, f"{source.channels} channels")
        channel = f"channel {self.channel} of " if self.channel else ""
        rate = f"{source.sample_rate_hz / 1000:g} kHz"
        event, event_seconds = self._queue.at(now)
        # A prediction from before a gap says nothing about the time after it.
        prediction = self._prediction
        if prediction is not None and prediction.end_seconds <= self._gap_end_seconds:
            prediction = None
        held_seconds = seconds - max(self._changed_at_seconds, self._gap_end_seconds)
        return ViewState(
            source=f"{channel}{source.name}, {rate} {channels}",
            card=recognizer.card,
            hop_seconds=recognizer.hop_seconds * recognizer.hops_per_prediction,
            is_hop_widened=recognizer.hops_per_prediction > 1,
            notice=self.notice,
            is_recording=isinstance(source, Recorder) and source.is_whole,
            note=source.notes[-1] if source.notes else "",
            prediction=prediction,
            seconds=seconds,
            held_seconds=max(0.0, held_seconds),
            timeline=timeline,
            problem=problem,
            away_seconds=away_seconds,
            behind_seconds=behind_seconds if behind_seconds > _BEHIND_SECONDS else 0.0,
            event=event,
            event_seconds=event_seconds,
            events=tuple(reversed(self._events)),
            rms_dbfs=_dbfs(max((step.rms for step in self._levels), default=0.0)),
            peak_dbfs=_dbfs(max((step.peak for step in self._levels), default=0.0)),
            is_clipping=seconds - self._clipped_at_seconds < _CLIP_SECONDS,
            stats=stats,
        )

    def _take_level(self, step: LiveStep) -> None:
        self._levels.append(step)
        while self._levels[0].seconds <= step.seconds - _LEVEL_SECONDS:
            self._levels.popleft()
        if step.is_clipping:
            self._clipped_at_seconds = step.seconds
        # Samples that are all the same, zero or not, are no sound.
        if abs(step.peak - step.rms) > _SILENT_AMPLITUDE:
            self._silent = None
            self._sounded_at_seconds = step.seconds

    def _take_event(self, event: Event, now: float) -> None:
        self._events.append(event)
        if event.kind == "gap":
            total_seconds = self.listener.stats.missing_seconds
            missing_seconds = total_seconds - self._missing_seconds
            self._missing_seconds = total_seconds
            end_seconds = event.at_seconds + missing_seconds
            if missing_seconds > _SHORT_GAP_SECONDS:
                self._timeline.append(Span(event.at_seconds, end_seconds, None))
                self._gap_end_seconds = end_seconds
        # A lasting problem is told where the emotion stands, for as long as it lasts.
        if event.kind == "device_lost":
            self._lost = event
        elif event.kind == "input_silent":
            self._silent = event
        else:
            self._queue.add(event, now)

    def _take_prediction(self, prediction: Prediction) -> None:
        recognizer = self.listener.recognizer
        before = self._timeline[-1].end_seconds if self._timeline else 0.0
        start_seconds = (
            prediction.end_seconds - recognizer.hop_seconds * recognizer.hops_per_prediction
        )
        if before < prediction.end_seconds:
            start_seconds = max(before, start_seconds)
        self._timeline.append(Span(start_seconds, prediction.end_seconds, prediction))
        self._prediction = prediction
        if prediction.changed:
            self._changed_at_seconds = prediction.end_seconds

    def _problem(self, now: float, behind_seconds: float) -> Problem | None:
        quiet_seconds = max(0.0, now - self._came_at)
        if self._lost is not None:
            return Problem("device_lost", quiet_seconds, self._lost.detail)
        if quiet_seconds > _NO_AUDIO_SECONDS and behind_seconds < _BEHIND_SECONDS:
            return Problem("no_audio", quiet_seconds)
        if self._silent is not None:
            seconds = self._seconds - self._sounded_at_seconds
            return Problem("input_silent", seconds, self._silent.detail)
        return None


def _dbfs(amplitude: float) -> float:
    return 20.0 * math.log10(max(amplitude, 1e-6))
