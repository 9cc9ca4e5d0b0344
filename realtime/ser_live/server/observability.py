"""Figures for Prometheus, and the log: JSON lines on stderr, never with audio."""

import json
import logging
import platform
import secrets
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import onnxruntime
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ser_live import __version__
from ser_live.server.engine import BatchKind
from ser_live.server.proxies import route_path
from ser_live.server.settings import Limits
from ser_live.text import sanitize

# A second series per counter, with the time of its making, is of no use.
disable_created_metrics()  # type: ignore[no-untyped-call]

_LAGS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RUNS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
_ANSWERS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 100, 300)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_METHODS = ("GET", "HEAD", "POST", "OPTIONS")


class Metrics:
    """Count what happens; `exposition` is what ``GET /metrics`` gives."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.streams_open = Gauge("ser_streams_open", "Streams now", registry=registry)
        self.uploads_open = Gauge("ser_uploads_open", "Recordings in work now", registry=registry)
        self.token_streams = Gauge(
            "ser_token_streams_open", "Streams now, by token", ["token"], registry=registry
        )
        self.streams = counter("ser_streams", "Streams that ended, by reason", ["reason"])
        self._refused = {
            "websocket": counter("ser_streams_refused", "Streams not taken, by reason", ["reason"]),
            "http": counter("ser_http_refused", "Requests refused, by reason", ["reason"]),
        }
        self.errors = counter("ser_stream_errors", "Error messages sent, by code", ["code"])
        self.received_bytes = counter("ser_received_bytes", "Bytes of audio that came in")
        self._heard_seconds = counter("ser_heard_seconds", "Seconds of audio recognized")
        self._token_seconds = counter(
            "ser_token_heard_seconds", "Seconds of audio recognized, by token", ["token"]
        )
        self._token_refused = counter(
            "ser_token_refused", "Streams and requests refused, by token", ["token", "reason"]
        )
        self.dropped_samples = counter(
            "ser_dropped_samples",
            "Samples per channel that came in and were not recognized, by reason",
            ["reason"],
        )
        self.recordings = counter("ser_recordings", "Recordings recognized whole")
        predictions = counter("ser_predictions", "Predictions (hops), by state", ["state"])
        # Looked up once: `labels` takes a lock, and predictions are many.
        self._by_state = {
            state: predictions.labels(state)
            for state in ("speech", "silence", "uncertain", "warming_up")
        }
        self.lag = histogram(
            "ser_lag_seconds", "From the receipt of the last sample to its message", buckets=_LAGS
        )
        self._batch_size = histogram(
            "ser_batch_size", "Streams that shared a run of a network", ["kind"], buckets=_SIZES
        )
        self._batch_seconds = histogram(
            "ser_batch_seconds", "Time of such a run", ["kind"], buckets=_RUNS
        )
        self._requests = counter(
            "ser_http_requests",
            "Answers, by route and status; streams that were refused among them",
            ["method", "route", "status"],
        )
        self._request_seconds = histogram(
            "ser_http_request_seconds",
            "From the head of a request to the end of its answer, by route",
            ["route"],
            buckets=_ANSWERS,
        )

    def tell_build(self, model: str, limits: Limits) -> None:
        """Tell what runs here, with which default model and limits."""
        versions = {"version": __version__, "python": platform.python_version()}
        build = Info("ser_build", "Versions, and the default model", registry=self._registry)
        build.info({**versions, "onnxruntime": onnxruntime.__version__, "model": model})
        self.show("ser_streams_limit", "Streams at a time", lambda: limits.max_streams)
        self.show("ser_uploads_limit", "Recordings at a time", lambda: limits.max_uploads)

    def count_prediction(self, state: str, lag_seconds: float | None) -> None:
        """Count a prediction of a stream or, without a lag, of a recording."""
        self._by_state[state].inc()
        if lag_seconds is not None:
            self.lag.observe(lag_seconds)

    def count_heard(self, seconds: float, token_name: str | None) -> None:
        """Count audio that was recognized for the client with a token, or with none."""
        self._heard_seconds.inc(seconds)
        self._token_seconds.labels(token_name or "").inc(seconds)

    def count_batch(self, kind: BatchKind, size: int, seconds: float) -> None:
        """Count a run of a network; the engine calls this."""
        self._batch_size.labels(kind).observe(size)
        self._batch_seconds.labels(kind).observe(seconds)

    def count_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answer; what clients make up is not let into the labels."""
        # FastAPI leaves no route of another kind than its own, but what that leads to.
        found = scope.get("route") or scope.get("endpoint")
        route = getattr(found, "path", None) or "other"
        method = scope.get("method", "GET")  # a WebSocket has none
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)
        if reason := scope.get("refused"):
            self._refused[scope["type"]].labels(reason).inc()
            if "token_name" in scope:
                self._token_refused.labels(scope["token_name"], reason).inc()

    def show(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Let a gauge be asked for its value when the figures are read."""
        Gauge(name, meaning, registry=self._registry).set_function(value)

    def exposition(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)


_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message"}
_FAULTS_OF_CLIENTS = ("Invalid UTF-8 sequence received from client.",)
_QUIET = ("/healthz", "/readyz", "/metrics")

logger = logging.getLogger("ser_live.server")


class JsonLines(logging.Formatter):
    """One line of JSON per record; values given as ``extra`` become fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        fields |= {k: v for k, v in record.__dict__.items() if k not in _OWN}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def _put_right(record: logging.LogRecord) -> bool:
    """Log a fault of a client, which uvicorn reports as one of the server, as what it is."""
    if record.name.startswith("uvicorn") and record.msg in _FAULTS_OF_CLIENTS:
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.exc_info = None
    return True


def json_handler(stream: Any) -> logging.Handler:
    """Make a handler that writes JSON lines to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    handler.addFilter(_put_right)
    return handler


def log_to_stderr(level: str) -> None:
    """Write what this package and uvicorn log, from a level on."""
    handler = json_handler(sys.stderr)
    for name in ("ser_live", "uvicorn"):
        ours = logging.getLogger(name)
        # In place of any other: each line once, and as JSON.
        ours.handlers = [handler]
        ours.propagate = False
    logging.getLogger("ser_live").setLevel(level.upper())
    # Its lines about single connections would drown ours.
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLogger("ser_live").level))


class Requests:
    """Give each request an id, and log and count how it went; streams log themselves.

    Parameters
    ----------
    app : ASGI application
        What lies behind it.
    metrics : Metrics
        Where it is counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it through and look at the answer."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        # Made here, not taken from the client: it stands in the log.
        scope["request_id"] = request_id = secrets.token_hex(8)
        began, status = time.monotonic(), 0

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"].endswith("http.response.start"):
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        finally:
            # Without a status: a stream that was accepted, which logs itself.
            if status:
                self._tell(scope, status, time.monotonic() - began)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        self._metrics.count_request(scope, status, seconds)
        # Monitors ask every few seconds; only what fails of that is worth a line.
        level = logging.DEBUG if route_path(scope) in _QUIET and status < 400 else logging.INFO
        client = scope.get("client") or ("", 0)
        logger.log(
            level,
            "request",
            extra={
                "request_id": scope["request_id"],
                "method": sanitize(scope.get("method", "GET")),
                "path": sanitize(scope["path"]),
                "status": status,
                "seconds": round(seconds, 4),
                "client": client[0],
                **({"reason": scope["refused"]} if "refused" in scope else {}),
                **({"token_name": scope["token_name"]} if "token_name" in scope else {}),
            },
        )
