"""How visitors come, and how they leave."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np

from tools.load.caller import Book, Caller, Comparable
from tools.load.target import Target
from tools.load.truth import differences
from tools.load.voice import Voice
from tools.load.wire import RefusedError, Wire, open_wire

_WHOLE_SHARE = 0.3
_GOODBYE_SECONDS = 30.0
_PATIENCE_SECONDS = 0.5
_HALF_REQUEST = b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: webs"


@dataclass(slots=True)
class Notes:
    """What came of all visits."""

    cycles: Counter[str] = field(default_factory=Counter)
    """By the way in which they ended."""
    troubles: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    different: int = 0
    """Predictions of whole visits that are not the true ones."""


class Visits:
    """Visit a server, each time in a way that the dice choose.

    Parameters
    ----------
    target : Target
        The server.
    voice : Voice
        What the visitors say.
    speak_blocks : int
        How much a whole visit says, as fast as it is taken.
    true : list
        What it must hear then.
    hop_ms : int
        From one prediction to the next.
    model : str or None
        That they ask for.
    seed : int
        Of the dice.
    """

    def __init__(
        self,
        target: Target,
        voice: Voice,
        speak_blocks: int,
        true: list[Comparable],
        hop_ms: int,
        model: str | None,
        seed: int,
    ) -> None:
        self._target, self._voice, self._model = target, voice, model
        self._speak_blocks, self._true, self._hop_ms = speak_blocks, true, hop_ms
        self._rng = np.random.default_rng(seed)
        self.notes = Notes()
        self._ways: dict[str, Callable[[], Awaitable[None]]] = {
            "whole": self._whole,
            "goodbye while speaking": self._goodbye,
            "gone while speaking": self._gone,
            "reset while speaking": self._reset,
            "gone without a word": self._silent,
            "gone in the handshake": self._half_request,
            "gone before the start": self._before_start,
            "gone after the start": self._after_start,
            "gone within a frame": self._half_frame,
            "gone after the end": self._after_end,
            "gone without listening": self._deaf,
        }

    async def one(self) -> None:
        """Come, and leave; whom the server has no time for comes again."""
        names = list(self._ways)
        is_whole = self._rng.random() < _WHOLE_SHARE
        name = names[0] if is_whole else names[self._rng.integers(1, len(names))]
        while True:
            try:
                await self._ways[name]()
                break
            except RefusedError as refused:
                if refused.status != 503:
                    self.notes.troubles[f"HTTP {refused.status}"] += 1
                    break
                self.notes.refused += 1
                await asyncio.sleep(_PATIENCE_SECONDS)
            except (OSError, TimeoutError) as error:
                self.notes.troubles[f"{name}: {type(error).__name__}"] += 1
                break
        self.notes.cycles[name] += 1

    async def _whole(self) -> None:
        book = Book()
        caller = Caller(self._voice, 0, self._hop_ms, book, keeps=True)
        if not await caller.open(self._target.address, model=self._model):
            busy = "HTTP 503" in book.now.refused or "close 1013" in book.now.refused
            raise RefusedError(503 if busy else 0)
        for _ in range(self._speak_blocks):
            caller.speak(time.monotonic())
        await caller.end()
        self._check(caller, book)

    def _check(self, caller: Caller, book: Book) -> None:
        tally, ended = book.now, caller.ended
        wrong = tally.errors + tally.lost
        if ended is None:
            wrong["no account"] += 1
        elif ended["processed_samples"] != caller.sent_samples:
            wrong["samples unaccounted"] += 1
        if tally.misnumbered:
            wrong["messages misnumbered"] += 1
        self.notes.troubles += wrong
        self.notes.different += differences(caller.predictions, self._true)

    async def _open(self, is_started: bool = True) -> Wire:
        wire = await open_wire(self._target.address, _ignore)
        if is_started:
            wire.say(**self._voice.start_message(model=self._model))
        return wire

    async def _speaking(self) -> Wire:
        wire = await self._open()
        for frame in self._voice.frames[: self._rng.integers(1, 30)]:
            wire.write(frame)
        await self._linger()
        return wire

    async def _linger(self) -> None:
        await asyncio.sleep(float(self._rng.exponential(0.02)))

    async def _goodbye(self) -> None:
        wire = await self._speaking()
        wire.close()
        async with asyncio.timeout(_GOODBYE_SECONDS):
            await wire.closed

    async def _gone(self) -> None:
        (await self._speaking()).abort()

    async def _reset(self) -> None:
        (await self._speaking()).abort(reset=True)

    async def _silent(self) -> None:
        await self._raw(b"")

    async def _half_request(self) -> None:
        await self._raw(_HALF_REQUEST)

    async def _raw(self, data: bytes) -> None:
        address = self._target.address
        _, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(data)
        await self._linger()
        writer.transport.abort()

    async def _before_start(self) -> None:
        wire = await self._open(is_started=False)
        await self._linger()
        wire.abort()

    async def _after_start(self) -> None:
        (await self._open()).abort()

    async def _half_frame(self) -> None:
        wire = await self._speaking()
        wire.write(self._voice.frames[0][: self._rng.integers(1, 1000)])
        await self._linger()
        wire.abort(reset=bool(self._rng.integers(2)))

    async def _after_end(self) -> None:
        wire = await self._speaking()
        wire.say(type="end")
        wire.abort()

    async def _deaf(self) -> None:
        wire = await self._open()
        wire.transport.pause_reading()
        for frame in self._voice.frames[:50]:
            wire.write(frame)
        await self._linger()
        wire.abort()


def _ignore(data: bytes) -> None:
    pass
