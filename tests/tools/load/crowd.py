"""Callers at once, who speak as long as they are wanted to, and what a step of them came to."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ser_live.latency import StageLatency, summary
from tools.load.caller import Book, Caller
from tools.load.pacing import Pacer, in_background
from tools.load.target import Look, Target
from tools.load.voice import Voice

_OPENED_AT_ONCE = 8
_AROUND = 37  # blocks between the beginnings of two callers: nobody speaks in chorus


@dataclass(frozen=True, slots=True)
class StreamsPlan:
    """What to run."""

    first: int
    """Streams of the first step; the later ones add ``step`` each, up to ``most``."""
    step: int
    most: int
    seconds: float
    """Measured time of each step."""
    settle_seconds: float
    """Time before it."""
    beyond: int
    """Steps after the first one that broke a promise."""
    wanted: int
    """Streams that are promised."""
    limit_seconds: float
    """Promised p95 of the latency."""
    hop_ms: int
    are_together: bool
    model: str | None

    def counts(self) -> Iterator[int]:
        """Give the number of streams of each step."""
        yield from range(self.first, self.most + 1, self.step)


@dataclass(frozen=True, slots=True)
class Step:
    """What some number of streams came to."""

    asked: int
    """Streams that were asked for."""
    open: int
    """That there were at the end of the step."""
    latency: StageLatency
    """From the last sample of a hop sent to its message received."""
    lateness: StageLatency
    """Of the blocks sent: the fault of this tool."""
    left_out_hops: int
    misnumbered: int
    events: dict[str, int]
    errors: dict[str, int]
    refused: dict[str, int]
    lost: dict[str, int]
    server_core_share: float | None
    tool_core_share: float
    resident_bytes: int | None
    threads: int | None
    handles: int | None

    @property
    def cost_per_stream(self) -> float | None:
        """Share of a core that one stream takes."""
        if self.server_core_share is None or not self.open:
            return None
        return self.server_core_share / self.open

    def keeps(self, limit_seconds: float) -> bool:
        """All that is promised was kept."""
        trouble = self.errors or self.refused or self.lost or self.left_out_hops
        return not trouble and self.latency.count > 0 and self.latency.p95_seconds <= limit_seconds


@dataclass(frozen=True, slots=True)
class Account:
    """Where the samples of all streams went that were ended properly."""

    streams: int
    sent_samples: int
    processed_samples: int
    unaccounted_samples: int
    """Sent, and neither received nor accounted for in ``ended``; summed over streams."""


class Crowd:
    """All callers, who speak as long as it runs; made by `crowd`."""

    def __init__(self, plan: StreamsPlan, voice: Voice, target: Target) -> None:
        self._plan, self._voice, self._target = plan, voice, target
        self._book = Book()
        self.pacer = Pacer(voice.block_ms, plan.hop_ms, plan.are_together)
        self._callers: list[Caller] = []
        self._asked = 0

    async def grow(self, count: int) -> None:
        """Let so many have asked for a stream."""
        door = asyncio.Semaphore(_OPENED_AT_ONCE)
        numbers = range(self._asked, count)
        self._asked = count
        await asyncio.gather(*(self._open(number, door) for number in numbers))

    async def measure(self) -> Step:
        """Watch for the time of a step."""
        opening = self._book.turn()  # whom the server refused belongs to this step, too
        before, own_seconds = self._target.look(), time.process_time()
        await asyncio.sleep(self._plan.seconds)
        after, own_seconds = self._target.look(), time.process_time() - own_seconds
        tally = self._book.turn()
        seconds = after.at_seconds - before.at_seconds
        return Step(
            asked=self._asked,
            open=sum(caller.is_open for caller in self._callers),
            latency=summary("latency", tally.latency_seconds),
            lateness=summary("lateness", tally.late_seconds),
            left_out_hops=opening.left_out_hops + tally.left_out_hops,
            misnumbered=opening.misnumbered + tally.misnumbered,
            events=dict(opening.events + tally.events),
            errors=dict(opening.errors + tally.errors),
            refused=dict(opening.refused + tally.refused),
            lost=dict(opening.lost + tally.lost),
            server_core_share=_share(before, after),
            tool_core_share=own_seconds / seconds,
            resident_bytes=after.resident_bytes,
            threads=after.threads,
            handles=after.handles,
        )

    async def end(self) -> Account:
        """Let all say goodbye, and see whether every sample was answered for."""
        spoken = [caller for caller in self._callers if caller.is_open]
        await asyncio.gather(*(caller.end() for caller in spoken))
        done = [(caller, caller.ended) for caller in spoken if caller.ended is not None]
        processed = sum(ended["processed_samples"] for _, ended in done)
        missing = sum(abs(c.sent_samples - ended["processed_samples"]) for c, ended in done)
        missing += sum(c.sent_samples for c in spoken if c.ended is None)
        return Account(len(spoken), sum(c.sent_samples for c in spoken), processed, missing)

    def abort(self) -> None:
        """Let all be gone."""
        for caller in self._callers:
            caller.abort()

    async def _open(self, number: int, door: asyncio.Semaphore) -> None:
        first_block = number * _AROUND % len(self._voice.frames)
        caller = Caller(self._voice, first_block, self._plan.hop_ms, self._book)
        async with door:
            if await caller.open(self._target.address, model=self._plan.model):
                self._callers.append(caller)
                self.pacer.add(caller)


@asynccontextmanager
async def crowd(plan: StreamsPlan, voice: Voice, target: Target) -> AsyncIterator[Crowd]:
    """Let callers speak in this context."""
    them = Crowd(plan, voice, target)
    async with in_background(them.pacer.run()):
        try:
            yield them
        finally:
            them.abort()


def _share(before: Look, after: Look) -> float | None:
    if before.processor_seconds is None or after.processor_seconds is None:
        return None
    passed = after.at_seconds - before.at_seconds
    return (after.processor_seconds - before.processor_seconds) / passed
