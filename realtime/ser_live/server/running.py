"""A server from its settings to its end: a socket, and uvicorn on it."""

import asyncio
import os
import socket
import ssl
from types import FrameType

import uvicorn
from fastapi import FastAPI

from ser_live.errors import SerError
from ser_live.server.app import build_app
from ser_live.server.engine import Engine
from ser_live.server.logs import log_to_stderr
from ser_live.server.metrics import Metrics
from ser_live.server.models import Models
from ser_live.server.settings import Settings
from ser_live.server.transport import HttpProtocol, WebSocketProtocol
from ser_live.text import sanitize

_OWN_NAMES = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_BACKLOG = 2048
_BUFFER_BYTES = 1 << 18
_DRAIN_SECONDS = 30.0
_GOODBYE_SECONDS = 3.0
_PING_SECONDS = 20.0
_TICK_SECONDS = 0.05


def serve(settings: Settings) -> int:
    """Run the server until a signal stops it; give the exit code.

    Raises
    ------
    SerError
        If a model cannot be loaded, the address is taken, or the certificate is none.
    """
    log_to_stderr(settings.log_level)
    models, metrics = Models(settings.models), Metrics()
    models.load_default()
    app = build_app(settings, Engine(on_batch=metrics.count_batch), models, metrics)
    config = _config(app, settings)
    with _listener(settings) as listener:
        _Server(config, app, _address(settings, listener)).run(sockets=[listener])
    return 0


class _Server(uvicorn.Server):
    """Says where it is when it is ready, and drains before it stops."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, address: str) -> None:
        super().__init__(config)
        self._app = app
        self._address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(f"ser-serve: {self._address}", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._app.state.streams.drain(_DRAIN_SECONDS)
        # Cut off in the middle of a goodbye, clients would lose what was said last.
        for _ in range(round(_GOODBYE_SECONDS / _TICK_SECONDS)):
            if not any(isinstance(c, WebSocketProtocol) for c in self.server_state.connections):
                break
            await asyncio.sleep(_TICK_SECONDS)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True


def _config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=HttpProtocol,
        ws=WebSocketProtocol,
        # Twice, so that a client is told why before it must go.
        ws_max_size=2 * settings.limits.max_frame_bytes,
        ws_per_message_deflate=False,  # it costs more than it saves, and it can be a bomb
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=None,  # a pong may wait behind audio; idle_seconds finds the dead
        limit_concurrency=2 * settings.limits.max_streams + 200,
        timeout_graceful_shutdown=round(_DRAIN_SECONDS),
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
    )
    try:
        config.load()
    except (ssl.SSLError, OSError) as error:
        raise SerError(
            f"{sanitize(settings.certificate)}, {sanitize(settings.key)}: no certificate with its "
            f"key ({sanitize(error)}); wanted PEM files that belong together"
        ) from error
    return config


def _listener(settings: Settings) -> socket.socket:
    host, port = settings.host, settings.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = host == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server(
            (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both
        )
    except OSError as error:
        reason = sanitize(error.strerror or error)
        raise SerError(
            f"cannot listen on {sanitize(host)} port {port} ({reason}); choose another with --port "
            "or --host"
        ) from error
    # What waits in the system's buffers is bounded, too: late audio must be seen to be late.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    return listener


def _address(settings: Settings, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    # No browser lets a page under a wildcard listen to a microphone.
    host = _OWN_NAMES.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host else host
    scheme = "https" if settings.certificate else "http"
    token = f"#token={settings.token}" if settings.token else ""
    where = " (and every other address of this machine)" if settings.host in _OWN_NAMES else ""
    return f"{scheme}://{host}:{port}/{token}{where}"
