"""Settings of a server: the table that its flags, variables and files are made of."""

import argparse
import ipaddress
import math
import os
import re
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ser_live import __version__
from ser_live.command_line import Parser
from ser_live.errors import SerError
from ser_live.server.configuration import (
    CONFIG_FLAG,
    CONFIG_VARIABLE,
    PREFIX,
    Given,
    add_flags,
    check,
    gather,
    setting,
    settings_of,
    shown,
)
from ser_live.text import quoted, sanitize

PROGRAM = "ser-serve"
OWN_NAMES = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses under which a machine reaches itself, by those that stand for all of its own."""

_DESCRIPTION = """\
Serve emotion recognition to many voices: a page for people, a WebSocket and HTTP for programs.
Without options only this machine can connect. Nothing that is heard is kept.
"""
_EPILOG = f"""\
Each option is also a variable and a key of the file that {CONFIG_FLAG} or {CONFIG_VARIABLE}
names: --max-streams 9, {PREFIX}MAX_STREAMS=9, max_streams = 9. An option counts before a variable,
and that before the file. For another address than this machine's own a token is made and printed
where none is given. SIGTERM and Ctrl-C let open streams end; a second one ends at once.
Exit codes: 0 stopped, 1 not healthy, 2 a mistake, told on stderr.
"""
# Letters that stand unchanged in an address, a header and a subprotocol.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,200}")
# As browsers send them: letters beyond ASCII as xn--.
_ORIGIN = re.compile(r"https?://([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?/*", re.ASCII | re.IGNORECASE)
_HOST = re.compile(r"[\w.-]+|[\da-f]*:[\da-f.]*:[\da-f:.]*", re.ASCII | re.IGNORECASE)
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/*")
_LEVELS = ("debug", "info", "warning", "error")


def _above_zero(number: float) -> bool:
    return 0 < number < math.inf


_limit = partial(setting, group="limits", fits=_above_zero, wanted="a whole number above 0")
_seconds = partial(_limit, wanted="a number of seconds above 0")
_wait = partial(setting, wanted="0 or more seconds", fits=lambda wait: 0 <= wait < math.inf)
_text = partial(setting, wanted="a text")
_pem = partial(
    setting, None, group="where", metavar="FILE", wanted="a PEM file that can be read",
    fits=lambda path: os.access(path, os.R_OK),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one client, and of all of them."""

    max_streams: int = _limit(200, "open at a time", is_of_token=True)
    max_streams_per_address: int | None = _limit(None, "of one client's address")
    max_frame_bytes: int = _limit(1 << 20, "of one message")
    """Of one WebSocket message."""
    max_bytes_per_second: int = _limit(4_000_000, "of one stream", is_of_token=True)
    """In the long run; a message counts as `COUNTED_BYTES` at least."""
    max_seconds: float = _seconds(14400.0, "of a stream or recording", is_of_token=True)
    idle_seconds: float = _seconds(60.0, "without a message")
    start_seconds: float = _seconds(10.0, "to the start message")
    """From the connection on."""
    max_unsent: int = _limit(256, "messages that wait for a slow reader; its audio waits meanwhile")
    unsent_seconds: float = _seconds(10.0, "in which a reader takes nothing")
    max_upload_bytes: int = _limit(100 << 20, "of a recording", is_of_token=True)
    max_uploads: int = _limit(4, "recordings at a time", is_of_token=True)
    max_answer_bytes: int = _limit(32 << 20, "of one JSON document about a recording")
    """Of answers in lines there may be any number: they are not kept."""
    max_recordings_bytes: int = _limit(256 << 20, "of memory, all recordings and answers together")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a server needs to know at its start.

    Each field that `setting` makes is a flag, a variable and a key of the file, too.

    Raises
    ------
    SerError
        If a value does not fit.
    """

    host: str = _text("127.0.0.1", "name or address to listen on", group="where")
    port: int = setting(
        8321, "to listen on; 0: a free one", group="where",
        wanted="0 to 65535", fits=lambda port: 0 <= port < 2**16,
    )  # fmt: skip
    certificate: str | None = _pem("PEM; with --key: https and wss")
    key: str | None = _pem("PEM")
    """PEM files, for https and wss."""
    token: str | None = setting(
        None, "that clients must show", group="for whom", fits=_TOKEN.fullmatch,
        wanted="16 to 200 letters, digits, '.', '_', '~' or '-'",
        is_secret=True, is_of_token=True, other_variable="SER_SERVE_TOKEN",
    )  # fmt: skip
    """Secret that a client must show; None: none, or those of `tokens`."""
    tokens: str | None = _text(
        None, "with more tokens by name; read again on SIGHUP (not on Windows)",
        group="for whom", metavar="FILE",
    )  # fmt: skip
    origins: Sequence[str] = setting(
        (), "another site whose pages may connect", group="for whom", key="origin", metavar="URL",
        wanted="something like https://name.example", fits=_ORIGIN.fullmatch,
    )  # fmt: skip
    """Web pages from elsewhere that may connect, as ``https://name``."""
    hosts: Sequence[str] = setting(
        (), "another name of the server, behind a proxy",
        group="for whom", key="allow_host", metavar="NAME",
        wanted="a name like voice.example, without scheme and port", fits=_HOST.fullmatch,
    )  # fmt: skip
    """Names under which the server is known, beside its own."""
    root_path: str = setting(
        "", "where a proxy shows the server, whether it strips that off or not",
        group="behind a proxy", metavar="/PATH", fits=_ROOT_PATH.fullmatch,
        wanted="a path like /ser",
    )  # fmt: skip
    """Without a slash at its end; empty: at the top."""
    trusted_proxies: Sequence[str] = setting(
        (), "proxy whose X-Forwarded-For and X-Forwarded-Proto count", key="trusted_proxy",
        group="behind a proxy", metavar="ADDRESS|NETWORK", fits=ipaddress.ip_network,
        wanted="an address or a network like 10.0.0.0/8",
    )  # fmt: skip
    """Of these alone the headers tell the client's address and whether it came by https."""
    models: Sequence[str] = _text(
        (), "to serve beside the shipped ones; the first is the default",
        key="model", metavar="NAME|PATH",
    )  # fmt: skip
    """Names or paths that are served beside the shipped ones; the first is the default."""
    log_level: str = setting(
        "info", "of the JSON lines on stderr", metavar="|".join(_LEVELS),
        wanted=f"one of {', '.join(_LEVELS)}", fits=_LEVELS.__contains__,
    )  # fmt: skip
    drain_seconds: float = _wait(30.0, "for open streams to end when the server is to stop")
    drain_delay: float = _wait(0.0, "from /readyz saying 503 to that, for load balancers")
    limits: Limits = Limits()
    is_loopback: bool = True
    """Only this machine can connect."""
    asked_streams: int | None = None
    """Streams that `models` must carry at a time; None: as many as it can."""

    def __post_init__(self) -> None:
        check(self)
        object.__setattr__(self, "origins", tuple(map(_as_browsers_send, self.origins)))
        object.__setattr__(self, "hosts", tuple(name.lower() for name in self.hosts))
        object.__setattr__(self, "root_path", self.root_path.rstrip("/"))

    @property
    def is_guarded(self) -> bool:
        """True if clients must show a token."""
        return self.token is not None or self.tokens is not None

    @staticmethod
    def from_environment() -> "Settings":
        """Make them of variables, and of the file that one of them names.

        Raises
        ------
        SerError
            If something does not fit, or another address than this machine's own has no token.
        """
        settings = _made(gather(TABLE, {}))
        if not (settings.is_loopback or settings.is_guarded):
            raise SerError(f"{settings.host} is not this machine alone; set {PREFIX}TOKEN")
        return settings


TABLE = (*settings_of(Settings), *settings_of(Limits))


def _as_browsers_send(origin: str) -> str:
    origin = origin.rstrip("/").lower()
    return origin.removesuffix(":443" if origin.startswith("https") else ":80")


def parse(argv: Sequence[str] | None) -> Settings:
    """Read options, variables and the file; with ``--print-config`` show them and exit.

    Raises
    ------
    SerError
        If one makes no sense.
    """
    flags = vars(_parser().parse_args(argv))
    given = gather(TABLE, flags)
    settings = _made(given)
    # A microphone's audio and the processor's time are not for everyone on the network.
    if not (settings.is_loopback or settings.is_guarded):
        settings = replace(settings, token=secrets.token_urlsafe(24))
        given["token"] = Given(settings.token, "made at each start")
    if flags["print_config"]:
        print(shown(TABLE, given))
        raise SystemExit(0)
    if flags["check_health"]:
        raise SystemExit(_told_health(settings))
    return settings


def _told_health(settings: Settings) -> int:
    """Return 0 if the server that runs with these settings is healthy, or 1 and say what came."""
    from ser_live.server.health_check import check_health  # noqa: PLC0415 - needed here alone

    host, port = OWN_NAMES.get(settings.host, settings.host), settings.port
    if not port:
        raise SerError("--check-health asks at --port, and 0 is any free one; give the port that "
                       "the server printed")  # fmt: skip
    if came := check_health(host, port, is_secure=settings.certificate is not None):
        print(f"{PROGRAM}: {host} port {port} is not healthy: {came}", file=sys.stderr)
        return 1
    return 0


def _made(given: Mapping[str, Given]) -> Settings:
    limits, own = (
        {row.name: given[row.key].value for row in settings_of(record) if row.key in given}
        for record in (Limits, Settings)
    )
    asked = limits.get("max_streams")
    settings = Settings(**own, limits=Limits(**limits), asked_streams=asked)
    if (settings.certificate is None) != (settings.key is None):
        raise SerError("--certificate and --key belong together")
    try:
        return replace(settings, is_loopback=_is_loopback(settings.host, settings.port))
    except (OSError, UnicodeError) as error:
        raise SerError(f"{given['host'].whence} is {quoted(settings.host)}, wanted a name or "
                       f"address of this machine ({sanitize(error)})") from error  # fmt: skip


def _is_loopback(host: str, port: int) -> bool:
    # By its address: a name alone does not tell.
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return ipaddress.ip_address(str(found[0][4][0]).partition("%")[0]).is_loopback


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_flags(parser, TABLE)
    parser.add_argument(CONFIG_FLAG, metavar="FILE", help="TOML, with the same names")
    parser.add_argument(
        "--print-config", action="store_true",
        help="show each value and where it comes from, and exit",
    )  # fmt: skip
    parser.add_argument(
        "--check-health", action="store_true",
        help="ask the server that runs with these options how it is, and exit with 0 or 1",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser
