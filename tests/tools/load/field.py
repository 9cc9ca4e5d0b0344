"""Where the attackers work: what they have at hand, and what they note of the answers."""

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ser_live.client.address import Address
from tools.load.voice import Voice
from tools.load.wire import LOST, RefusedError, Wire, open_wire

_STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3})", re.MULTILINE)
_REPLY_SECONDS = 1.0
_MOST_REPLY_BYTES = 2**20


@dataclass(slots=True)
class Field:
    """All that an attack needs."""

    address: Address
    voice: Voice
    rng: np.random.Generator
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Attack and answer, like ("random bytes", "HTTP 400")."""
    attack: str = ""
    """The one that is under way."""

    def note(self, outcome: str) -> None:
        """Write down how the server answered."""
        self.outcomes[self.attack, outcome] += 1

    def noise(self, least: int, most: int) -> bytes:
        """Make random bytes."""
        return self.rng.bytes(int(self.rng.integers(least, most + 1)))

    def chance(self, share: float) -> bool:
        """Toss a coin."""
        return bool(self.rng.random() < share)

    def choice(self, options: Iterable[Any]) -> Any:
        """Take one of them."""
        known = list(options)
        return known[self.rng.integers(len(known))]

    async def raw(self, *pieces: bytes, pause_seconds: float = 0.0) -> None:
        """Send bytes over TCP, note the status of the answer, and hang up."""
        reader, writer = await asyncio.open_connection(self.address.host, self.address.port)
        try:
            with contextlib.suppress(OSError):
                for piece in pieces:
                    if writer.is_closing():  # the server had enough: uvloop refuses to write
                        break
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(pause_seconds)
            self.note(await _status(reader))
        finally:
            writer.transport.abort()

    @asynccontextmanager
    async def wire(self, **options: Any) -> AsyncIterator["Line"]:
        """Connect as a WebSocket, note how it was answered, and be gone in the end."""
        heard: list[dict[str, Any]] = []
        wire = await open_wire(self.address, lambda d: heard.append(json.loads(d)), **options)
        line = Line(wire, heard)
        try:
            yield line
            await line.rest()
        finally:
            wire.abort()
            for message in heard:
                if message["type"] in ("error", "ended"):
                    self.note(f"{message['type']} {message.get('code') or message['reason']}")
            code = wire.closed.result() if wire.closed.done() else None
            self.note("left open" if code is None else _closing(code))

    def note_refusal(self, error: Exception) -> None:
        """Write down why there was no connection."""
        is_status = isinstance(error, RefusedError)
        self.note(f"HTTP {error.status}" if is_status else type(error).__name__)  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Line:
    """A WebSocket of an attacker."""

    wire: Wire
    heard: list[dict[str, Any]]
    """All messages that came."""

    def begin(self, voice: Voice, **options: object) -> None:
        """Ask for a proper stream."""
        self.wire.say(**voice.start_message(**options))

    async def rest(self, seconds: float = _REPLY_SECONDS) -> None:
        """Wait for an answer, no longer than until the server hangs up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.shield(self.wire.closed)


def _closing(code: int) -> str:
    return "connection lost" if code == LOST else f"close {code}"


async def _status(reader: asyncio.StreamReader) -> str:
    reply = b""
    try:
        async with asyncio.timeout(_REPLY_SECONDS):
            while len(reply) < _MOST_REPLY_BYTES and (more := await reader.read(2**16)):
                reply += more
    except TimeoutError:
        pass
    except OSError as error:
        return f"HTTP {_last(reply)}" if reply else type(error).__name__
    return f"HTTP {_last(reply)}" if reply else "no answer"


def _last(reply: bytes) -> str:
    """Give the worst status: an attack may hold several requests."""
    found = [status.decode() for status in _STATUS.findall(reply)]
    return max(found, default="?")
