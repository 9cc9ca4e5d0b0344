"""Attack a server for as long as wanted, while a good stream goes on and must notice nothing."""

import argparse
import asyncio
import contextlib
import importlib.util
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ser_live.latency import LatencyHistogram
from ser_live.text import sanitize
from tools.load.attacks import ATTACKS, LET_IN, Attacker
from tools.load.client import LiveClient, Recorder, Voice, differences
from tools.load.server import Server
from tools.machine import Usage
from tools.report import Figure, Report, Table, growth, no_more, none, say, summary

_ATTACK_SECONDS = 20.0
_PAUSE_SECONDS = 0.05
_WATCH_SECONDS = 2.0
_WARM_UP_SHARE = 0.1
_FORBIDDEN = ("error internal", "close 1011", LET_IN)
_MOST_GROWTH_MIB = 32.0
_MOST_HANDLES = 2
_SCHEMATHESIS_CONFIG = Path(__file__).parent / "schemathesis.toml"
_CASES = re.compile(r"(\d+) generated")
_FAILURE = re.compile(r"^ *❌ (.+): \d+$", re.MULTILINE)


@dataclass(slots=True)
class _Watch:
    """Looks at the server all the while."""

    server: Server
    seconds: float
    idle: Usage
    """Before everything."""
    warm: Usage
    """After the first tenth of the time, with attackers at work."""
    health: LatencyHistogram = field(default_factory=LatencyHistogram)
    """Of ``/healthz``."""
    unhealthy: int = 0
    """Answers of it that were wrong, or none."""
    most_mib: float = 0.0

    async def run(self) -> None:
        began_at = time.monotonic()
        while True:
            asked_at = time.monotonic()
            self.unhealthy += not await asyncio.to_thread(self.server.is_healthy)
            self.health.add(time.monotonic() - asked_at)
            look, share = self.server.usage(), (asked_at - began_at) / self.seconds
            if self.warm is self.idle and share >= _WARM_UP_SHARE:
                self.warm = look
            self.most_mib = max(self.most_mib, look.resident_mib or 0.0)
            say(min(1.0, share), f"memory {look.resident_mib or 0.0:.0f} MiB")
            await asyncio.sleep(max(_WATCH_SECONDS, 0.01 * self.seconds))


async def measure(options: argparse.Namespace, voice: Voice, server: Server) -> Report:
    """Attack as the options of the command say."""
    seconds, began_at, recorder = 60.0 * options.minutes, time.monotonic(), Recorder()
    idle = server.usage()
    watch = _Watch(server, seconds, idle, idle)
    good = LiveClient(server.address, voice, recorder)
    await good.open()
    watching = asyncio.create_task(watch.run())
    # Each attacker has its own random numbers: what it does depends on no other one.
    rngs = (np.random.default_rng([options.seed, number]) for number in range(options.at_once))
    answers = defaultdict[str, Counter[str]](Counter)
    attackers = [Attacker(server, voice, rng, answers) for rng in rngs]
    attacking = (_attack(attacker, began_at + seconds) for attacker in attackers)
    fuzzing = asyncio.create_task(_schemathesis(server, options))
    counted = await asyncio.gather(*attacking)
    fuzzed = await fuzzing
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    await good.end()
    after, tally = await server.usage_when_idle(), recorder.now
    done: Counter[str] = sum(counted, Counter())
    wanted = voice.reference(good.blocks)
    minutes = (time.monotonic() - began_at) / 60.0
    troubles = tally.errors + tally.refused + tally.lost
    troubles += Counter({"messages misnumbered": good.stream.misnumbered})
    figures = [
        Figure("time", f"{minutes:.1f} minutes of {options.minutes:g}"),
        Figure("attacks", f"{done.total()} of {len(done)} kinds"),
        none("answers that there must not be (500, 1011, let in)", faults(answers)),
        *fuzzed,
        Figure("predictions of the good stream", len(good.predictions)),
        none("that differ from offline", differences(good.predictions, wanted)),
        none("samples of it that were not answered for", good.unaccounted_samples),
        none("troubles of it", troubles),
        Figure("events of it", tally.events),
        Figure("latency of it", summary("latency", tally.latency_seconds)),
        Figure("blocks of it sent late, for want of time here",
               summary("lateness", tally.late_seconds)),
        Figure("answers of /healthz", watch.health.summary("health")),
        none("of these, wrong or none", watch.unhealthy),
        Figure("memory early on, the most, idle at the end",
               (watch.warm.resident_mib, watch.most_mib or None, after.resident_mib), "MiB"),
        growth("growth of memory", watch.warm.resident_mib, after.resident_mib, _MOST_GROWTH_MIB),
        no_more("handles before, idle at the end", idle.handles, after.handles, _MOST_HANDLES),
        *server.figures_at_end(),
    ]  # fmt: skip
    rows = [(attack, done[attack], answers[attack]) for attack in sorted(done)]
    tables = {"Attacks and answers": Table(("attack", "times", "answers"), rows)}
    return Report("Hostile clients", voice.model or server.model(), figures, tables)


async def _attack(attacker: Attacker, deadline: float) -> Counter[str]:
    """Run attacks until a deadline; return how often each."""
    done: Counter[str] = Counter()
    while time.monotonic() < deadline:
        attack = attacker.choice(*ATTACKS)
        done[attack] += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ATTACK_SECONDS):
                await attacker.run(attack)
        await asyncio.sleep(float(attacker.rng.exponential(_PAUSE_SECONDS)))
    return done


def faults(answers: dict[str, Counter[str]]) -> dict[str, int]:
    """Return the answers that there must not be, by attack."""
    return {
        f"{attack}: {answer}": times
        for attack, found in answers.items()
        for answer, times in found.items()
        if answer in _FORBIDDEN or (answer.startswith("HTTP 5") and answer != "HTTP 503")
    }


async def _schemathesis(server: Server, options: argparse.Namespace) -> list[Figure]:
    """Run ``schemathesis run`` for the whole time: what the OpenAPI document allows, and not."""
    name = "requests of schemathesis"
    if importlib.util.find_spec("schemathesis") is None:
        return [Figure(name, "it is not installed")]
    headers = [f"-H{name}: {value}" for name, value in server.address.headers.items()]
    words = [
        "--config-file", str(_SCHEMATHESIS_CONFIG), "run", f"{server.address}/openapi.json",
        "--seed", str(options.seed), "--max-time", str(max(1, round(60.0 * options.minutes))),
        "--continue-on-failure", "--warnings", "off", *headers,
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:  # where it leaves what it remembers
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "--no-color", *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder,
        )  # fmt: skip
        try:
            told = (await process.communicate())[0].decode(errors="replace")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    cases = _CASES.search(told)
    failures = Counter(_FAILURE.findall(told) or [sanitize(told[-200:])])
    return [
        Figure(name, int(cases[1]) if cases else 0),
        none("of these, not as documented", failures if process.returncode else 0),
    ]
