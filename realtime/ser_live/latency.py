"""Latency quantiles in constant memory."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ser_live.prediction import Timing

STAGES = ("resample", "gate", "spectrum", "inference", "smoothing")

_FLOOR_SECONDS = 1e-7
_BUCKETS_PER_DECADE = 100
_DECADES = 11


@dataclass(frozen=True, slots=True)
class StageLatency:
    """Quantiles of one stage; a quantile is exact to 1.2 %, the maximum is exact."""

    name: str
    count: int
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float
    max_seconds: float


class LatencyHistogram:
    """Count durations in logarithmic buckets from 0.1 us to 10 000 s."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Clear all durations: as new."""
        self._counts = np.zeros(_BUCKETS_PER_DECADE * _DECADES, np.int64)
        self._max_seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration; negative ones (a clock that was set back) count as zero."""
        self._max_seconds = max(self._max_seconds, seconds)
        decades = math.log10(max(seconds, _FLOOR_SECONDS) / _FLOOR_SECONDS)
        self._counts[min(int(decades * _BUCKETS_PER_DECADE), self._counts.size - 1)] += 1

    def quantile_seconds(self, share: float) -> float:
        """Duration that a share of all durations does not exceed; 0 before the first."""
        total = int(self._counts.sum())
        if total == 0:
            return 0.0
        rank = max(1, math.ceil(share * total))
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        middle: float = _FLOOR_SECONDS * 10.0 ** ((bucket + 0.5) / _BUCKETS_PER_DECADE)
        return min(middle, self._max_seconds)

    def summary(self, name: str) -> StageLatency:
        """Return count, quantiles and maximum under a stage's name."""
        return StageLatency(
            name=name,
            count=int(self._counts.sum()),
            p50_seconds=self.quantile_seconds(0.50),
            p95_seconds=self.quantile_seconds(0.95),
            p99_seconds=self.quantile_seconds(0.99),
            max_seconds=self._max_seconds,
        )


class StageClock:
    """Measure the cost of each prediction, stage by stage.

    Stages may be entered any number of times before a prediction closes them; a stage that was
    not entered (inference in silence) is not counted.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._waited_seconds = self._queue_seconds = 0.0
        self._queue = LatencyHistogram()
        self._histograms = {name: LatencyHistogram() for name in (*STAGES, "total")}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Charge the body's wall-clock time to a stage of the prediction to come."""
        started = time.perf_counter()
        try:
            yield
        finally:
            passed = time.perf_counter() - started
            waited, self._waited_seconds = min(self._waited_seconds, passed), 0.0
            self._queue_seconds += waited
            self._seconds[name] = self._seconds.get(name, 0.0) + passed - waited

    def wait(self, seconds: float) -> None:
        """Charge seconds of the present stage to ``queue``: its network was busy with others."""
        self._waited_seconds += max(0.0, seconds)

    def close(self) -> Timing:
        """Return the cost of the present prediction and begin the next one."""
        timing = Timing(**{f"{name}_seconds": passed for name, passed in self._seconds.items()})
        if self._queue_seconds:
            self._queue.add(self._queue_seconds)
        self._seconds, self._queue_seconds = {}, 0.0
        self.count(timing)
        return timing

    def count(self, timing: Timing) -> None:
        """Count the cost of a prediction."""
        for name in STAGES:
            passed = getattr(timing, f"{name}_seconds")
            if passed > 0.0:
                self._histograms[name].add(passed)
        self._histograms["total"].add(timing.total_seconds)

    def summaries(self) -> tuple[StageLatency, ...]:
        """Return the quantiles of the stages, the total, and the queue where there was one."""
        stages = tuple(h.summary(name) for name, h in self._histograms.items())
        queue = self._queue.summary("queue")
        return (*stages, queue) if queue.count else stages


@dataclass(frozen=True, slots=True)
class AlgorithmicDelay:
    """Delay that no faster machine removes, by its causes."""

    resampler_seconds: float
    """Audio that the resampler holds back."""
    window_seconds: float
    """Half of the window: a change of emotion is seen when it fills half of it."""
    smoothing_seconds: float
    """Time constant of the smoothing."""

    @property
    def total_seconds(self) -> float:
        """Sum of the causes."""
        return self.resampler_seconds + self.window_seconds + self.smoothing_seconds


@dataclass(frozen=True, slots=True)
class RecognizerStats:
    """Counters and costs of a recognizer since it was made or reset."""

    predictions: int
    """Predictions returned."""
    samples_in: int
    """Samples per channel taken, at the caller's rate."""
    seconds: float
    """The same in seconds."""
    clipped_samples: int
    """Frames with a channel at full scale or beyond (32767 of int16), kept as they are."""
    stages: tuple[StageLatency, ...]
    """Cost per prediction: resample, gate, spectrum, inference, smoothing, total; and queue, where
    an engine let it wait for networks that were busy with other streams (in no other stage)."""
    delay: AlgorithmicDelay
