"""One voice in real time, and what is noted of it."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ser_live.client.address import Address
from tools.load.voice import Voice
from tools.load.wire import LOST, RefusedError, Wire, open_wire

_REMEMBERED_BLOCKS = 1024
_MOST_UNSENT_SECONDS = 10.0
_ANSWER_SECONDS = 30.0
_VOLATILE = ("type", "number", "lag_seconds", "timing")

Comparable = dict[str, Any]
"""A prediction as JSON, without what the clock has to do with."""


@dataclass(slots=True)
class Tally:
    """What happened to all callers in some time."""

    latency_seconds: list[float] = field(default_factory=list)
    """From the last sample of a hop sent to its message received."""
    late_seconds: list[float] = field(default_factory=list)
    """How late a block was sent: the fault of this tool."""
    left_out_hops: int = 0
    """That will have no prediction."""
    misnumbered: int = 0
    """Messages whose number is not that of the one before and one."""
    events: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    """Streams that ended before they should, by close code."""


@dataclass(slots=True)
class Book:
    """Where callers write what happens to them: a page for each stretch of time."""

    now: Tally = field(default_factory=Tally)

    def turn(self) -> Tally:
        """Begin a new page and give the old one."""
        before, self.now = self.now, Tally()
        return before


class Caller:
    """Speaks block by block, as a browser would, and listens.

    Parameters
    ----------
    voice : Voice
        What it says.
    first_block : int
        Where in the voice it begins.
    hop_ms : int
        From one prediction to the next.
    book : Book
        Where it writes what happens.
    keeps : bool
        Remember all predictions, to compare them.
    """

    def __init__(
        self, voice: Voice, first_block: int, hop_ms: int, book: Book, keeps: bool = False
    ) -> None:
        self.voice = voice
        self.first_block = first_block
        self.blocks = 0
        self.started: dict[str, Any] | None = None
        self.ended: dict[str, Any] | None = None
        self.predictions: list[Comparable] = []
        self._hop_ms = hop_ms
        self._book = book
        self._keeps = keeps
        self._sent_at = [0.0] * _REMEMBERED_BLOCKS
        self._next_index = 0
        self._next_number = 0
        self._is_ending = False
        self._most_unsent_bytes = _MOST_UNSENT_SECONDS * 1000 / voice.block_ms * len(
            voice.frames[0]
        )  # fmt: skip
        self._wire: Wire | None = None
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_open(self) -> bool:
        """It has a stream."""
        return self._wire is not None and self.started is not None and self._wire.is_open

    @property
    def sent_samples(self) -> int:
        """Samples that it has said."""
        return self.blocks * self.voice.block_samples

    async def open(self, address: Address, **options: object) -> bool:
        """Connect and begin a stream; False, and a note in the book: the server would not."""
        try:
            self._wire = await open_wire(address, self._hear)
        except RefusedError as refused:
            self._book.now.refused[f"HTTP {refused.status}"] += 1
            return False
        except (OSError, TimeoutError) as error:
            self._book.now.refused[type(error).__name__] += 1
            return False
        self._wire.closed.add_done_callback(self._lose)
        hop_seconds = self._hop_ms / 1000.0
        self._wire.say(**self.voice.start_message(hop_seconds=hop_seconds, **options))
        return await self._answer()

    def speak(self, due_at: float) -> None:
        """Send the next block, which was due at a time of the monotonic clock."""
        wire = self._wire
        if wire is None or not wire.is_open or self._is_ending:
            return
        if wire.unsent_bytes > self._most_unsent_bytes:
            self._book.now.errors["not taken for ten seconds"] += 1
            wire.abort()
            return
        frames = self.voice.frames
        wire.write(frames[(self.first_block + self.blocks) % len(frames)])
        now = time.monotonic()
        self._sent_at[self.blocks % _REMEMBERED_BLOCKS] = now
        self._book.now.late_seconds.append(now - due_at)
        self.blocks += 1

    async def end(self) -> None:
        """Say that no more comes, and wait for the account."""
        if self._wire is None or not self.is_open:
            return
        self._is_ending = True
        self._wire.say(type="end")
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await asyncio.shield(self._wire.closed)
        except TimeoutError:
            self._book.now.errors["no 'ended' in time"] += 1
            self._wire.abort()

    def abort(self) -> None:
        """Be gone."""
        if self._wire is not None:
            self._is_ending = True
            self._wire.abort()

    async def _answer(self) -> bool:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._answered
        except TimeoutError:
            self._book.now.refused["no 'started' in time"] += 1
            self.abort()
        return self.started is not None

    def _hear(self, data: bytes) -> None:
        at = time.monotonic()  # the loop's own clock may stand still while it works
        message = json.loads(data)
        self._book.now.misnumbered += message["number"] != self._next_number
        self._next_number = message["number"] + 1
        kind = message["type"]
        if kind == "prediction":
            self._hear_prediction(message, at)
        elif kind == "event":
            self._book.now.events[message["event"]] += 1
        elif kind == "error":
            self._book.now.errors[message["code"]] += 1
        elif kind == "started":
            self.started = message
            self._answered.set_result(None)
        elif kind == "ended":
            self.ended = message

    def _hear_prediction(self, message: dict[str, Any], at: float) -> None:
        index: int = message["index"]
        self._book.now.left_out_hops += index - self._next_index
        self._next_index = index + 1
        # The block with the last sample of the hop; that of a hop cut short was never sent.
        block = -(-self._hop_ms * (index + 1) // self.voice.block_ms) - 1
        if block < self.blocks <= block + _REMEMBERED_BLOCKS:
            self._book.now.latency_seconds.append(at - self._sent_at[block % _REMEMBERED_BLOCKS])
        if self._keeps:
            self.predictions.append(comparable(message))

    def _lose(self, closed: "asyncio.Future[int]") -> None:
        code = closed.result()
        if self.started is None:
            self._book.now.refused[f"close {code}"] += 1
            if not self._answered.done():
                self._answered.set_result(None)
        elif not self._is_ending:
            self._book.now.lost["connection lost" if code == LOST else f"close {code}"] += 1


def comparable(message: dict[str, Any]) -> Comparable:
    """Leave away what differs from run to run."""
    return {name: value for name, value in message.items() if name not in _VOLATILE}
