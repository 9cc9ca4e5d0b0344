"""Live streams alone, beside uploads of long recordings, and beside a drain, in turn."""

import argparse
import asyncio
import os
import signal
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import numpy as np

from helpers.serving import recording
from ser_live.latency import StageLatency
from tools.load.client import LiveClient, Recorder, Voice, spread_phase
from tools.load.server import Server
from tools.report import Figure, Report, Table, at_most, none, say, summary

_MOST_RATIO = 1.5
_RECORDING_SECONDS = 600
_BLOCKS_BETWEEN = 37
_NOTE = """\
Latency as in `streams`: from the last sample of a hop sent to its prediction received. Each round
measures the streams alone and then beside the uploads; the ratio is that of a round's p95s."""


async def measure(options: argparse.Namespace, voice: Voice, server: Server) -> Report:
    """Measure as the options of the command say."""
    model, recorder, taken = voice.model or server.model(), Recorder(), [0]
    clients = [
        LiveClient(server.address, voice, recorder, number * _BLOCKS_BETWEEN)
        for number in range(options.streams)
    ]
    for number, client in enumerate(clients):
        await client.open(spread_phase(number))
    rounds = list[tuple[StageLatency, StageLatency]]()
    for count in range(1, options.rounds + 1):
        alone = await _watched(recorder, options)
        async with _uploads(server, voice, options.uploads, taken):
            rounds.append((alone, await _watched(recorder, options)))
        said = (f"{1000.0 * latency.p95_seconds:.1f} ms" for latency in rounds[-1])
        say(count / options.rounds, "p95 alone, beside uploads: " + ", ".join(said))
    drained = None
    if options.drain and server.pid is not None:
        os.kill(server.pid, signal.SIGTERM)
        drained = await _watched(recorder, options)
    await asyncio.gather(*(client.end() for client in clients))
    ratios = [beside.p95_seconds / alone.p95_seconds for alone, beside in rounds]
    medians = [
        1000.0 * statistics.median(one.p95_seconds for one in kind)
        for kind in zip(*rounds, strict=True)
    ]
    tally, unaccounted = recorder.now, sum(client.unaccounted_samples for client in clients)
    figures = [
        Figure("streams, uploads", (options.streams, options.uploads)),
        Figure("median p95 alone, beside uploads", tuple(medians), "ms"),
        at_most("median of their ratios", statistics.median(ratios), "", _MOST_RATIO),
        Figure("bytes of answers meanwhile", taken[0]),
        none("troubles", tally.errors + tally.refused + tally.lost),
        none("samples that were not answered for", unaccounted),
    ]
    if drained is not None:
        ratio = 1000.0 * drained.p95_seconds / medians[0]
        figures += [Figure("latency beside a drain", drained),
                    at_most("its p95 to the median alone", ratio, "", _MOST_RATIO)]  # fmt: skip
    rows = [(*pair, ratio) for pair, ratio in zip(rounds, ratios, strict=True)]
    tables = {"Rounds": Table(("alone", "beside uploads", "ratio"), rows)}
    return Report("Live streams first", model, figures, tables, _NOTE)


async def _watched(recorder: Recorder, options: argparse.Namespace) -> StageLatency:
    await asyncio.sleep(options.settle)
    recorder.now.latency_seconds.clear()
    await asyncio.sleep(options.seconds)
    return summary("latency", recorder.now.latency_seconds)


@asynccontextmanager
async def _uploads(
    server: Server, voice: Voice, count: int, taken: list[int]
) -> AsyncIterator[None]:
    """Keep so many recordings in work, and count the bytes of their answers."""
    times = -(-_RECORDING_SECONDS * voice.sample_rate_hz // voice.samples.size)
    body = recording(np.tile(voice.samples.ravel(), times), voice.sample_rate_hz, "PCM_16")
    headers = {**server.address.headers, "Accept": "application/x-ndjson"}
    url = f"{server.address}/v1/recognize"

    async def post(client: httpx.AsyncClient) -> None:
        while True:
            async with client.stream("POST", url, content=body, headers=headers) as answer:
                async for chunk in answer.aiter_bytes():
                    taken[0] += len(chunk)

    async with httpx.AsyncClient(timeout=None) as client:
        posts = [asyncio.create_task(post(client)) for _ in range(count)]
        try:
            yield
        finally:
            for task in posts:
                task.cancel()
            await asyncio.gather(*posts, return_exceptions=True)
