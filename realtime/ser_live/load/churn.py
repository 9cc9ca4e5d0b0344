"""Connect, speak and be gone, thousands of times, and see what stays behind."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np

from ser_live.classifier import OnnxClassifier
from ser_live.conditions import Conditions, conditions
from ser_live.load.caller import Book, Caller
from ser_live.load.rest import at_rest
from ser_live.load.target import Look, Target
from ser_live.load.truth import differences, true_predictions
from ser_live.load.voice import Voice
from ser_live.load.wire import RefusedError, Wire, open_wire

_WHOLE_SHARE = 0.3
_WARM_UP_SHARE = 0.5  # what is kept for reuse comes to its full size; a leak goes on
_LEAST_WARM_UP = 100
_GOODBYE_SECONDS = 30.0
_PATIENCE_SECONDS = 0.5
_LOOKS = 20
_HALF_REQUEST = b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: webs"


@dataclass(frozen=True, slots=True)
class ChurnPlan:
    """What to run."""

    cycles: int
    at_once: int
    """Visitors at any moment."""
    speak_blocks: int
    """What a whole visit says, as fast as it is taken."""
    hop_ms: int
    seed: int
    model: str | None


@dataclass(frozen=True, slots=True)
class ChurnReport:
    """What came of it."""

    conditions: Conditions
    plan: ChurnPlan
    seconds: float
    cycles: dict[str, int]
    """Visits by the way in which they ended."""
    refused: int
    """Times that a visitor had to come again, because the server was busy."""
    troubles: dict[str, int]
    """What should not have happened."""
    different_predictions: int
    """Of whole visits, against the same samples offline."""
    warm_cycles: int
    warm: Look
    """When the first half of the visitors had gone."""
    looks: tuple[tuple[int, Look], ...]
    """Cycles done, and how the server was then."""
    after: Look
    is_healthy: bool
    log_errors: dict[str, int]

    @property
    def growth_bytes(self) -> int | None:
        """Memory that the second half of the cycles left behind."""
        first, last = self.warm.resident_bytes, self.after.resident_bytes
        return None if first is None or last is None else last - first


@dataclass(slots=True)
class _Notes:
    cycles: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    different: int = 0


class Churn:
    """Run a plan.

    Parameters
    ----------
    plan : ChurnPlan
        What to run.
    voice : Voice
        What the visitors say.
    target : Target
        The server.
    model : OnnxClassifier
        That the server has: whole visits must hear what it says offline.
    """

    def __init__(
        self, plan: ChurnPlan, voice: Voice, target: Target, model: OnnxClassifier
    ) -> None:
        self._plan, self._voice, self._target = plan, voice, target
        self._rng = np.random.default_rng(plan.seed)
        self._true = true_predictions(model, voice, 0, plan.speak_blocks, plan.hop_ms)
        self._notes = _Notes()
        self._done = 0
        self._looks: list[tuple[int, Look]] = []
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

    async def run(self, advance: Callable[[float, str], None]) -> ChurnReport:
        """Run it; ``advance`` is told the share that is done and a word on it."""
        plan, began_at = self._plan, time.monotonic()
        warm_up = min(plan.cycles, max(_LEAST_WARM_UP, round(_WARM_UP_SHARE * plan.cycles)))
        await self._visit(warm_up, advance)
        warm = await at_rest(self._target)
        await self._visit(plan.cycles - warm_up, advance)
        after = await at_rest(self._target)
        return ChurnReport(
            conditions=conditions(plan.model or self._target.model()),
            plan=plan,
            seconds=time.monotonic() - began_at,
            cycles=dict(self._notes.cycles),
            refused=self._notes.refused,
            troubles=dict(self._notes.troubles),
            different_predictions=self._notes.different,
            warm_cycles=warm_up,
            warm=warm,
            looks=tuple(self._looks),
            after=after,
            is_healthy=self._target.is_alive() and self._target.get("/healthz")[0] == 200,
            log_errors=self._target.log_errors(),
        )

    async def _visit(self, cycles: int, advance: Callable[[float, str], None]) -> None:
        left = iter(range(cycles))

        async def visitor() -> None:
            for _ in left:  # shared: each number goes to one visitor
                await self._one()
                self._done += 1
                if self._done % max(1, self._plan.cycles // _LOOKS) == 0:
                    self._looks.append((self._done, self._target.look()))
                    advance(self._done / self._plan.cycles, f"{self._done} cycles")

        await asyncio.gather(*(visitor() for _ in range(self._plan.at_once)))

    async def _one(self) -> None:
        names = list(self._ways)
        is_whole = self._rng.random() < _WHOLE_SHARE
        name = names[0] if is_whole else names[self._rng.integers(1, len(names))]
        while True:
            try:
                await self._ways[name]()
                break
            except RefusedError as refused:
                if refused.status != 503:
                    self._notes.troubles[f"HTTP {refused.status}"] += 1
                    break
                self._notes.refused += 1
                await asyncio.sleep(_PATIENCE_SECONDS)
            except (OSError, TimeoutError) as error:
                self._notes.troubles[f"{name}: {type(error).__name__}"] += 1
                break
        self._notes.cycles[name] += 1

    async def _whole(self) -> None:
        book = Book()
        caller = Caller(self._voice, 0, self._plan.hop_ms, book, keeps=True)
        if not await caller.open(self._target.address, model=self._plan.model):
            busy = "HTTP 503" in book.now.refused or "close 1013" in book.now.refused
            raise RefusedError(503 if busy else 0)
        for _ in range(self._plan.speak_blocks):
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
        self._notes.troubles += wrong
        self._notes.different += differences(caller.predictions, self._true)

    async def _open(self, is_started: bool = True) -> Wire:
        wire = await open_wire(self._target.address, _ignore)
        if is_started:
            wire.say(**self._voice.start_message(model=self._plan.model))
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
