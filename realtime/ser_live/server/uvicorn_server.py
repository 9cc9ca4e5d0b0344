"""The server from its settings to its end: a socket, and uvicorn with deadlines on it."""

import asyncio
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from ser_live.errors import SerError
from ser_live.server.app import ServeApp, create_app
from ser_live.server.observability import log_to_stderr, logger
from ser_live.server.settings import OWN_NAMES, Settings
from ser_live.text import sanitize

# After a restart all clients come back at once.
_BACKLOG = 2048
_BUFFER_BYTES = 1 << 18
_GOODBYE_SECONDS = 3.0
_LEAST_SECONDS = 5
"""For recordings in work, when the streams have ended."""
_OWN_FILES = 100
"""Of the process itself, beside those of connections."""
_PING_SECONDS = 20.0
HEAD_SECONDS = 10.0
"""From the connection, or from the last answer, to a whole head of a request."""
WRITE_SECONDS = 60.0
"""So long may the reader of an answer take nothing."""
LINGER_SECONDS = 10.0
"""From the close of a stream to the end of its connection."""
SLICE_BYTES = 1 << 14
"""Of a WebSocket, taken at a time."""


def serve(settings: Settings) -> int:
    """Run the server until a signal stops it; return the exit code.

    Raises
    ------
    SerError
        As `Server`.
    """
    log_to_stderr(settings.log_level)
    Server(
        settings, lambda address: print(f"ser-serve: {address}", flush=True)
    ).serve_until_stopped()
    return 0


class _State(ServerState):
    """State that connections share: also those without a request, the oldest first."""

    def __init__(self, most_waiting: int) -> None:
        super().__init__()
        self.most_waiting = most_waiting
        self.waiting: dict[HttpProtocol, None] = {}


class Server(uvicorn.Server):
    """Uvicorn that tells its address when it is ready, and drains before it stops.

    Parameters
    ----------
    settings : Settings
        All of it.
    announce : callable
        Takes the address, with the token in it.

    Raises
    ------
    SerError
        If a model cannot be loaded, the address is taken, or the certificate is none.
    """

    server_state: _State

    def __init__(self, settings: Settings, announce: Callable[[str], None]) -> None:
        app = create_app(settings)
        super().__init__(_config(app, settings))
        # Also for the streams that all come back at once after a restart.
        most = settings.limits.max_streams
        self.server_state = _State(most_waiting=2 * most + 200)
        _allow_files(most + self.server_state.most_waiting + _OWN_FILES)
        self.app = app
        self._announce = announce
        self._listener = _listener(settings)
        self._address = _address(settings, self._listener)

    def serve_until_stopped(self) -> None:
        """Serve until a signal comes or `should_exit` is set."""
        with self._listener:
            self.run(sockets=[])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        # If the application could not start, uvicorn has logged why and stops.
        if self.started:
            self.servers.append(await self._listen())
            self._announce(self._address)

    async def _listen(self) -> asyncio.Server:
        config = self.config
        return await asyncio.get_running_loop().create_server(
            partial(HttpProtocol, config, self.server_state, self.lifespan.state),
            sock=self._listener,
            ssl=config.ssl,
            backlog=config.backlog,
            # Not uvicorn's, which lets a handshake take a minute.
            ssl_handshake_timeout=HEAD_SECONDS if config.ssl else None,
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let streams, their connections and recordings in work end, then stop."""
        await asyncio.wrap_future(self.app.begin_drain())
        # Cut off in the middle of a goodbye, clients would lose what was said last.
        ending = [
            connection.lost
            for connection in self.server_state.connections
            if isinstance(connection, WebSocketProtocol)
        ]
        if ending:
            await asyncio.wait(ending, timeout=_GOODBYE_SECONDS)
        left = (self.app.streams.drain_ends_at or 0.0) - time.monotonic()
        self.config.timeout_graceful_shutdown = max(_LEAST_SECONDS, round(left))
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal: the first one drains, the second one ends at once."""
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True
        # Now: the main loop looks ten times a second. Who presses Ctrl-C does not want to wait.
        self.app.begin_drain(0.0 if sig == signal.SIGINT else None)


def _allow_files(wanted: int) -> None:
    """Raise the limit of open files, or warn: at it clients are dropped, and no line tells."""
    try:
        import resource  # noqa: PLC0415 - not on Windows, which has no such limit
    except ModuleNotFoundError:
        return
    number, endless = resource.RLIMIT_NOFILE, resource.RLIM_INFINITY
    allowed, allowable = resource.getrlimit(number)
    if endless != allowed < wanted:
        found = wanted if allowable == endless else min(wanted, allowable)
        with suppress(OSError, ValueError):
            resource.setrlimit(number, (found, allowable))
            allowed = found
        if allowed < wanted:
            detail = (
                f"{allowed} files may be open, wanted {wanted} for --max-streams; allow more "
                "(ulimit -n, LimitNOFILE=), or take fewer streams"
            )
            logger.warning("few files", extra={"detail": detail})


def _config(app: ServeApp, settings: Settings) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=HttpProtocol,
        ws=WebSocketProtocol,
        # Twice, so that a client is told why before it must go.
        ws_max_size=2 * settings.limits.max_frame_bytes,
        ws_per_message_deflate=False,  # it costs more than it saves, and it can be a bomb
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=None,  # a pong may wait behind audio; idle_seconds finds the dead
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        # The application does it: a client's header must not choose the address of the limits.
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
        # The system decides: a name may stand for an address of either family.
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
    host = OWN_NAMES.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host else host
    scheme = "https" if settings.certificate else "http"
    token = f"#token={settings.token}" if settings.token else ""
    where = " (and every other address of this machine)" if settings.host in OWN_NAMES else ""
    return f"{scheme}://{host}:{port}{settings.root_path}/{token}{where}"


class HttpProtocol(H11Protocol):
    """HTTP by h11, which bounds a head's size; this bounds its time, and that of the answer.

    Connections without a whole head count in no other limit; of too many the oldest is dropped.
    """

    server_state: _State
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        self._head_came()
        self.resume_writing()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Stop the clock when a head is whole."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._head_came()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Stop the clock: another protocol takes over."""
        self._head_came()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """Wait for the next head."""
        if not self.transport.is_closing():
            self._wait_for_head()
        super().on_response_complete()  # which takes up the next request, if that has come

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer is on its way; its application hears of it."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return super().send_400_response(msg)
        # The application still reads the body: it has to learn that no more comes.
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle.response_started:
            self.transport.close()
        else:
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        """Begin to wait for the reader."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the clock: it has read."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _wait_for_head(self) -> None:
        self._head_came()
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)
        waiting = self.server_state.waiting
        waiting[self] = None
        if len(waiting) > self.server_state.most_waiting:
            oldest = next(iter(waiting))
            oldest._head_came()
            oldest.transport.abort()

    def _head_came(self) -> None:
        self.server_state.waiting.pop(self, None)
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket that cannot hold the other connections up.

    What came in one read is taken in slices, and no further slice before the application has taken
    the messages of the one before: thousands of tiny frames do not stop the other connections, and
    do not heap up. The connection ends soon after its application, whatever the client does.
    """

    _abort_timer: asyncio.TimerHandle | None = None
    _held = b""
    _is_scheduled = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lost: asyncio.Future[None] = self.loop.create_future()
        """Done when the connection has ended."""

    def data_received(self, data: bytes) -> None:
        """Take the first slice; keep the rest, and read nothing more meanwhile."""
        data = self._held + data
        super().data_received(data[:SLICE_BYTES])
        self._held = data[SLICE_BYTES:]
        self._go_on_later()

    async def receive(self) -> Any:
        """Return the next message to the application."""
        message = await super().receive()
        self._go_on_later()
        return message

    async def run_asgi(self) -> None:
        """Run the application, then give the connection a while to close by itself."""
        try:
            await super().run_asgi()
        finally:
            if not self.disconnected:
                self._abort_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    async def send(self, message: Any) -> None:
        """Send; the close of a stream does not wait behind what is not read."""
        is_over = self.close_sent  # by itself: the client broke the protocol
        if is_over or (message["type"] == "websocket.accept" and self.transport.is_closing()):
            raise ClientDisconnected  # else it would be taken for a fault of the application
        if message["type"] == "websocket.close":
            # Else the close would wait for a client that reads nothing.
            self.writable.set()
        await super().send(message)
        # A refusal ends the handshake as well; uvicorn would report a fault.
        self.handshake_complete = self.handshake_complete or self.close_sent
        self._go_on_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline and what was kept."""
        super().connection_lost(exc)
        self.lost.set_result(None)
        self._held = b""
        if self._abort_timer is not None:
            self._abort_timer.cancel()
            self._abort_timer = None

    def _go_on_later(self) -> None:
        """Take the next slice in the next round of the loop, unless messages wait."""
        if not self._held or self.transport.is_closing():
            return
        # TCP makes the sender wait; nothing heaps up here.
        self.transport.pause_reading()
        if not self._is_scheduled and not self.read_paused:
            self._is_scheduled = True
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_scheduled = False
        if self._held and not self.transport.is_closing():
            self.data_received(b"")
            if not self._held and not self.read_paused:
                self.transport.resume_reading()
