"""Hours of listening at a microphone, and the account of them."""

import argparse
import gc
import os
import time
from collections import Counter
from collections.abc import Iterator

from ser_live.events import Event
from ser_live.live.listener import Listener, LiveStep
from ser_live.model.classifier import OnnxClassifier
from ser_live.prediction import Prediction
from ser_live.sources import Block, Microphone, Notice
from ser_live.sources.capture_process import CaptureProcess
from ser_live.sources.microphone import OpenCapture
from tools.machine import Usage, children_usage, usage
from tools.report import CORE, Figure, Report, Table, growth, none, times_table

_SETTLED_SECONDS = 60.0
_MOST_GROWTH_MIB = 2.0
_STAGES = ("callback", "queue", "total", "lag")
_CALM_SECONDS = 5.0  # the first predictions wait for the device to begin


class Trend:
    """Straight line through any number of points by least squares, in constant memory.

    The sums are kept about the means (Welford), so that a day of points loses no digits.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean_x = self._mean_y = 0.0
        self._xx = self._xy = 0.0

    def add(self, x: float, y: float) -> None:
        """Add a point."""
        self._count += 1
        from_old_x = x - self._mean_x
        self._mean_x += from_old_x / self._count
        self._mean_y += (y - self._mean_y) / self._count
        self._xx += from_old_x * (x - self._mean_x)
        self._xy += from_old_x * (y - self._mean_y)

    @property
    def slope(self) -> float | None:
        """Rise per unit of x; None of less than two points."""
        return self._xy / self._xx if self._xx > 0.0 else None


class Soak:
    """A microphone that is listened to for hours, and the account of it.

    Parameters
    ----------
    seconds : float
        How long.
    microphone : Microphone
        Real, or in virtual time.
    listener : Listener
        Of that microphone, with events.
    """

    title = "Soak in real time"

    def __init__(
        self, seconds: float, microphone: Microphone, listener: Listener[Prediction | Event]
    ) -> None:
        self.seconds = seconds
        self.microphone, self.listener = microphone, listener
        self.events: Counter[str] = Counter()
        self.emotions = 0
        """Predictions of speech."""
        self.unaccounted_frames = 0
        """The most that captured - processed - dropped - buffered ever was."""
        self._before = own_usage()
        self._after_first_minute: Usage | None = None
        self._by_hour: list[tuple[float, float | None]] = []
        self._began_at = time.monotonic()

    @property
    def has_begun(self) -> bool:
        """There is something to report."""
        return hasattr(self.listener, "recognizer")

    @property
    def wall_seconds(self) -> float:
        """Time since the soak was made, or began to listen."""
        return time.monotonic() - self._began_at

    def steps(self) -> Iterator[float]:
        """Listen, and yield the seconds that have passed now and then."""
        self.listener.open()
        self._began_at = time.monotonic()
        self._steps = self.listener.steps()  # kept, so that the end of the loop closes nothing
        for step in self._steps:
            passed_seconds = self.check(step)
            self._look(passed_seconds)
            yield passed_seconds
            if passed_seconds >= self.seconds:
                return

    def check(self, step: LiveStep) -> float:
        """Hold what must always hold; return the seconds that have passed."""
        self.events.update(event.kind for event in step.events)
        self.emotions += sum(p.state in ("speech", "uncertain") for p in step.predictions)
        counters = self.microphone.counters
        missing = counters.captured - counters.processed - counters.dropped - counters.buffered
        self.unaccounted_frames = max(self.unaccounted_frames, abs(missing))
        return self.wall_seconds

    def report(self) -> Report:
        """Close everything, and report what came of it up to now."""
        stats, at_end, wall_seconds = self.listener.stats, own_usage(), self.wall_seconds
        own = self.figures(at_end)
        self.listener.close()
        first, threads = self._after_first_minute, (self._before.threads, own_usage().threads)
        counters, settled_mib = stats.source, None if first is None else first.resident_mib
        figures = [
            Figure("wall time", wall_seconds, "s"),
            Figure("predictions", stats.recognizer.predictions),
            Figure("of these with an emotion", self.emotions),
            Figure("of these degraded", stats.degraded),
            Figure("left out as too old", stats.skipped_predictions),
            Figure("frames captured", counters.captured),
            Figure("frames dropped, with a count", counters.dropped),
            none("frames unaccounted, at any moment", self.unaccounted_frames),
            *own,
            Figure("resident memory after the first minute", settled_mib or "not reached", "MiB"),
            Figure("resident memory at the end", at_end.resident_mib, "MiB"),
            growth("growth", settled_mib, at_end.resident_mib, _MOST_GROWTH_MIB),
            Figure("threads before, after", threads, "", "the same", threads[0] == threads[1]),
        ]
        return Report(self.title, self.listener.recognizer.card.name, figures, self.tables())

    def figures(self, at_end: Usage) -> list[Figure]:
        """Return the figures of this kind of soak, before everything is closed."""
        raise NotImplementedError

    def tables(self) -> dict[str, Table]:
        """Return the tables below the figures."""
        hours = Table(("hours", "resident MiB"), self._by_hour)
        return {"Events": times_table("kind", self.events), "Hour by hour": hours}

    def _look(self, seconds: float) -> None:
        if self._after_first_minute is None and seconds >= _SETTLED_SECONDS:
            self._after_first_minute = own_usage()
        if seconds >= 3600.0 * (len(self._by_hour) + 1):
            self._by_hour.append((seconds / 3600.0, own_usage().resident_mib))


def own_usage() -> Usage:
    """Return what this process uses, garbage excluded."""
    gc.collect()
    return usage(os.getpid())


class WatchedMicrophone(Microphone):
    """A microphone that remembers when its last block was captured, on the host's clock."""

    captured_at: float | None = None

    def __iter__(self) -> Iterator[Block | Notice]:
        for item in super().__iter__():
            if isinstance(item, Block):
                self.captured_at = item.end_captured_at
            yield item


class RealSoak(Soak):
    """Listen to a real microphone, as the options of the command say.

    ``open_capture`` is what captures, as in `Microphone`.
    """

    microphone: WatchedMicrophone

    def __init__(
        self,
        options: argparse.Namespace,
        model: OnnxClassifier,
        open_capture: OpenCapture = CaptureProcess,
    ) -> None:
        microphone = WatchedMicrophone(options.device, open_capture=open_capture)
        listener = Listener[Prediction | Event](microphone, model=model, events=True)
        super().__init__(options.seconds, microphone, listener)
        self._children_before = children_usage()
        self._stream_seconds = self._ahead_seconds = 0.0
        self._first: tuple[float, float] | None = None
        """The host's clock and the timeline at the first block."""
        self._drift, self._lag = Trend(), Trend()

    def check(self, step: LiveStep) -> float:
        """Compare the timeline with the host's clock, block by block."""
        self._stream_seconds = step.seconds
        for prediction in step.predictions:
            if prediction.lag_seconds is not None and prediction.end_seconds > _CALM_SECONDS:
                self._lag.add(prediction.end_seconds / 3600.0, 1000.0 * prediction.lag_seconds)
        captured_at = self.microphone.captured_at
        if captured_at is not None:
            self._first = self._first or (captured_at, step.seconds)
            host_seconds = captured_at - self._first[0]
            self._ahead_seconds = step.seconds - self._first[1] - host_seconds
            self._drift.add(host_seconds, 1e6 * self._ahead_seconds)
        return super().check(step)

    def figures(self, at_end: Usage) -> list[Figure]:
        """Return the figures of the device, of its clock and of the processor."""
        microphone, stats, capture = self.microphone, self.listener.stats, children_usage()
        stages = [stage for stage in stats.stages if stage.name in _STAGES]
        return [
            Figure("device", microphone.name),
            Figure("its format", f"{microphone.sample_rate_hz} Hz x {microphone.channels}"),
            Figure("stream", self._stream_seconds, "s"),
            Figure("overruns that the device reported", stats.source.overruns),
            Figure("restarts", stats.source.restarts),
            Figure("missing on the timeline", stats.missing_seconds, "s"),
            Figure("timeline ahead of the host's clock", 1000.0 * self._ahead_seconds, "ms"),
            Figure("slope of that", self._drift.slope, "ppm"),
            Figure("slope of the lag", self._lag.slope, "ms per hour"),
            Figure("processor, this process", at_end.core_share_since(self._before), CORE),
            Figure("processor, capture process",
                   capture.core_share_since(self._children_before), CORE),
            Figure("memory, capture process", capture.resident_mib, "MiB"),
            *(Figure(stage.name, stage) for stage in stages),
        ]  # fmt: skip
