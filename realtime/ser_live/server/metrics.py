"""Figures for Prometheus, in a registry of the server's own."""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from ser_live.server.engine import BatchKind

disable_created_metrics()  # type: ignore[no-untyped-call]

_LAGS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RUNS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_METHODS = ("GET", "HEAD", "POST", "OPTIONS")


class Metrics:
    """Count what happens; `exposition` is what ``GET /metrics`` gives."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.streams_open = Gauge("ser_streams_open", "Streams now", registry=registry)
        self.streams = Counter(
            "ser_streams", "Streams that ended, by reason", ["reason"], registry=registry
        )
        self.refused = Counter(
            "ser_streams_refused", "Streams not taken, by reason", ["reason"], registry=registry
        )
        self.errors = Counter(
            "ser_stream_errors", "Error messages sent, by code", ["code"], registry=registry
        )
        self.received_bytes = Counter(
            "ser_received_bytes", "Bytes of audio that came in", registry=registry
        )
        self.heard_seconds = Counter(
            "ser_heard_seconds", "Seconds of audio recognized", registry=registry
        )
        self.dropped_samples = Counter(
            "ser_dropped_samples",
            "Samples per channel that came in and were not recognized, by reason",
            ["reason"],
            registry=registry,
        )
        self.recordings = Counter(
            "ser_recordings", "Recordings recognized whole", registry=registry
        )
        self._predictions = Counter(
            "ser_predictions", "Predictions (hops), by state", ["state"], registry=registry
        )
        self._by_state = {
            state: self._predictions.labels(state)
            for state in ("speech", "silence", "uncertain", "warming_up")
        }
        self.lag = Histogram(
            "ser_lag_seconds",
            "From the receipt of the last sample to its message",
            buckets=_LAGS,
            registry=registry,
        )
        self._batch_size = Histogram(
            "ser_batch_size",
            "Streams that shared a run of a network",
            ["kind"],
            buckets=_SIZES,
            registry=registry,
        )
        self._batch_seconds = Histogram(
            "ser_batch_seconds", "Time of such a run", ["kind"], buckets=_RUNS, registry=registry
        )
        self._requests = Counter(
            "ser_http_requests",
            "Answers, by route and status; streams that were refused among them",
            ["method", "route", "status"],
            registry=registry,
        )

    def count_prediction(self, state: str, lag_seconds: float | None) -> None:
        """Count a prediction of a stream or, without a lag, of a recording."""
        self._by_state[state].inc()
        if lag_seconds is not None:
            self.lag.observe(lag_seconds)

    def count_batch(self, kind: BatchKind, size: int, seconds: float) -> None:
        """Count a run of a network; the engine calls this."""
        self._batch_size.labels(kind).observe(size)
        self._batch_seconds.labels(kind).observe(seconds)

    def count_request(self, method: str, route: object, status: int) -> None:
        """Count an answer; what clients make up is not let into the labels."""
        path = getattr(route, "path", None) or "other"
        known = method if method in _METHODS else "other"
        self._requests.labels(known, path, str(status)).inc()

    def show(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Let a gauge be asked for its value when the figures are read."""
        Gauge(name, meaning, registry=self._registry).set_function(value)

    def exposition(self) -> bytes:
        """Give all figures in Prometheus' text format."""
        return generate_latest(self._registry)
