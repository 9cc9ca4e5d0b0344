"""Settings of a server, and the options of ``ser-serve`` that make them."""

import argparse
import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

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

Value = TypeVar("Value")


def _limit(default: Value, told: str) -> Value:
    """Make the field of a limit, with the words of its option."""
    return field(default=default, metadata={"told": told})


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one client, and of all of them."""

    max_streams: int = _limit(200, "open at a time")
    max_streams_per_address: int | None = _limit(None, "of one client's address")
    max_frame_bytes: int = _limit(1 << 20, "of one message")
    """Of one WebSocket message."""
    max_bytes_per_second: int = _limit(4_000_000, "of one stream")
    """In the long run; a message counts as `COUNTED_BYTES` at least."""
    max_seconds: float = _limit(14400.0, "of a stream or recording")
    idle_seconds: float = _limit(60.0, "without a message")
    start_seconds: float = _limit(10.0, "to the start message")
    """From the connection on."""
    max_unsent: int = _limit(256, "messages that wait for a slow reader; its audio waits meanwhile")
    unsent_seconds: float = _limit(10.0, "in which a reader takes nothing")
    max_upload_bytes: int = _limit(100 << 20, "of a recording")
    max_uploads: int = _limit(4, "recordings at a time")


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
    origins: Sequence[str] = ()
    """Web pages from elsewhere that may connect, as ``https://name``."""
    hosts: Sequence[str] = ()
    """Names under which the server is known, beside its own."""
    models: Sequence[str] = ()
    """Names or paths that are served beside the shipped ones; the first is the default."""
    certificate: str | None = None
    key: str | None = None
    """PEM files, for https and wss."""
    log_level: str = "info"
    limits: Limits = Limits()
    asked_streams: int | None = None
    """Streams that `models` must carry at a time; None: as many as it can."""


def parse(argv: Sequence[str] | None) -> Settings:
    """Read the options.

    Raises
    ------
    SerError
        If one makes no sense.
    """
    given = vars(_parser().parse_args(argv))
    asked = {limit.name: given.pop(limit.name) for limit in fields(Limits) if limit.name in given}
    settings = Settings(**given, limits=Limits(**asked), asked_streams=asked.get("max_streams"))
    _check(settings)
    is_loopback = _is_loopback(settings.host, settings.port)
    token = settings.token or os.environ.get(TOKEN_VARIABLE) or None
    # A microphone's audio and the processor's time are not for everyone on the network.
    if token is None and not is_loopback:
        token = secrets.token_urlsafe(24)
    if token is not None and not _TOKEN.fullmatch(token):
        raise SerError("the token must be 16 to 200 letters, digits, '.', '_', '~' or '-'")
    return replace(settings, is_loopback=is_loopback, token=token)


def _is_loopback(host: str, port: int) -> bool:
    try:
        # By its address: a name alone does not tell.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SerError(f"--host is {quoted(host)}, wanted a name or address of this machine "
                       f"({sanitize(error)})") from error  # fmt: skip
    return ipaddress.ip_address(str(found[0][4][0]).partition("%")[0]).is_loopback


def _check(settings: Settings) -> None:
    for limit in fields(Limits):
        value = getattr(settings.limits, limit.name)
        if value is not None and not value > 0:
            option = "--" + limit.name.replace("_", "-")
            raise SerError(f"{option} is {value:g}, wanted more than 0")
    if not 0 <= settings.port < 2**16:
        raise SerError(f"--port is {settings.port}, wanted 0 to 65535")
    for origin in settings.origins:
        if not _ORIGIN.fullmatch(origin):
            raise SerError(f"--origin is {quoted(origin)}, wanted something like https://name")
    if (settings.certificate is None) != (settings.key is None):
        raise SerError("--certificate and --key belong together")
    for path in filter(None, (settings.certificate, settings.key)):
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
        "--model", action="append", default=[], metavar="NAME|PATH", dest="models",
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
        "--origin", action="append", default=[], metavar="URL", dest="origins",
        # Browsers send it without the slash that people copy.
        type=lambda url: url.rstrip("/"),
        help="another site whose pages may connect; may be repeated",
    )  # fmt: skip
    whom.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", dest="hosts",
        help="another name of the server, behind a proxy; may be repeated",
    )  # fmt: skip


def _add_limits(limits: argparse._ArgumentGroup) -> None:
    for limit in fields(Limits):
        is_whole = not isinstance(limit.default, float)
        limits.add_argument(
            "--" + limit.name.replace("_", "-"),
            type=int if is_whole else float,
            default=argparse.SUPPRESS,  # what was asked for differs from what is by default
            metavar="N" if is_whole else "S",
            help=f"{limit.metadata['told']}; default: {limit.default or 'none'}",
        )
