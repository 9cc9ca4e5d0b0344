"""Tokens by name: from a file that is read again while streams run, each with its own limits."""

import hmac
import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from ser_live.errors import SerError
from ser_live.server.configuration import read_keys, read_toml
from ser_live.server.observability import logger
from ser_live.server.settings import TABLE, Limits, Settings
from ser_live.text import quoted, sanitize

SINGLE = "default"
"""Name of the token that the settings give."""
# They stand in log lines and as labels of metrics.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OWN = [row for row in TABLE if row.is_of_token]
_WANTED = "wanted tables [tokens.NAME], each with a token"


@dataclass(frozen=True, slots=True)
class Token:
    """A secret that lets clients in."""

    name: str
    digest: bytes
    """SHA-256 of the secret: of the same length for all."""
    limits: Limits
    """Of its clients: the server's, but for its own."""


class Tokens:
    """Those that are let in: that of the settings, and those of the file.

    Parameters
    ----------
    settings : Settings
        Token, file of tokens, and the limits that hold where a token has none of its own.

    Raises
    ------
    SerError
        If the file cannot be read or makes no sense.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._gone: dict[bytes, str] = {}
        self._tokens: list[Token] = []
        if settings.tokens is not None and hasattr(signal, "SIGHUP"):
            with suppress(ValueError):  # in another thread than the main one there are no signals
                signal.signal(signal.SIGHUP, lambda *_: self.reload())
        self._tokens = self._read()

    def __bool__(self) -> bool:
        """Return False if nothing is asked for."""
        return bool(self._tokens)

    def find(self, secret: str) -> Token | None:
        """Return the token that a secret is, if it is one."""
        found, digest = None, _digest(secret)
        # To the end, each in constant time: the time it takes must tell nothing about a guess.
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found

    def gone_name(self, secret: str) -> str | None:
        """Return the name under which a secret was a token before the file changed."""
        return self._gone.get(_digest(secret))

    def reload(self) -> None:
        """Read the file again; one that makes no sense leaves all as it is."""
        try:
            tokens = self._read()
        except SerError as error:
            logger.error("tokens kept as they were", extra={"detail": str(error)})
            return
        before, now = ({token.digest: token.name for token in t} for t in (self._tokens, tokens))
        gone = {digest: name for digest, name in before.items() if digest not in now}
        self._gone = {d: n for d, n in (self._gone | gone).items() if d not in now}
        self._tokens = tokens
        added = sorted(name for digest, name in now.items() if digest not in before)
        told = {"tokens": sorted(now.values()), "added": added, "gone": sorted(gone.values())}
        logger.info("tokens read again", extra=told)

    def _read(self) -> list[Token]:
        settings, tokens = self._settings, list[Token]()
        if settings.token is not None:
            tokens.append(Token(SINGLE, _digest(settings.token), settings.limits))
        if settings.tokens is not None:
            tokens += _from_file(settings.tokens, settings.limits)
        owners = dict[str | bytes, Token]()
        for token in tokens:
            for mark in (token.name, token.digest):
                if (other := owners.setdefault(mark, token)) is not token:
                    raise SerError(
                        f"{sanitize(settings.tokens)}: [tokens.{token.name}] has the name or the "
                        f"token of {other.name}, wanted its own"
                    )
        return tokens


def _from_file(path: str, limits: Limits) -> list[Token]:
    where = f"{sanitize(path)}:"
    holds = read_toml(path)
    tables = holds.pop("tokens", None)
    if not isinstance(tables, dict) or not tables or holds:
        came = f"has {quoted(next(iter(holds)))}" if holds else "names no token"
        raise SerError(f"{where} {came}, {_WANTED}")
    # Where the system has no such rights, every file looks open.
    with suppress(OSError):
        if os.name != "nt" and Path(path).stat().st_mode & 0o004:
            logger.warning("tokens are open to others", extra={"detail": f"{where} chmod 640"})
    return [_token(name, table, where, limits) for name, table in tables.items()]


def _token(name: str, table: object, where: str, limits: Limits) -> Token:
    here = f"{where} [tokens.{sanitize(name)}]"
    if not _NAME.fullmatch(name):
        raise SerError(f"{here}, wanted a name of 1 to 64 letters, digits, '.', '_' or '-'")
    if not isinstance(table, dict) or "token" not in table:
        raise SerError(f"{here} has no token, {_WANTED}")
    own = read_keys(_OWN, table, here)
    return Token(name, _digest(own.pop("token")), replace(limits, **own))


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
