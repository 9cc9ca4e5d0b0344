"""Do what no client should, for as long as wanted, while a good stream goes on."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

import numpy as np

from ser_live.latency import LatencyHistogram, StageLatency, summary
from ser_live.model.classifier import OnnxClassifier
from tools.conditions import Conditions, conditions
from tools.load.attacks_http import HTTP_ATTACKS, Attack
from tools.load.attacks_stream import LET_IN, STREAM_ATTACKS
from tools.load.caller import Book, Caller
from tools.load.field import Field
from tools.load.http_fuzz import HttpFuzz
from tools.load.pacing import Pacer, in_background
from tools.load.rest import at_rest
from tools.load.target import Look, Target
from tools.load.truth import differences, true_predictions
from tools.load.voice import Voice
from tools.load.wire import RefusedError

_ATTACKS: tuple[Attack, ...] = (*HTTP_ATTACKS, *STREAM_ATTACKS)
_ATTACK_SECONDS = 20.0
_PAUSE_SECONDS = 0.05
_WATCH_SECONDS = 2.0
_WARM_UP_SHARE = 0.1
_FORBIDDEN = ("error internal", "close 1011", LET_IN)


@dataclass(frozen=True, slots=True)
class HostilePlan:
    """What to run."""

    minutes: float
    at_once: int
    """Attackers at any moment."""
    hop_ms: int
    seed: int
    model: str | None


@dataclass(frozen=True, slots=True)
class Control:
    """The good stream, which must notice nothing."""

    predictions: int
    different_predictions: int
    """Against the same samples offline."""
    troubles: dict[str, int]
    events: dict[str, int]
    unaccounted_samples: int
    latency: StageLatency
    lateness: StageLatency
    """Of its blocks: the fault of this tool."""


@dataclass(frozen=True, slots=True)
class HostileReport:
    """What came of it."""

    conditions: Conditions
    plan: HostilePlan
    seconds: float
    attacks: dict[str, int]
    outcomes: dict[str, dict[str, int]]
    """Answers by attack."""
    faults: dict[str, int]
    """Answers that there must not be."""
    http_cases: int | None
    """Requests that schemathesis made; None: it is not installed."""
    http_failures: dict[str, int]
    control: Control
    health: StageLatency
    """Of ``/healthz``, asked all the time."""
    unhealthy: int
    idle: Look
    """Before everything."""
    warm: Look
    """After the first tenth of the time, with attackers at work."""
    most_resident_bytes: int | None
    after: Look
    """At rest."""
    is_healthy: bool
    log_errors: dict[str, int]
    """That the server logged."""


@dataclass(slots=True)
class _Watch:
    """What is seen of the server all the while."""

    health: LatencyHistogram = field(default_factory=LatencyHistogram)
    unhealthy: int = 0
    warm: Look | None = None
    most_resident_bytes: int | None = None


async def torment(
    plan: HostilePlan,
    voice: Voice,
    target: Target,
    model: OnnxClassifier,
    advance: Callable[[float, str], None],
) -> HostileReport:
    """Run a plan.

    Parameters
    ----------
    plan : HostilePlan
        What to run.
    voice : Voice
        What the good stream says.
    target : Target
        The server.
    model : OnnxClassifier
        That the server has.
    advance : callable
        Is told the share that is done and a word on it, now and then.
    """
    named = conditions(plan.model or target.model())
    began_at, idle, watch, book = time.monotonic(), target.look(), _Watch(), Book()
    done: Counter[str] = Counter()
    http = HttpFuzz()
    good = Caller(voice, 0, plan.hop_ms, book, keeps=True)
    await good.open(target.address, model=plan.model)
    pacer = Pacer(voice.block_ms, plan.hop_ms)
    pacer.add(good)
    looking = _look_after(plan, target, watch, advance, began_at)
    async with in_background(pacer.run()), in_background(looking):
        # Each attacker has its own dice: what it does depends on nobody else.
        dice = (np.random.default_rng([plan.seed, number]) for number in range(plan.at_once))
        fields = [Field(target.address, voice, rng) for rng in dice]
        deadline = began_at + 60.0 * plan.minutes
        attacking = (_attack(own, deadline, done) for own in fields)
        await asyncio.gather(http.run(target, plan.seed, deadline), *attacking)
    await good.end()
    after = await at_rest(target)
    outcomes: Counter[tuple[str, str]] = sum((own.outcomes for own in fields), Counter())
    return HostileReport(
        conditions=named,
        plan=plan,
        seconds=time.monotonic() - began_at,
        attacks=dict(done),
        outcomes=_by_attack(outcomes),
        faults=_faults(outcomes),
        http_cases=http.cases if http.is_installed else None,
        http_failures=dict(http.failures),
        control=_control(good, book, plan, model),
        health=watch.health.summary("health"),
        unhealthy=watch.unhealthy,
        idle=idle,
        warm=watch.warm or after,
        most_resident_bytes=watch.most_resident_bytes,
        after=after,
        is_healthy=target.is_alive() and target.get("/healthz")[0] == HTTPStatus.OK,
        log_errors=target.log_errors(),
    )


async def _attack(field: Field, deadline: float, done: Counter[str]) -> None:
    while time.monotonic() < deadline:
        attack = field.choice(_ATTACKS)
        field.attack = attack.__name__.replace("_", " ")
        done[field.attack] += 1
        try:
            async with asyncio.timeout(_ATTACK_SECONDS):
                await attack(field)
        except (RefusedError, OSError) as error:  # a TimeoutError is one, too
            field.note_refusal(error)
        await asyncio.sleep(float(field.rng.exponential(_PAUSE_SECONDS)))


async def _look_after(
    plan: HostilePlan,
    target: Target,
    watch: _Watch,
    advance: Callable[[float, str], None],
    began_at: float,
) -> None:
    while True:
        asked_at = time.monotonic()
        status, _ = await asyncio.to_thread(target.get, "/healthz")
        watch.health.add(time.monotonic() - asked_at)
        watch.unhealthy += status != HTTPStatus.OK
        look, share = target.look(), (asked_at - began_at) / (60.0 * plan.minutes)
        if watch.warm is None and share >= _WARM_UP_SHARE:
            watch.warm = look
        if look.resident_bytes is not None:
            watch.most_resident_bytes = max(watch.most_resident_bytes or 0, look.resident_bytes)
        advance(min(1.0, share), f"memory {(look.resident_bytes or 0) / 2**20:.0f} MiB")
        await asyncio.sleep(max(_WATCH_SECONDS, 0.6 * plan.minutes))


def _control(good: Caller, book: Book, plan: HostilePlan, model: OnnxClassifier) -> Control:
    tally = book.now
    true = true_predictions(model, good.voice, 0, good.blocks, plan.hop_ms)
    processed = good.ended["processed_samples"] if good.ended else 0
    troubles = tally.errors + tally.refused + tally.lost
    if tally.misnumbered:
        troubles["messages misnumbered"] += tally.misnumbered
    if good.ended is None:
        troubles["no account at the end"] += 1
    return Control(
        predictions=len(good.predictions),
        different_predictions=differences(good.predictions, true),
        troubles=dict(troubles),
        events=dict(tally.events),
        unaccounted_samples=good.sent_samples - processed,
        latency=summary("latency", tally.latency_seconds),
        lateness=summary("lateness", tally.late_seconds),
    )


def _by_attack(outcomes: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (attack, outcome), count in sorted(outcomes.items()):
        found.setdefault(attack, {})[outcome] = count
    return found


def _faults(outcomes: Counter[tuple[str, str]]) -> dict[str, int]:
    return {
        f"{attack}: {outcome}": count
        for (attack, outcome), count in outcomes.items()
        if outcome in _FORBIDDEN or (outcome.startswith("HTTP 5") and outcome != "HTTP 503")
    }
