"""What the live view knows of a stream, at any moment."""

import math
from collections import deque
from collections.abc import Callable
from typing import Any

from ser_live.cli.view.event_queue import NewsTurns
from ser_live.cli.view.state import TIMELINE_SECONDS, Stretch, Trouble, ViewState
from ser_live.events import Event
from ser_live.live.listener import Listener, LiveStep
from ser_live.prediction import Prediction
from ser_live.recording import Recorder

_LEVEL_SECONDS = 0.25
_CLIP_SECONDS = 1.5
_SILENT_AMPLITUDE = 1e-5
_NO_AUDIO_SECONDS = 1.5
# The listener fills shorter holes with zeros: the predictions around them are degraded.
_SHORT_HOLE_SECONDS = 0.1
_BEHIND_SECONDS = 1.0
_EVENTS_KEPT = 12


class Watch:
    """Follow a listener step by step, and tell at any moment what is known.

    Parameters
    ----------
    listener : Listener
        Open.
    notice : str
        A sentence that must not be overlooked, or nothing.
    clock : callable
        What time it is, in seconds that only grow.
    """

    def __init__(self, listener: Listener[Any], notice: str, clock: Callable[[], float]) -> None:
        self.listener = listener
        self.notice = notice
        self.clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget what was heard: as new."""
        self._timeline: deque[Stretch] = deque()
        self._prediction: Prediction | None = None
        self._changed_at_seconds = 0.0
        self._seconds = 0.0
        self._missing_seconds = 0.0
        self._hole_end_seconds = 0.0
        self._heard_at = self.clock()
        self._levels: deque[LiveStep] = deque()
        self._clipped_at_seconds = -math.inf
        self._sounded_at_seconds = 0.0
        self._lost: Event | None = None
        self._silent: Event | None = None
        self._events: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self._news = NewsTurns()

    def process(self, step: LiveStep) -> None:
        """Take the next step."""
        now = self.clock()
        if step.seconds > self._seconds:
            self._heard_at = now
            self._seconds = step.seconds
            self._lost = None
            self._hear_level(step)
        for event in step.events:
            self._take_event(event, now)
        for prediction in step.predictions:
            self._take_prediction(prediction)
        oldest_seconds = self._seconds - TIMELINE_SECONDS
        while self._timeline and self._timeline[0].end_seconds <= oldest_seconds:
            self._timeline.popleft()

    def state(self) -> ViewState:
        """Give what a frame would show now."""
        source, recognizer = self.listener.source, self.listener.recognizer
        now, stats = self.clock(), self.listener.stats
        behind_seconds = stats.source.buffered / source.sample_rate_hz
        trouble = self._trouble(now, behind_seconds)
        seconds, timeline = self._seconds, tuple(self._timeline)
        if trouble is not None and trouble.kind == "device_lost":
            seconds += trouble.seconds
            timeline += (Stretch(self._seconds, seconds, None),)
        channels = {1: "mono", 2: "stereo"}.get(source.channels, f"{source.channels} channels")
        news, news_seconds = self._news.at(now)
        # What was recognized before a hole says nothing about the time after it.
        prediction = self._prediction
        if prediction is not None and prediction.end_seconds <= self._hole_end_seconds:
            prediction = None
        held_seconds = seconds - max(self._changed_at_seconds, self._hole_end_seconds)
        return ViewState(
            source=source.name,
            format=f"{source.sample_rate_hz / 1000:g} kHz {channels}",
            model=recognizer.card.name,
            hop_seconds=recognizer.hop_seconds * recognizer.hops_per_prediction,
            is_hop_widened=recognizer.hops_per_prediction > 1,
            warm_up_seconds=recognizer.card.window.warm_up_seconds,
            notice=self.notice,
            is_recording=isinstance(source, Recorder) and source.is_whole,
            note=source.notes[-1] if source.notes else "",
            labels=recognizer.labels,
            prediction=prediction,
            seconds=seconds,
            held_seconds=max(0.0, held_seconds),
            timeline=timeline,
            trouble=trouble,
            behind_seconds=behind_seconds if behind_seconds > _BEHIND_SECONDS else 0.0,
            news=news,
            news_seconds=news_seconds,
            events=tuple(reversed(self._events)),
            rms_dbfs=_dbfs(max((step.rms for step in self._levels), default=0.0)),
            peak_dbfs=_dbfs(max((step.peak for step in self._levels), default=0.0)),
            is_clipping=seconds - self._clipped_at_seconds < _CLIP_SECONDS,
            stats=stats,
        )

    def _hear_level(self, step: LiveStep) -> None:
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
            if missing_seconds > _SHORT_HOLE_SECONDS:
                self._timeline.append(Stretch(event.at_seconds, end_seconds, None))
                self._hole_end_seconds = end_seconds
        # What lasts is told where the emotion stands, for as long as it lasts.
        if event.kind == "device_lost":
            self._lost = event
        elif event.kind == "input_silent":
            self._silent = event
        else:
            self._news.add(event, now)

    def _take_prediction(self, prediction: Prediction) -> None:
        recognizer = self.listener.recognizer
        before = self._timeline[-1].end_seconds if self._timeline else 0.0
        start_seconds = (
            prediction.end_seconds - recognizer.hop_seconds * recognizer.hops_per_prediction
        )
        if before < prediction.end_seconds:
            start_seconds = max(before, start_seconds)
        self._timeline.append(Stretch(start_seconds, prediction.end_seconds, prediction))
        self._prediction = prediction
        if prediction.changed:
            self._changed_at_seconds = prediction.end_seconds

    def _trouble(self, now: float, behind_seconds: float) -> Trouble | None:
        quiet_seconds = max(0.0, now - self._heard_at)
        if self._lost is not None:
            return Trouble("device_lost", quiet_seconds, self._lost.detail)
        if quiet_seconds > _NO_AUDIO_SECONDS and behind_seconds < _BEHIND_SECONDS:
            return Trouble("no_audio", quiet_seconds, "")
        if self._silent is not None:
            seconds = self._seconds - self._sounded_at_seconds
            return Trouble("input_silent", seconds, self._silent.detail)
        return None


def _dbfs(amplitude: float) -> float:
    return 20.0 * math.log10(max(amplitude, 1e-6))
