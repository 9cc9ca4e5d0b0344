"""A day of a microphone's life in virtual time, with everything that goes wrong."""

import argparse
from collections import Counter
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ser_live.events import Event
from ser_live.latency import LatencyHistogram
from ser_live.live.listener import Listener, LiveStep
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_live.model.classifier import OnnxClassifier
from ser_live.prediction import Prediction
from ser_live.testing import FakeMicrophone, Signal, SlowModel, VirtualClock, demo_voice
from tools.machine import Usage
from tools.report import Figure, Table, at_most, none, times_table
from tools.soak.real import Soak, Trend
from tools.soak.script import CHANNELS, RATE_HZ, Slowness, script

_SILENT_SECONDS = 40.0
_ROOM_RMS = 1e-4
_BLOCK_SECONDS = 0.05  # where in a block a hop ends, after a gap, is chance, and moves the lag
_MOST_GAP_ERROR_MS = 20.0
_MOST_SLOPE_MS_PER_HOUR = 1.0


class VirtualSoak(Soak):
    """Listen to a scripted microphone, as the options of the command say."""

    title = "Soak in virtual time"
    microphone: FakeMicrophone

    def __init__(self, options: argparse.Namespace, model: OnnxClassifier) -> None:
        self._options = options
        self._clock = VirtualClock()
        self._model = SlowModel(model, 0.0, self._clock)
        faults = script(options.seconds, options.faults_per_hour, options.seed)
        self._sleeps = list(reversed(faults.sleeps))
        self._slow_models = faults.slow_models
        microphone = FakeMicrophone(
            _voice_and_silence(),
            faults.faults,
            sample_rate_hz=RATE_HZ,
            channels=CHANNELS,
            seconds=options.seconds,
            block_seconds=_BLOCK_SECONDS,
            clock=self._clock,
            seed=options.seed,
        )
        listener = Listener[Prediction | Event](
            microphone, model=self._model, events=True, clock=self._clock.monotonic
        )
        super().__init__(options.seconds, microphone, listener)
        self._slowed: Counter[str] = Counter()
        self._uncounted_frames = 0
        self._error_seconds: float | None = None
        self._gap_error_seconds = 0.0
        self._lag_trend = Trend()
        self._lag_of_hour = LatencyHistogram()
        self._lag_by_hour: list[float] = []

    def steps(self) -> Iterator[float]:
        """Listen, and yield the length of the stream now and then."""
        began_at = self._clock.monotonic()
        for slow in self._slow_models:
            self._clock.call_at(began_at + slow.at_seconds, partial(self._slow_down, slow))
        yield from super().steps()

    def check(self, step: LiveStep) -> float:
        """Hold what must always hold against the device's own book-keeping."""
        super().check(step)
        counters, hardware = self.microphone.counters, self.microphone.hardware
        uncounted = abs(hardware.captured_frames - counters.captured)
        self._uncounted_frames = max(self._uncounted_frames, uncounted)
        if counters.buffered == 0:
            error = step.seconds - (hardware.end_seconds - hardware.untold_seconds)
            # Only a gap of the wrong length can move the timeline.
            moved = abs(error - (self._error_seconds or 0.0))
            self._gap_error_seconds = max(self._gap_error_seconds, moved)
            self._error_seconds = error
        for prediction in step.predictions:
            self._note(prediction)
        return self.microphone.device_seconds

    def figures(self, at_end: Usage) -> list[Figure]:
        """Return the figures of faults, gaps and lag."""
        lost, recovered = self.events["device_lost"], self.listener.stats.source.restarts
        hours, options = self.microphone.hardware.end_seconds / 3600.0, self._options
        faults, slope = self._faults(), self._lag_trend.slope
        lag = next(stage for stage in self.listener.stats.stages if stage.name == "lag")
        return [
            Figure("stream", hours, "h"),
            Figure("times real time", hours * 3600.0 / self.wall_seconds),
            Figure("faults", f"{faults.total()} of {len(faults)} kinds (seed {options.seed})"),
            none("frames that the device gave and that are in no count", self._uncounted_frames),
            # The end may come while the device is away.
            Figure("losses, recoveries", (lost, recovered), "", "all", lost - recovered in (0, 1)),
            Figure("gaps", self.events["gap"]),
            at_most("length of a gap, worst error", 1000.0 * self._gap_error_seconds, "ms",
                    _MOST_GAP_ERROR_MS),
            at_most("timeline at the end, error", 1000.0 * abs(self._error_seconds or 0.0), "ms",
                    _MOST_GAP_ERROR_MS),
            Figure("lag, virtual", lag),
            # By least squares, in the usual format.
            at_most("lag at the usual rate, slope", None if slope is None else 1000.0 * slope,
                    "ms per hour", _MOST_SLOPE_MS_PER_HOUR),
        ]  # fmt: skip

    def tables(self) -> dict[str, Table]:
        """Return the tables below the figures."""
        hours = list(enumerate(self._lag_by_hour, 1))
        return {
            "Faults that took effect": times_table("kind", self._faults()),
            **super().tables(),
            "Lag at the usual rate": Table(("hours", "p50, s"), hours),
        }

    def _faults(self) -> Counter[str]:
        felt = self.microphone.hardware.felt
        return Counter(type(fault).__name__ for fault in felt) + self._slowed

    def _note(self, prediction: Prediction) -> None:
        # Every rate has another delay in the resampler: compare like with like.
        is_usual = self.microphone.sample_rate_hz == RATE_HZ
        if prediction.lag_seconds is not None and is_usual:
            self._lag_trend.add(prediction.end_seconds / 3600.0, prediction.lag_seconds)
            self._lag_of_hour.add(prediction.lag_seconds)
        if prediction.end_seconds >= 3600.0 * (len(self._lag_by_hour) + 1):
            self._lag_by_hour.append(self._lag_of_hour.quantile_seconds(0.5))
            self._lag_of_hour.reset()
        if self._sleeps and prediction.end_seconds >= self._sleeps[-1].at_seconds:
            self._slowed["SlowReader"] += 1
            self._clock.advance(self._sleeps.pop().seconds)

    def _slow_down(self, slow: Slowness) -> None:
        self._slowed["SlowModel"] += 1
        self._model.seconds = slow.seconds
        until = self._clock.monotonic() + slow.duration_seconds
        self._clock.call_at(until, partial(setattr, self._model, "seconds", 0.0))


def _voice_and_silence() -> Signal:
    """Return a minute, over and over: the demo voice, then a quiet room."""
    room = np.random.default_rng(0).normal(0.0, _ROOM_RMS, round(_SILENT_SECONDS * SAMPLE_RATE_HZ))
    loop = np.concatenate((demo_voice(SAMPLE_RATE_HZ), room.astype(np.float32)))

    def at(times: NDArray[np.float64]) -> NDArray[np.float32]:
        heard: NDArray[np.float32] = loop[(times * SAMPLE_RATE_HZ).astype(np.int64) % loop.size]
        return heard

    return at
