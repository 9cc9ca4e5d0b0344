"""Settings of a server, and the options of ``ser-serve`` that make them."""

import argparse
import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, fields

from ser_live import __version__
from ser_live.command_line import Parser
from ser_live.errors import SerError
from ser_live.text import quoted, sanitize

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8321
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
# Letters that stand unchanged in an address, a header and a subprotocol.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,200}")
_ORIGIN = re.compile(r"https?://[^/\s]+")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one client, and of all of them."""

    max_streams: int = 200
    """Open streams."""
    max_streams_per_address: int | None = None
    """Of these, from one address."""
    max_frame_bytes: int = 1 << 20
    """Of one WebSocket message."""
    max_bytes_per_second: int = 4_000_000
    """Of one stream, in the long run; a message counts as `COUNTED_BYTES` at least."""
    max_seconds: float = 14400.0
    """Longest stream or recording."""
    idle_seconds: float = 60.0
    """Longest silence on the line."""
    start_seconds: float = 10.0
    """From the connection to the start message."""
    max_unsent: int = 256
    """Messages of one stream that may wait for a slow reader; its audio waits meanwhile."""
    unsent_seconds: float = 10.0
    """So long may a reader take nothing at all."""
    max_upload_bytes: int = 100 << 20
    """Of one recording."""
    max_uploads: int = 4
    """Recordings at a time."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a server needs to know at its start."""

    host: str = DEFAULT_HOST
    """Name or address to listen on."""
    port: int = DEFAULT_PORT
    """0: a free one."""
    is_loopback: bool = True
    """Only this machine can connect."""
    token: str | None = None
    """Secret that a client must show; None: none."""
    origins: tuple[str, ...] = ()
    """Web pages from elsewhere that may connect, as ``https://name``."""
    hosts: tuple[str, ...] = ()
    """Names under which the server is known, beside its own."""
    models: tuple[str, ...] = ()
    """Names or paths that are served beside the shipped ones; the first is the default."""
    certificate: str | None = None
    key: str | None = None
    """PEM files, for https and wss."""
    log_level: str = "info"
    limits: Limits = Limits()


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
    # A microphone's audio and the processor's time are not for everyone on the network.
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


def _is_loopback(host: str, port: int) -> bool:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SerError(f"--host is {quoted(host)}, wanted a name or address of this machine "
                       f"({sanitize(error)})") from error  # fmt: skip
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
            raise SerError(f"{sanitize(path)}: cannot read it; wanted a PEM file")


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
