"""Connect, speak and be gone, thousands of times, and see what stays behind."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from ser_live.model.classifier import OnnxClassifier
from tools.conditions import Conditions, conditions
from tools.load.rest import at_rest
from tools.load.target import Look, Target
from tools.load.truth import true_predictions
from tools.load.visits import Visits
from tools.load.voice import Voice

_SETTLED_CYCLES = 2000  # by then memory that is kept for reuse has its size; a leak goes on
_LOOKS = 20


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
    """Earlier ones: half of all, or more where that is few."""
    warm: Look
    """When the earlier visitors had gone."""
    looks: tuple[tuple[int, Look], ...]
    """Cycles done, and how the server was then."""
    after: Look
    is_healthy: bool
    log_errors: dict[str, int]

    @property
    def growth_bytes(self) -> int | None:
        """Memory that the later cycles left behind."""
        first, last = self.warm.resident_bytes, self.after.resident_bytes
        return None if first is None or last is None else last - first


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
        self._plan, self._target = plan, target
        true = true_predictions(model, voice, 0, plan.speak_blocks, plan.hop_ms)
        self._visits = Visits(
            target, voice, plan.speak_blocks, true, plan.hop_ms, plan.model, plan.seed
        )
        self._done = 0
        self._looks: list[tuple[int, Look]] = []

    async def run(self, advance: Callable[[float, str], None]) -> ChurnReport:
        """Run it; ``advance`` is told the share that is done and a word on it."""
        plan, notes, began_at = self._plan, self._visits.notes, time.monotonic()
        named = conditions(plan.model or self._target.model())
        warm_up = max(plan.cycles // 2, min(_SETTLED_CYCLES, round(0.9 * plan.cycles)))
        await self._visit(warm_up, advance)
        warm = await at_rest(self._target)
        await self._visit(plan.cycles - warm_up, advance)
        after = await at_rest(self._target)
        return ChurnReport(
            conditions=named,
            plan=plan,
            seconds=time.monotonic() - began_at,
            cycles=dict(notes.cycles),
            refused=notes.refused,
            troubles=dict(notes.troubles),
            different_predictions=notes.different,
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
                await self._visits.one()
                self._done += 1
                if self._done % max(1, self._plan.cycles // _LOOKS) == 0:
                    self._looks.append((self._done, self._target.look()))
                    advance(self._done / self._plan.cycles, f"{self._done} cycles")

        await asyncio.gather(*(visitor() for _ in range(self._plan.at_once)))
