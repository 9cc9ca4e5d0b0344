"""Waiting until a server has let go of everybody."""

import asyncio
import time

from tools.load.target import Look, Target

OPEN_STREAMS = "ser_streams_open"

_LONGEST_SECONDS = 30.0


async def at_rest(target: Target) -> Look:
    """Wait until no stream is open and nothing is let go of any more, and look."""
    handles, deadline = target.look().handles, time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        await asyncio.sleep(1.0)
        before, handles = handles, target.look().handles
        gauges = await asyncio.to_thread(target.gauges)
        if before == handles and not gauges.get(OPEN_STREAMS, 0.0):
            break
    return await asyncio.to_thread(target.look, with_tasks=True)
