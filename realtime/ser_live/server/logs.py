"""What the server did, as JSON lines on stderr: ids, counts and times, never audio."""

import json
import logging
import secrets
import sys
import time
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ser_live.server.metrics import Metrics
from ser_live.text import sanitize

_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message"}
_FAULTS_OF_CLIENTS = ("Invalid UTF-8 sequence received from client.",)
_QUIET = ("/healthz", "/readyz", "/metrics")

logger = logging.getLogger("ser_live.server")


class JsonLines(logging.Formatter):
    """A line of JSON per record; what was given as ``extra`` becomes fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line."""
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
    """Tell a fault of a client, which uvicorn reports as one of the server, as what it is."""
    if record.name.startswith("uvicorn") and record.msg in _FAULTS_OF_CLIENTS:
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.exc_info = None
    return True


def log_to_stderr(level: str) -> None:
    """Write what this package and uvicorn log, from a level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(_put_right)
    for name in ("ser_live", "uvicorn"):
        ours = logging.getLogger(name)
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

        is_stream = scope["type"] == "websocket"
        try:
            await self._app(scope, receive, send_and_see)
        finally:
            if status:
                self._tell(scope, status, time.monotonic() - began, is_stream)

    def _tell(self, scope: Scope, status: int, seconds: float, is_stream: bool) -> None:
        method = "GET" if is_stream else scope["method"]
        self._metrics.count_request(method, scope.get("route"), status)
        level = logging.DEBUG if scope["path"] in _QUIET and status < 400 else logging.INFO
        client = scope.get("client") or ("", 0)
        logger.log(
            level,
            "request",
            extra={
                "request_id": scope["request_id"],
                "method": sanitize(method),
                "path": sanitize(scope["path"]),
                "status": status,
                "seconds": round(seconds, 4),
                "client": client[0],
            },
        )
