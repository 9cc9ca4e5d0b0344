"""Hours at a real microphone."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from ser_live.events import Event
from ser_live.latency import StageLatency
from ser_live.live.listener import Listener
from ser_live.model.classifier import OnnxClassifier
from ser_live.prediction import Prediction
from ser_live.sources import Block, Microphone, Notice
from ser_live.sources.capture_process import CaptureProcess
from ser_live.sources.microphone import OpenCapture
from tools.conditions import Conditions, conditions
from tools.soak.resources import Course, Usage, Watch, usage
from tools.soak.trend import Trend

_STAGES = ("callback", "queue", "total", "lag")


@dataclass(frozen=True, slots=True)
class RealPlan:
    """What to run."""

    hours: float
    device: str | None = None
    """Name, part of a name or index; None: the default microphone."""


@dataclass(frozen=True, slots=True)
class Drift:
    """The timeline (frames by rate, and gaps) against the host's clock."""

    seconds: float
    """Over so long, by the host's clock."""
    ahead_ms: float
    """How far the timeline has run ahead of it; negative: behind."""
    parts_per_million: float | None
    """By least squares."""


@dataclass(frozen=True, slots=True)
class RealReport:
    """What came of it."""

    conditions: Conditions
    plan: RealPlan
    device: str
    sample_rate_hz: int
    channels: int
    wall_seconds: float
    stream_seconds: float
    missing_seconds: float
    predictions: int
    skipped_predictions: int
    degraded_predictions: int
    events: tuple[tuple[str, int], ...]
    captured_frames: int
    processed_frames: int
    dropped_frames: int
    unaccounted_frames: int
    """The most that captured - processed - dropped - buffered ever was."""
    overruns: int
    restarts: int
    drift: Drift | None
    engine_core_share: float
    """Processor time of this process by seconds."""
    capture_core_share: float | None
    """The same of the capture process; None: unknown on this system."""
    stages: tuple[StageLatency, ...]
    """callback, queue, total and lag."""
    course: Course
    threads_after: int
    """When all was closed."""


class _Watched(Microphone):
    """Compares the timeline with the host's clock, block by block."""

    def __init__(self, device: str | None, open_capture: OpenCapture) -> None:
        super().__init__(device, open_capture=open_capture)
        self.stream_seconds = 0.0
        self._trend = Trend()
        self._first: tuple[float, float] | None = None
        self._last = (0.0, 0.0)

    def __iter__(self) -> Iterator[Block | Notice]:
        for item in super().__iter__():
            if isinstance(item, Block):
                self._compare(item)
            yield item

    @property
    def drift(self) -> Drift | None:
        """What the comparison says up to now."""
        if self._first is None or self._trend.slope is None:
            return None
        host_seconds = self._last[0] - self._first[0]
        stream_seconds = self._last[1] - self._first[1]
        return Drift(
            seconds=host_seconds,
            ahead_ms=1000.0 * (stream_seconds - host_seconds),
            parts_per_million=1e6 * self._trend.slope,
        )

    def _compare(self, block: Block) -> None:
        frames = block.missing_frames + len(block.samples)
        self.stream_seconds += frames / self.sample_rate_hz
        if block.end_captured_at is not None:
            self._last = (block.end_captured_at, self.stream_seconds)
            self._first = self._first or self._last
            host_seconds = self._last[0] - self._first[0]
            self._trend.add(host_seconds, self.stream_seconds - self._first[1] - host_seconds)


class RealSoak:
    """Run a plan, step by step.

    Parameters
    ----------
    plan : RealPlan
        What to run.
    model : OnnxClassifier
        What recognizes.
    open_capture : callable
        What captures, as in `Microphone`.
    """

    def __init__(
        self,
        plan: RealPlan,
        model: OnnxClassifier,
        open_capture: OpenCapture = CaptureProcess,
    ) -> None:
        self.plan = plan
        self.seconds = plan.hours * 3600.0
        self._conditions = conditions(model.card.name)
        self._watch = Watch()
        self._microphone = _Watched(plan.device, open_capture)
        self._listener = Listener[Prediction | Event](self._microphone, model=model, events=True)
        self._happened: Counter[str] = Counter()
        self._predictions = 0
        self._unaccounted = 0
        self._began_at = time.monotonic()

    def steps(self) -> Iterator[float]:
        """Run, and give the seconds that have passed now and then."""
        self._listener.open()
        self._began_at = time.monotonic()
        self._steps = self._listener.steps()  # kept, so that the end of the loop closes nothing
        for step in self._steps:
            self._happened.update(event.kind for event in step.events)
            self._predictions += len(step.predictions)
            counters = self._microphone.counters
            missing = counters.captured - counters.processed - counters.dropped - counters.buffered
            self._unaccounted = max(self._unaccounted, abs(missing))
            passed_seconds = time.monotonic() - self._began_at
            self._watch.look(passed_seconds)
            yield passed_seconds
            if passed_seconds >= self.seconds:
                return

    @property
    def has_begun(self) -> bool:
        """There is something to report."""
        return hasattr(self._listener, "recognizer")

    def report(self) -> RealReport:
        """Say what came of it up to now, and close everything."""
        wall_seconds = time.monotonic() - self._began_at
        course, stats = self._watch.course(), self._listener.stats
        self._listener.close()
        counters, before, after = stats.source, course.before, course.at_end
        own_seconds = after.processor_seconds - before.processor_seconds
        return RealReport(
            conditions=self._conditions,
            plan=self.plan,
            device=self._microphone.name,
            sample_rate_hz=self._microphone.sample_rate_hz,
            channels=self._microphone.channels,
            wall_seconds=wall_seconds,
            stream_seconds=self._microphone.stream_seconds,
            missing_seconds=stats.missing_seconds,
            predictions=self._predictions,
            skipped_predictions=stats.skipped_predictions,
            degraded_predictions=stats.degraded,
            events=tuple(sorted(self._happened.items())),
            captured_frames=counters.captured,
            processed_frames=counters.processed,
            dropped_frames=counters.dropped,
            unaccounted_frames=self._unaccounted,
            overruns=counters.overruns,
            restarts=counters.restarts,
            drift=self._microphone.drift,
            engine_core_share=own_seconds / wall_seconds,
            capture_core_share=_share_of_children(before, after, wall_seconds),
            stages=tuple(stage for stage in stats.stages if stage.name in _STAGES),
            course=course,
            threads_after=usage().threads,
        )


def _share_of_children(before: Usage, after: Usage, seconds: float) -> float | None:
    first, last = before.children_processor_seconds, after.children_processor_seconds
    return None if first is None or last is None else (last - first) / seconds
