"""More and more voices at once, up to the breaking point and beyond."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass

from tools.conditions import Conditions, conditions
from tools.load.crowd import Account, Step, StreamsPlan, crowd
from tools.load.target import Look, Target
from tools.load.voice import Voice


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
    named = conditions(plan.model or target.model())
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
        conditions=named,
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
