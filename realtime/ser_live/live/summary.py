"""Closing words of a session: six lines that a person wants, and all figures on request."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from ser_live.latency import StageLatency
from ser_live.live.listener import Listener, LiveStats
from ser_live.prediction import Prediction

_STATES = ("speech", "uncertain", "warming_up", "silence")
_LARGE_SHARE = 0.5


class _Tally:
    """Seconds of labels and states in one channel."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)  # of states
        self.labels: defaultdict[str, float] = defaultdict(float)  # of state speech
        self._confidence = 0.0
        self._end_seconds = 0.0

    def add(self, prediction: Prediction) -> None:
        seconds = prediction.end_seconds - self._end_seconds
        self._end_seconds = prediction.end_seconds
        self.seconds[prediction.state] += seconds
        if prediction.state == "speech" and prediction.label is not None:
            self.labels[prediction.label] += seconds
            self._confidence += seconds * prediction.confidence

    def heard(self) -> str:
        if not (total := sum(self.labels.values())):
            spoken = self.seconds["uncertain"] + self.seconds["warming_up"]
            return "speech, never clear enough for a label" if spoken else "no speech"
        (first, seconds), *others = self._ordered()
        if not others:
            names = first
        elif seconds > _LARGE_SHARE * total:
            names = f"mostly {first}"
        else:
            names = f"{first} and {others[0][0]}"
        return f"{names}, {100 * self._confidence / total:.0f} % sure on average"

    def shares(self) -> str:
        named = self._ordered()
        if unsure := self.seconds["uncertain"]:
            named.append(("uncertain", unsure))
        total = sum(seconds for _, seconds in named)
        return ", ".join(f"{name} {100 * n / total:.0f} %" for name, n in named) or "none"

    def silence(self) -> str:
        silent, whole = self.seconds["silence"], sum(self.seconds.values())
        return f"{_duration(silent)} ({100 * silent / whole if whole else 0:.0f} %)"

    def _ordered(self) -> list[tuple[str, float]]:
        return sorted(self.labels.items(), key=lambda item: -item[1])


class Summary:
    """Count predictions and put the closing words together.

    Parameters
    ----------
    clock : callable
        Returns the time in seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began_at = clock()
        self._states: Counter[str] = Counter()
        self._channels: dict[str | None, _Tally] = {}

    def add(self, prediction: Prediction) -> None:
        """Count one prediction."""
        self._states[prediction.state] += 1
        self._channels.setdefault(prediction.channel, _Tally()).add(prediction)

    def lines(self, listener: Listener[Any], written: Sequence[str]) -> list[str]:
        """Return the lines for people.

        Parameters
        ----------
        listener : Listener
            What was listened to.
        written : sequence of str
            Places of the outputs.
        """
        source, stats = listener.source, listener.stats
        took = f"{_duration(stats.recognizer.seconds)} of {source.name}"
        note = ", but mind the note above" if source.notes else ""
        rows = {
            "heard": self._each(_Tally.heard),
            "labels": self._each(_Tally.shares),
            "silence": self._each(_Tally.silence),
            "length": f"{took}, in {_duration(self._clock() - self._began_at)}",
            "lost": (", ".join(_lost(stats, source.sample_rate_hz)) or "nothing") + note,
            "written": ", ".join(written) or "nothing; --output FILE keeps it",
        }
        return [f"{name:<9}{words}" for name, words in rows.items()]

    def figures(self, stats: LiveStats) -> list[str]:
        """Return the lines for those who want to know it all: counts, latency, delay, losses."""
        return [
            self._counts(stats),
            *_latency_table(stats.stages),
            *_delay(stats),
            *_losses(stats),
        ]

    def _each(self, words: Callable[[_Tally], str]) -> str:
        channels = self._channels or {None: _Tally()}
        told = {name: words(tally) for name, tally in channels.items()}
        return "; ".join(f"{name}: {text}" if name else text for name, text in told.items())

    def _counts(self, stats: LiveStats) -> str:
        states = ", ".join(f"{self._states[s]} {s.replace('_', ' ')}" for s in _STATES)
        total = self._states.total()
        return f"processed {stats.recognizer.seconds:.1f} s: {total} predictions ({states})"


def _lost(stats: LiveStats, sample_rate_hz: int) -> list[str]:
    source = stats.source
    missing_seconds = max(stats.missing_seconds, source.dropped / sample_rate_hz)
    counts = {
        "device overruns": source.overruns,
        "predictions skipped": stats.skipped_predictions,
        "samples replaced": stats.replaced_samples,
        "predictions degraded": stats.degraded,
    }
    missing = [f"{missing_seconds:.1f} s of audio"] if missing_seconds else []
    return missing + [f"{count} {name}" for name, count in counts.items() if count]


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60.0 else str(timedelta(seconds=round(seconds)))


def _latency_table(stages: tuple[StageLatency, ...]) -> list[str]:
    lines = [f"{'milliseconds':12} {'count':>7} {'p50':>8} {'p95':>8} {'p99':>8} {'max':>8}"]
    for stage in stages:
        if stage.count:
            quantiles = (stage.p50_seconds, stage.p95_seconds, stage.p99_seconds, stage.max_seconds)
            cells = " ".join(f"{1000 * seconds:8.2f}" for seconds in quantiles)
            lines.append(f"{stage.name:12} {stage.count:7} {cells}")
    return lines


def _delay(stats: LiveStats) -> list[str]:
    delay = stats.recognizer.delay
    lag = next(stage for stage in stats.stages if stage.name == "lag")
    measured = f"{lag.p50_seconds:.3f} s at the median" if lag.count else "only of live sources"
    return [
        f"algorithmic delay {delay.total_seconds:.3f} s: resampler {delay.resampler_seconds:.3f}, "
        f"half window {delay.window_seconds:.3f}, smoothing {delay.smoothing_seconds:.3f}",
        f"measured lag, capture to prediction: {measured}",
    ]


def _losses(stats: LiveStats) -> list[str]:
    source, recognizer = stats.source, stats.recognizer
    return [
        f"captured {source.captured} frames = processed {source.processed} + dropped "
        f"{source.dropped} + buffered {source.buffered}",
        f"dropped {source.dropped} of {source.captured} frames: overrun {source.dropped_overrun}, "
        f"stale {source.dropped_stale}, capture {source.dropped_capture}",
        f"{source.overruns} device overruns, {source.restarts} restarts, "
        f"{stats.missing_seconds:.1f} s missing; {stats.skipped_predictions} predictions skipped",
        f"{stats.replaced_samples} samples replaced, {recognizer.clipped_samples} clipped; "
        f"{stats.degraded} predictions degraded",
    ]
