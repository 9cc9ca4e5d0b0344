"""A day of a microphone's life in virtual time, with everything that goes wrong."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ser_live.events import Event
from ser_live.latency import LatencyHistogram, StageLatency
from ser_live.live.listener import Listener, LiveStep
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_live.model.classifier import OnnxClassifier
from ser_live.prediction import Prediction
from ser_live.testing import FakeMicrophone, Signal, SlowModel, VirtualClock, demo_voice
from tools.conditions import Conditions, conditions
from tools.soak.resources import Course, Watch, usage
from tools.soak.script import CHANNELS, RATE_HZ, Slowness, script
from tools.soak.trend import Trend

_SILENT_SECONDS = 40.0
_ROOM_RMS = 1e-4
_BLOCK_SECONDS = 0.05  # where in a block a hop ends, after a gap, is chance, and moves the lag


@dataclass(frozen=True, slots=True)
class VirtualPlan:
    """What to run."""

    hours: float
    faults_per_hour: float = 60.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class VirtualReport:
    """What came of it."""

    conditions: Conditions
    plan: VirtualPlan
    wall_seconds: float
    stream_hours: float
    predictions: int
    skipped_predictions: int
    degraded_predictions: int
    faults: tuple[tuple[str, int], ...]
    """Kind, and how often it took effect."""
    events: tuple[tuple[str, int], ...]
    captured_frames: int
    processed_frames: int
    dropped_frames: int
    """Given up with a count, for whatever reason."""
    unaccounted_frames: int
    """The most that captured - processed - dropped - buffered ever was."""
    uncounted_frames: int
    """The most that the device gave and nobody counted as captured."""
    device_losses: int
    recoveries: int
    gaps: int
    gap_error_seconds: float
    """The most by which the length of a gap was wrong."""
    timeline_error_seconds: float
    """How far the timeline was from the device's time in the end."""
    course: Course
    threads_after: int
    """When all was closed."""
    lag: StageLatency
    """Of all predictions, those included that waited for a lost device to come back."""
    lag_p50_seconds_by_hour: tuple[float, ...]
    lag_slope_ms_per_hour: float | None
    """By least squares, in the usual format, without those that waited for a lost device."""


class VirtualSoak:
    """Run a plan, step by step.

    Parameters
    ----------
    plan : VirtualPlan
        What to run.
    model : OnnxClassifier
        What recognizes.
    """

    def __init__(self, plan: VirtualPlan, model: OnnxClassifier) -> None:
        self.plan = plan
        self._conditions = conditions(model.card.name)
        self._watch = Watch()
        self._clock = VirtualClock()
        self._model = SlowModel(model, 0.0, self._clock)
        self.seconds = plan.hours * 3600.0
        lot = script(self.seconds, plan.faults_per_hour, plan.seed)
        self._sleeps = list(reversed(lot.sleeps))
        self._slow_models = lot.slow_models
        self._microphone = FakeMicrophone(
            _voice_and_silence(),
            lot.faults,
            sample_rate_hz=RATE_HZ,
            channels=CHANNELS,
            seconds=self.seconds,
            block_seconds=_BLOCK_SECONDS,
            clock=self._clock,
            seed=plan.seed,
        )
        self._listener = Listener[Prediction | Event](
            self._microphone, model=self._model, events=True, clock=self._clock.monotonic
        )
        self._happened: Counter[str] = Counter()
        self._slowed: Counter[str] = Counter()
        self._unaccounted = self._uncounted = 0
        self._error_seconds: float | None = None
        self._gap_error_seconds = 0.0
        self._lag_trend = Trend()
        self._lag_of_hour = LatencyHistogram()
        self._lag_by_hour: list[float] = []
        self._began_at = time.monotonic()

    def steps(self) -> Iterator[float]:
        """Run, and give the stream's length now and then."""
        began_at = self._clock.monotonic()
        for slow in self._slow_models:
            self._clock.call_at(began_at + slow.at_seconds, partial(self._slow, slow))
        for step in self._listener.steps():
            self._check(step)
            waited = any(event.kind == "gap" for event in step.events)
            for item in step.items:
                self._take(item, waited=waited)
            self._watch.look(step.seconds)
            yield self._microphone.device_seconds

    @property
    def has_begun(self) -> bool:
        """There is something to report."""
        return hasattr(self._listener, "recognizer")

    def report(self) -> VirtualReport:
        """Say what came of it up to now, and close everything."""
        course, stats = self._watch.course(), self._listener.stats
        self._listener.close()
        counters = stats.source
        faults = Counter(type(fault).__name__ for fault in self._microphone.hardware.felt)
        return VirtualReport(
            conditions=self._conditions,
            plan=self.plan,
            wall_seconds=time.monotonic() - self._began_at,
            stream_hours=self._microphone.hardware.end_seconds / 3600.0,
            predictions=stats.recognizer.predictions,
            skipped_predictions=stats.skipped_predictions,
            degraded_predictions=stats.degraded,
            faults=tuple(sorted((faults + self._slowed).items())),
            events=tuple(sorted(self._happened.items())),
            captured_frames=counters.captured,
            processed_frames=counters.processed,
            dropped_frames=counters.dropped,
            unaccounted_frames=self._unaccounted,
            uncounted_frames=self._uncounted,
            device_losses=self._happened["device_lost"],
            recoveries=counters.restarts,
            gaps=self._happened["gap"],
            gap_error_seconds=self._gap_error_seconds,
            timeline_error_seconds=abs(self._error_seconds or 0.0),
            course=course,
            threads_after=usage().threads,
            lag=next(stage for stage in stats.stages if stage.name == "lag"),
            lag_p50_seconds_by_hour=tuple(self._lag_by_hour),
            lag_slope_ms_per_hour=_in_ms_per_hour(self._lag_trend.slope),
        )

    def _check(self, step: LiveStep) -> None:
        """Hold what must always hold against the device's own book-keeping."""
        counters, hardware = self._microphone.counters, self._microphone.hardware
        missing = counters.captured - counters.processed - counters.dropped - counters.buffered
        self._unaccounted = max(self._unaccounted, abs(missing))
        self._uncounted = max(self._uncounted, abs(hardware.captured_frames - counters.captured))
        if counters.buffered == 0:
            error = step.seconds - (hardware.end_seconds - hardware.untold_seconds)
            # Only a gap of the wrong length can move the timeline.
            moved = abs(error - (self._error_seconds or 0.0))
            self._gap_error_seconds = max(self._gap_error_seconds, moved)
            self._error_seconds = error

    def _take(self, item: Prediction | Event, *, waited: bool) -> None:
        if isinstance(item, Event):
            self._happened[item.kind] += 1
            return
        # Every rate has another delay in the resampler: compare like with like.
        is_usual = self._microphone.sample_rate_hz == RATE_HZ and not waited
        if item.lag_seconds is not None and is_usual:
            self._lag_trend.add(item.end_seconds / 3600.0, item.lag_seconds)
            self._lag_of_hour.add(item.lag_seconds)
        if item.end_seconds >= 3600.0 * (len(self._lag_by_hour) + 1):
            self._lag_by_hour.append(self._lag_of_hour.quantile_seconds(0.5))
            self._lag_of_hour.reset()
        if self._sleeps and item.end_seconds >= self._sleeps[-1].at_seconds:
            self._slowed["SlowReader"] += 1
            self._clock.advance(self._sleeps.pop().seconds)

    def _slow(self, slow: Slowness) -> None:
        self._slowed["SlowModel"] += 1
        self._model.seconds = slow.seconds
        until = self._clock.monotonic() + slow.duration_seconds
        self._clock.call_at(until, self._quicken)

    def _quicken(self) -> None:
        self._model.seconds = 0.0


def _voice_and_silence() -> Signal:
    """Give a minute, over and over: the demo voice, then a quiet room."""
    room = np.random.default_rng(0).normal(0.0, _ROOM_RMS, round(_SILENT_SECONDS * SAMPLE_RATE_HZ))
    loop = np.concatenate((demo_voice(SAMPLE_RATE_HZ), room.astype(np.float32)))

    def at(times: NDArray[np.float64]) -> NDArray[np.float32]:
        heard: NDArray[np.float32] = loop[(times * SAMPLE_RATE_HZ).astype(np.int64) % loop.size]
        return heard

    return at


def _in_ms_per_hour(slope: float | None) -> float | None:
    return None if slope is None else 1000.0 * slope
