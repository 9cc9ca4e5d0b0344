"""Who speaks when: every caller its next block when that is due, spread evenly over time."""

import asyncio
import contextlib
import heapq
import math
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from tools.load.caller import Caller

_TICK_SECONDS = 0.002
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


class Pacer:
    """Lets callers speak in real time.

    Callers begin at moments that are spread evenly over the time after which blocks and hops
    fall together again, as callers do who know nothing of each other.

    Parameters
    ----------
    block_ms, hop_ms : int
        Of all callers.
    are_together : bool
        Let all begin at one moment of that time instead: the worst case.
    """

    def __init__(self, block_ms: int, hop_ms: int, are_together: bool = False) -> None:
        self._block_seconds = block_ms / 1000.0
        self._cycle_seconds = math.lcm(block_ms, hop_ms) / 1000.0
        self._are_together = are_together
        self._began_at = time.monotonic()
        self._turns: list[tuple[float, int, Caller]] = []
        self._count = 0

    def add(self, caller: Caller) -> None:
        """Let one more speak, from the next moment that is its own."""
        phase = 0.0 if self._are_together else self._count * _GOLDEN % 1.0
        now = time.monotonic() - self._began_at
        cycles = math.ceil(now / self._cycle_seconds - phase)
        due_at = self._began_at + (cycles + phase) * self._cycle_seconds
        heapq.heappush(self._turns, (due_at + self._block_seconds, self._count, caller))
        self._count += 1

    async def run(self) -> None:
        """Go on until cancelled; who has no stream any more is forgotten."""
        while True:
            now = time.monotonic()
            while self._turns and self._turns[0][0] <= now:
                due_at, number, caller = self._turns[0]
                if caller.is_open:
                    caller.speak(due_at)
                    heapq.heapreplace(self._turns, (due_at + self._block_seconds, number, caller))
                else:
                    heapq.heappop(self._turns)
            await asyncio.sleep(_TICK_SECONDS)


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let something endless go on in this context; its error is the error of the context."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
