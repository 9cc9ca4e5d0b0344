"""``ser-serve``: options, a socket, and uvicorn on it."""

import argparse
import asyncio
import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import fields
from types import FrameType
from typing import TYPE_CHECKING

from ser_live import __version__
from ser_live.command_line import Parser
from ser_live.errors import SerError
from ser_live.quoting import plain, quoted
from ser_live.server.settings import DEFAULT_HOST, DEFAULT_PORT, Limits, Settings

if TYPE_CHECKING:
    import uvicorn

PROGRAM = "ser-serve"
TOKEN_VARIABLE = "SER_SERVE_TOKEN"

_DESCRIPTION = """\
Serve emotion recognition to many voices: a page for people, a WebSocket and HTTP for programs.
Without options only this machine can connect. Nothing that is heard is kept.
"""
_EPILOG = f"""\
The token is taken from --token or the variable {TOKEN_VARIABLE}; for another address than this
machine's own it is made and printed where neither is given. SIGTERM and Ctrl-C let open streams
end; a second one ends at once. Exit codes: 0 stopped, 2 a mistake, told on stderr.
"""
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,200}")
_ORIGIN = re.compile(r"https?://[^/\s]+")
_OWN_NAMES = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_BACKLOG = 2048
_BUFFER_BYTES = 1 << 18
_DRAIN_SECONDS = 30.0
_GOODBYE_SECONDS = 3.0
_PING_SECONDS = 20.0


def parse(argv: Sequence[str] | None) -> Settings:
    """Read the options.

    Raises
    ------
    SerError
        If one makes no sense.
    """
    arguments = _parser().parse_args(argv)
    limits = Limits(**{field.name: getattr(arguments, field.name) for field in fields(Limits)})
    _check(arguments, limits)
    is_loopback = _is_loopback(arguments.host, arguments.port)
    token = arguments.token or os.environ.get(TOKEN_VARIABLE) or None
    if token is None and not is_loopback:
        token = secrets.token_urlsafe(24)
    if token is not None and not _TOKEN.fullmatch(token):
        raise SerError("the token must be 16 to 200 letters, digits, '.', '_', '~' or '-'")
    return Settings(
        host=arguments.host,
        port=arguments.port,
        is_loopback=is_loopback,
        token=token,
        origins=tuple(origin.rstrip("/") for origin in arguments.origin),
        hosts=tuple(arguments.allow_host),
        models=tuple(arguments.model),
        certificate=arguments.certificate,
        key=arguments.key,
        log_level=arguments.log_level,
        limits=limits,
    )


def serve(settings: Settings) -> int:
    """Run the server until a signal stops it; give the exit code."""
    import uvicorn  # noqa: PLC0415 - --help needs none of it

    from ser_live.server.app import build_app  # noqa: PLC0415
    from ser_live.server.engine import Engine  # noqa: PLC0415
    from ser_live.server.logs import log_to_stderr  # noqa: PLC0415
    from ser_live.server.metrics import Metrics  # noqa: PLC0415
    from ser_live.server.models import Models  # noqa: PLC0415
    from ser_live.server.transport import HttpProtocol, WebSocketProtocol  # noqa: PLC0415

    log_to_stderr(settings.log_level)
    models, metrics = Models(settings.models), Metrics()
    models.load_default()
    app = build_app(settings, Engine(on_batch=metrics.count_batch), models, metrics)
    listener = _listener(settings)
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
    _server(config, settings, listener).run(sockets=[listener])
    return 0


def _server(
    config: "uvicorn.Config", settings: Settings, listener: socket.socket
) -> "uvicorn.Server":
    import uvicorn  # noqa: PLC0415

    from ser_live.server.transport import WebSocketProtocol  # noqa: PLC0415

    class Server(uvicorn.Server):
        """Says where it is when it is ready, and drains before it stops."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                print(f"{PROGRAM}: {_address(settings, listener)}", flush=True)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await config.app.state.streams.drain(_DRAIN_SECONDS)  # type: ignore[union-attr]
            # Cut off in the middle of a goodbye, clients would lose what was said last.
            for _ in range(round(_GOODBYE_SECONDS / 0.05)):
                open_ones = self.server_state.connections
                if not any(isinstance(one, WebSocketProtocol) for one in open_ones):
                    break
                await asyncio.sleep(0.05)
            await super().shutdown(sockets)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if self.should_exit:
                os._exit(128 + sig)
            self.should_exit = True

    return Server(config)


def _listener(settings: Settings) -> socket.socket:
    host, port = settings.host, settings.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = host == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server(
            (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both
        )
    except OSError as error:
        reason = plain(error.strerror or error)
        raise SerError(
            f"cannot listen on {plain(host)} port {port} ({reason}); choose another with --port or "
            "--host"
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


def _is_loopback(host: str, port: int) -> bool:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SerError(f"--host is {quoted(host)}, wanted a name or address of this machine "
                       f"({plain(error)})") from error  # fmt: skip
    return ipaddress.ip_address(str(found[0][4][0]).partition("%")[0]).is_loopback


def _check(arguments: argparse.Namespace, limits: Limits) -> None:
    for field in fields(limits):
        value = getattr(limits, field.name)
        if value is not None and not value > 0:
            option = "--" + field.name.replace("_", "-")
            raise SerError(f"{option} is {value:g}, wanted more than 0")
    if not 0 <= arguments.port < 2**16:
        raise SerError(f"--port is {arguments.port}, wanted 0 to 65535")
    for origin in arguments.origin:
        if not _ORIGIN.fullmatch(origin.rstrip("/")):
            raise SerError(f"--origin is {quoted(origin)}, wanted something like https://name")
    if (arguments.certificate is None) != (arguments.key is None):
        raise SerError("--certificate and --key belong together")
    for path in filter(None, (arguments.certificate, arguments.key)):
        if not os.access(path, os.R_OK):
            raise SerError(f"{plain(path)}: cannot read it; wanted a PEM file")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    where = parser.add_argument_group("where")
    where.add_argument("--host", default=DEFAULT_HOST, help=f"default: {DEFAULT_HOST}")
    where.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help=f"0: a free one; default: {DEFAULT_PORT}"
    )
    where.add_argument("--certificate", metavar="FILE", help="PEM; with --key: https and wss")
    where.add_argument("--key", metavar="FILE", help="PEM")
    _add_access(parser.add_argument_group("for whom"))
    _add_limits(parser.add_argument_group("limits"))
    other = parser.add_argument_group("other")
    other.add_argument(
        "--model", action="append", default=[], metavar="NAME|PATH",
        help="to serve beside the shipped ones; the first is the default; may be repeated",
    )  # fmt: skip
    other.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info",
        help="of the JSON lines on stderr; default: info",
    )  # fmt: skip
    other.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _add_access(whom: argparse._ArgumentGroup) -> None:
    whom.add_argument("--token", help="that clients must show")
    whom.add_argument(
        "--origin", action="append", default=[], metavar="URL",
        help="another site whose pages may connect; may be repeated",
    )  # fmt: skip
    whom.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="another name of the server, behind a proxy; may be repeated",
    )  # fmt: skip


def _add_limits(limits: argparse._ArgumentGroup) -> None:
    told = {
        "max_streams": "open at a time",
        "max_streams_per_address": "of one client's address",
        "max_frame_bytes": "of one message",
        "max_bytes_per_second": "of one stream",
        "max_seconds": "of a stream or recording",
        "idle_seconds": "without a message",
        "start_seconds": "to the start message",
        "max_unsent": "messages that wait for a slow reader; its audio waits meanwhile",
        "unsent_seconds": "in which a reader takes nothing",
        "max_upload_bytes": "of a recording",
        "max_uploads": "recordings at a time",
    }
    for field in fields(Limits):
        is_whole = not isinstance(field.default, float)
        limits.add_argument(
            "--" + field.name.replace("_", "-"),
            type=int if is_whole else float,
            default=field.default,
            metavar="N" if is_whole else "S",
            help=f"{told[field.name]}; default: {field.default or 'none'}",
        )
