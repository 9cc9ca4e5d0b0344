"""Closing words of a session: predictions, latency and losses in a few lines."""

from collections import Counter

from ser_live.latency import StageLatency
from ser_live.live.listener import LiveStats
from ser_live.prediction import Prediction

_STATES = ("speech", "uncertain", "warming_up", "silence")


class Summary:
    """Count predictions and put the closing words together."""

    def __init__(self) -> None:
        self._states: Counter[str] = Counter()
        self._labels: dict[str | None, Counter[str]] = {}

    def add(self, prediction: Prediction) -> None:
        """Count one prediction; shares of labels are taken over state speech."""
        self._states[prediction.state] += 1
        if prediction.state == "speech" and prediction.label is not None:
            self._labels.setdefault(prediction.channel, Counter())[prediction.label] += 1

    def lines(self, stats: LiveStats) -> list[str]:
        """Return the lines for people."""
        return [
            self._counts(stats),
            *self._shares(),
            *_latency_table(stats.stages),
            *_delay(stats),
            *_losses(stats),
        ]

    def _counts(self, stats: LiveStats) -> str:
        states = ", ".join(f"{self._states[s]} {s.replace('_', ' ')}" for s in _STATES)
        total = self._states.total()
        return f"processed {stats.recognizer.seconds:.1f} s: {total} predictions ({states})"

    def _shares(self) -> list[str]:
        lines = []
        for channel, counts in self._labels.items():
            total = counts.total()
            shares = (f"{name} {100 * n / total:.0f} %" for name, n in counts.most_common())
            lines.append(f"speech{f' on {channel}' if channel else ''} was {', '.join(shares)}")
        return lines or ["speech was never clear enough for a label"]


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
