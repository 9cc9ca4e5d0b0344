"""Address of a server, and the headers that it asks for."""

import re
import urllib.parse
from dataclasses import dataclass

from ser_live.errors import SerError
from ser_live.text import quoted

DEFAULT_SERVER = "http://127.0.0.1:8321"

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
# Of a header's value; a proxy in front may take other ones than ser-serve.
_TOKEN = re.compile("[!-~]*")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Address:
    """Address of a server, taken apart."""

    is_secure: bool
    host: str
    port: int
    folder: str
    """Path in front of ``/v1``, where a proxy adds one; else empty."""
    token: str | None

    @classmethod
    def parse(cls, server: str, token: str | None = None) -> "Address":
        """Read the address that ``ser-serve`` printed.

        Parameters
        ----------
        server : str
            Like ``http://127.0.0.1:8321`` or ``https://voice.example/#token=T``; ``ws`` and
            ``wss`` do as well.
        token : str or None
            Instead of the one in the address.

        Raises
        ------
        SerError
            If it is no such address, or the token cannot be one.
        """
        try:
            parts = urllib.parse.urlsplit(server)
            port = parts.port
        except (ValueError, AttributeError, TypeError) as error:
            raise _no_address(server) from error
        if parts.scheme not in _PORTS or not parts.hostname:
            raise _no_address(server)
        found = urllib.parse.parse_qs(parts.fragment).get("token", [None])[0]
        token = found if token is None else str(token)
        if not _TOKEN.fullmatch(token or ""):
            raise SerError(
                "the token has a space, a line's end or no ASCII in it; wanted the one that "
                "ser-serve takes: letters, digits and . _ ~ -"
            )
        return cls(
            is_secure=parts.scheme in ("https", "wss"),
            host=parts.hostname,
            port=_PORTS[parts.scheme] if port is None else port,
            folder=parts.path.rstrip("/"),
            token=token,
        )

    def __str__(self) -> str:
        return f"{'https' if self.is_secure else 'http'}://{self.netloc}{self.folder}"

    @property
    def netloc(self) -> str:
        """Host and port, as they stand in an address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """True for this machine: no proxy stands between."""
        return self.host in _LOOPBACK

    @property
    def stream_url(self) -> str:
        """Address of the WebSocket."""
        return f"{'wss' if self.is_secure else 'ws'}://{self.netloc}{self.folder}/v1/stream"

    @property
    def headers(self) -> dict[str, str]:
        """Headers that show the token."""
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}


def require_timeout(seconds: float) -> float:
    """Return the patience with a server, or raise SerError if no socket can wait so long."""
    return require_seconds("timeout_seconds", seconds, 0.001, 1_000_000)


def require_seconds(name: str, seconds: float, least: float, most: float) -> float:
    """Return seconds of an option, or raise SerError if they are not within the bounds."""
    try:
        is_right = least <= seconds <= most
    except TypeError:
        is_right = False
    if not is_right:
        raise SerError(f"{name} is {quoted(seconds)}, wanted {least} to {most} seconds")
    return seconds


def _no_address(server: object) -> SerError:
    return SerError(
        f"{quoted(server)} is no address of a server; wanted one like {DEFAULT_SERVER}, "
        "as ser-serve prints it"
    )
