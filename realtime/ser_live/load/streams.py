"""More and more voices at once, up to the breaking point and beyond."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ser_live.conditions import Conditions, conditions
from ser_live.latency import StageLatency, summary
from ser_live.load.caller import Book, Caller
from ser_live.load.pacing import Pacer, in_background
from ser_live.load.target import Look, Target
from ser_live.load.voice import Voice

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


@dataclass(frozen=True, slots=True)
class StreamsReport:
    """What came of it."""

    conditions: Conditions
    plan: StreamsPlan
    voice: str
    idle: Look
    steps: tuple[Step, ...]
    account: Account
    after: Look
    """When all streams had ended."""
    is_healthy: bool
    """It answered, in the end."""
    is_ours: bool
    """The server was started by this tool."""
    load_average: float

    @property
    def kept(self) -> Step | None:
        """The last step before the first that broke a promise."""
        last = None
        for step in self.steps:
            if not step.keeps(self.plan.limit_seconds):
                break
            last = step
        return last

    def memory_per_stream(self, step: Step) -> float | None:
        """Bytes that a stream of a step takes beside the idle server."""
        if step.resident_bytes is None or self.idle.resident_bytes is None:
            return None
        return (step.resident_bytes - self.idle.resident_bytes) / max(1, step.open)


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


async def measure_streams(
    plan: StreamsPlan, voice: Voice, target: Target, advance: Callable[[float, str], None]
) -> StreamsReport:
    """Run a plan.

    Parameters
    ----------
    plan : StreamsPlan
        What to run.
    voice : Voice
        What the callers say.
    target : Target
        The server.
    advance : callable
        Is told the share that is done and a word on it, after each step.
    """
    idle, steps, broken = target.look(), [], 0
    async with crowd(plan, voice, target) as them:
        for count in plan.counts():
            await them.grow(count)
            await asyncio.sleep(plan.settle_seconds)
            step = await them.measure()
            steps.append(step)
            milliseconds = 1000.0 * step.latency.p95_seconds
            advance(count / plan.most, f"{step.open} streams, p95 {milliseconds:.1f} ms")
            broken += bool(broken) or not step.keeps(plan.limit_seconds)
            if broken > plan.beyond or not step.open:
                break
        account = await them.end()
    return StreamsReport(
        conditions=conditions(plan.model or target.model()),
        plan=plan,
        voice=str(voice),
        idle=idle,
        steps=tuple(steps),
        account=account,
        after=target.look(),
        is_healthy=target.is_alive() and target.get("/healthz")[0] == 200,
        is_ours=target.process is not None,
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan"),
    )


def _share(before: Look, after: Look) -> float | None:
    if before.processor_seconds is None or after.processor_seconds is None:
        return None
    passed = after.at_seconds - before.at_seconds
    return (after.processor_seconds - before.processor_seconds) / passed
