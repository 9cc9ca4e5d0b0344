"""More and more live streams at once, up to the breaking point and beyond."""

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ser_live.latency import StageLatency
from tools.load.client import LiveClient, Recorder, Tally, Voice, spread_phase
from tools.load.server import Server
from tools.machine import Usage
from tools.report import CORE, Figure, Report, Table, at_most, none, say, summary

MOST_MB_PER_STREAM = 3.0

_OPENED_AT_ONCE = 8
_BLOCKS_BETWEEN = 37  # between the places where two clients begin: no two say the same at once
_FLAT = 1.1
_NOTE = """\
Latency is counted from the moment at which the block with the last sample of a hop was handed
to the socket to the moment at which the prediction was taken from it; what the algorithm itself
waits for (window, smoothing) is not in it."""


@dataclass(frozen=True, slots=True)
class Step:
    """Measurements of one number of streams."""

    asked: int
    """Streams that were asked for."""
    open: int
    """Streams open at the end of the step."""
    tally: Tally
    """Latencies of the step alone, and the rest since the step before."""
    tool_share: float
    """Processor time of this tool, as a share of a core."""
    idle: Usage
    """Of the server before all steps."""
    before: Usage
    usage: Usage

    @property
    def latency(self) -> StageLatency:
        """From the last sample of a hop sent to its prediction received."""
        return summary("latency", self.tally.latency_seconds)

    @property
    def server_share(self) -> float | None:
        """Processor time of the server, as a share of a core."""
        return self.usage.core_share_since(self.before)

    @property
    def cost_share(self) -> float | None:
        """Share of a core that one stream takes."""
        return None if self.server_share is None else self.server_share / max(1, self.open)

    @property
    def mb_per_stream(self) -> float | None:
        """Memory in MB that one stream takes beside the idle server."""
        if self.usage.resident_mib is None or self.idle.resident_mib is None:
            return None
        grown_mib = self.usage.resident_mib - self.idle.resident_mib
        return grown_mib * 2**20 / 1e6 / max(1, self.open)

    def keeps(self, limit_ms: float) -> bool:
        """Tell whether every promise was kept."""
        tally = self.tally
        trouble = tally.errors or tally.refused or tally.lost or tally.left_out_hops
        is_quick = 1000.0 * self.latency.p95_seconds <= limit_ms
        return not trouble and self.latency.count > 0 and is_quick


async def measure(options: argparse.Namespace, voice: Voice, server: Server) -> Report:
    """Ramp up streams as the options of the command say."""
    clients, steps = _Clients(options, voice, server), list[Step]()
    try:
        for count in range(options.first, options.most + 1, options.step):
            await clients.open(count)
            await asyncio.sleep(options.settle)
            steps.append(await clients.measure())
            p95_ms = 1000.0 * steps[-1].latency.p95_seconds
            say(count / options.most, f"{steps[-1].open} streams, p95 {p95_ms:.1f} ms")
            kept = [step.keeps(options.limit_ms) for step in steps]
            is_beyond = False in kept and len(kept) - kept.index(False) > options.beyond
            if is_beyond or not steps[-1].open:
                break
        account = await clients.end()
    finally:
        clients.cancel()
    if options.report is not None:
        draw_curve(steps, options.limit_ms, options.report.with_suffix(".png"))
    sizes_mib = (steps[0].idle.resident_mib, server.usage().resident_mib)
    figures = [
        *_promise(options, voice, steps),
        *account,
        *server.figures_at_end(),
        Figure("memory idle, at the end", sizes_mib, "MiB"),
        Figure("load average of the machine", psutil.getloadavg()),
    ]
    tables = {"Step by step": _curve(steps, options.limit_ms)}
    return Report("Streams at once", voice.model or server.model(), figures, tables, _NOTE)


class _Clients:
    """All clients of a ramp."""

    def __init__(self, options: argparse.Namespace, voice: Voice, server: Server) -> None:
        self._options, self._voice, self._server = options, voice, server
        self._recorder = Recorder()
        self._clients: list[LiveClient] = []
        self._asked, self._limit = 0, asyncio.Semaphore(_OPENED_AT_ONCE)
        self._idle = server.usage()

    async def open(self, count: int) -> None:
        """Ask for streams, until so many have been asked for."""
        numbers, self._asked = range(self._asked, count), count
        await asyncio.gather(*(self._open(number) for number in numbers))

    async def _open(self, number: int) -> None:
        place = number * _BLOCKS_BETWEEN
        client = LiveClient(self._server.address, self._voice, self._recorder, place)
        async with self._limit:
            if await client.open(spread_phase(number)):
                self._clients.append(client)

    async def measure(self) -> Step:
        """Watch for the time of a step."""
        self._recorder.now.latency_seconds.clear()  # streams refused before still count
        self._recorder.now.late_seconds.clear()
        before, own_seconds = self._server.usage(), time.process_time()
        await asyncio.sleep(self._options.seconds)
        after, own_seconds = self._server.usage(), time.process_time() - own_seconds
        tool_share = own_seconds / (after.at_seconds - before.at_seconds)
        count, tally = sum(c.is_open for c in self._clients), self._recorder.restart()
        return Step(self._asked, count, tally, tool_share, self._idle, before, after)

    async def end(self) -> list[Figure]:
        """End all streams, and return the figures of their accounts."""
        live = [client for client in self._clients if client.is_open]
        await asyncio.gather(*(client.end() for client in live))
        sent = sum(client.blocks for client in live) * self._voice.samples.shape[1]
        unaccounted = sum(client.unaccounted_samples for client in live)
        misnumbered = sum(client.stream.misnumbered for client in self._clients)
        return [
            Figure("samples sent", f"{sent} in {len(live)} streams"),
            none("samples that were not answered for", unaccounted),
            none("messages misnumbered", misnumbered),
        ]

    def cancel(self) -> None:
        """Stop all clients."""
        for client in self._clients:
            client.cancel()


def _promise(options: argparse.Namespace, voice: Voice, steps: Sequence[Step]) -> list[Figure]:
    """Return the figures of the last step before the first that broke a promise."""
    kept = [*(step.keeps(options.limit_ms) for step in steps), False]
    most = steps[kept.index(False) - 1] if kept[0] else None
    asked = 0 if most is None else most.asked
    name = f"streams with p95 of at most {options.limit_ms:g} ms and nothing lost"
    pauses = "without" if options.continuous else "with its"
    voices = (
        f"the demo voice {pauses} pauses, {voice.sample_rate_hz} Hz s16le, blocks of "
        f"{voice.block_ms} ms, a hop every {voice.hop_ms} ms, spread evenly over time"
    )
    figures = [
        Figure(name, asked, "", f"at least {options.wanted}", asked >= options.wanted),
        Figure("voices", voices),
    ]
    if most is None:
        return figures
    lateness = summary("lateness", most.tally.late_seconds)
    first, last = steps[0].cost_share, most.cost_share
    is_flat = None if first is None or last is None else last <= _FLAT * first
    sizes = [step.mb_per_stream for step in steps if step.mb_per_stream is not None]
    size = max(sizes, default=None)
    return [
        *figures,
        Figure(f"latency at {most.asked} streams", most.latency),
        Figure(f"blocks sent late, at {most.asked} streams", lateness),
        Figure("processor, server", most.server_share, CORE),
        Figure("processor, this tool", most.tool_share, CORE),
        Figure("processor per stream, first step, last kept", (first, last), CORE,
               "flat or falling", is_flat),
        at_most("memory per stream, the most of any step", size, "MB", MOST_MB_PER_STREAM),
    ]  # fmt: skip


def _curve(steps: Sequence[Step], limit_ms: float) -> Table:
    columns = (
        "asked", "open", "latency", "hops left out", "refused", "lost", "errors", "events",
        "server, % of a core", "tool", "per stream", "MB per stream", "threads", "handles", "",
    )  # fmt: skip
    rows = [
        (
            s.asked, s.open, s.latency, s.tally.left_out_hops, s.tally.refused, s.tally.lost,
            s.tally.errors, s.tally.events,
            *(None if share is None else 100.0 * share
              for share in (s.server_share, s.tool_share, s.cost_share)),
            s.mb_per_stream, s.usage.threads, s.usage.handles,
            "" if s.keeps(limit_ms) else "**broken**",
        )
        for s in steps
    ]  # fmt: skip
    return Table(columns, rows)


def draw_curve(steps: Sequence[Step], limit_ms: float, path: Path) -> None:
    """Draw latency and processor time against the number of streams."""
    from matplotlib.figure import Figure as Picture  # noqa: PLC0415 - heavy

    latency = {
        n: [getattr(s.latency, f"{n}_seconds") for s in steps] for n in ("p50", "p95", "p99")
    }
    processor: dict[str, list[Any]] = {
        "server": [step.server_share for step in steps],
        "tool": [step.tool_share for step in steps],
    }
    curves: dict[str, dict[str, list[Any]]] = {
        "last sample of a hop\nto its message, s": latency,
        "processor,\ncores": processor,
        "processor per stream,\ncores": {"server": [step.cost_share for step in steps]},
    }
    picture = Picture(figsize=(8.0, 9.0), layout="constrained")
    panels = picture.subplots(3, 1, sharex=True)
    for axes, (label, lines) in zip(panels, curves.items(), strict=True):
        for name, values in lines.items():
            axes.plot([step.asked for step in steps], values, marker="o", label=name)
        axes.set_ylabel(label)
        axes.legend()
        axes.grid(alpha=0.3)
    panels[0].axhline(limit_ms / 1000.0, color="grey", linestyle="--")
    panels[0].set_yscale("log")
    panels[2].set_xlabel("streams asked for")
    picture.savefig(path, dpi=120)
