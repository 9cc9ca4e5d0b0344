"""Connect, speak and leave, thousands of times in every way, and see what stays behind."""

import argparse
import asyncio
import json
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus, WebSocketException

from ser_live.client import ServerError
from ser_live.errors import SerError
from ser_live.prediction import Prediction
from tools.load.client import Voice, differences
from tools.load.server import Server, frame
from tools.machine import Usage
from tools.report import Figure, Report, Table, growth, no_more, none, say, times_table

_SETTLED_CYCLES = 2000  # by then memory that is kept for reuse has its size; a leak goes on
_LOOKS = 20
_WHOLE_SHARE = 0.3
_RETRY_SECONDS = 0.5
_HALF_REQUEST = b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: webs"
_MOST_GROWTH_MIB = 4.0
_MOST_BYTES_PER_CYCLE = 512
_MOST_HANDLES = 2  # a connection of the metrics may be closing


async def measure(options: argparse.Namespace, voice: Voice, server: Server) -> Report:
    """Run sessions as the options of the command say."""
    blocks = round(1000.0 * options.speak / voice.block_ms)
    rng, dice = np.random.default_rng(options.seed).spawn(2)
    sessions = Sessions(server, voice, blocks, voice.reference(blocks), rng, dice)
    course: list[tuple[int, Usage]] = []
    cycles, began_at = options.cycles, time.monotonic()

    async def run(count: int) -> tuple[Usage, int | None]:
        left = iter(range(count))

        async def client() -> None:
            for _ in left:  # shared: each number goes to one client
                await sessions.run_one()
                done = sessions.done.total()
                if done % max(1, cycles // _LOOKS) == 0:
                    course.append((done, server.usage()))
                    say(done / cycles, f"{done} cycles")

        await asyncio.gather(*(client() for _ in range(options.at_once)))
        return await server.usage_when_idle(), server.gauge("ser_tasks")

    warm_up = max(cycles // 2, min(_SETTLED_CYCLES, round(0.9 * cycles)))
    warm, warm_tasks = await run(warm_up)
    after, after_tasks = await run(cycles - warm_up)
    seconds, done = time.monotonic() - began_at, sessions.done.total()
    later = max(1, done - warm_up)
    most_mib = max(_MOST_GROWTH_MIB, _MOST_BYTES_PER_CYCLE * later / 2**20)
    grown = growth("growth of memory by the later cycles", warm.resident_mib, after.resident_mib,
                   most_mib)  # fmt: skip
    times = "before the later cycles, at the end"
    figures = [
        Figure("cycles", done, "", str(cycles), done == cycles),
        Figure("time", f"{seconds:.0f} s, {done / seconds:.0f} cycles per second"),
        Figure("later cycles", f"all but the first {warm_up}"),
        Figure("tried again because the server was busy", sessions.busy),
        none("troubles", sessions.troubles),
        none("predictions of whole sessions that differ from offline", sessions.different),
        grown,
        Figure("the same per cycle", grown.value and grown.value * 2**20 / later, "bytes"),
        no_more(f"handles {times}", warm.handles, after.handles, _MOST_HANDLES),
        no_more(f"threads {times}", warm.threads, after.threads),
        no_more(f"tasks of the event loop {times}", warm_tasks, after_tasks),
        *server.figures_at_end(),
    ]
    looks = [*course, ("idle, at the end", after)]
    rows = [(when, look.resident_mib, look.handles, look.threads) for when, look in looks]
    tables = {
        "How sessions ended": times_table("way", sessions.done),
        "On the way": Table(("cycles", "resident MiB", "handles", "threads"), rows),
    }
    return Report("Coming and going", voice.model or server.model(), figures, tables)


@dataclass(slots=True)
class Sessions:
    """Sessions of clients, each of which ends in a way that is drawn at random."""

    server: Server
    voice: Voice
    blocks: int
    """Sent by a whole session, as fast as they are taken."""
    reference: list[Prediction]
    """Predictions that a whole session must get."""
    rng: np.random.Generator
    dice: np.random.Generator
    """Draws the ways, so that these depend on the seed alone."""
    done: Counter[str] = field(default_factory=Counter)
    """By the way in which they ended."""
    troubles: Counter[str] = field(default_factory=Counter)
    """Things that should not have happened."""
    busy: int = 0
    """Times that a session was tried again."""
    different: int = 0
    """Predictions of whole sessions that are not those of the reference."""

    async def run_one(self) -> None:
        """Run one session, again and again while the server is too busy for it."""
        names = list(WAYS)
        is_whole = self.dice.random() < _WHOLE_SHARE
        name = names[0] if is_whole else names[self.dice.integers(1, len(names))]
        while (trouble := await self._trouble_of(name)) == "busy":
            self.busy += 1
            await asyncio.sleep(_RETRY_SECONDS)
        if trouble is not None:
            self.troubles[f"{name}: {trouble}"] += 1
        self.done[name] += 1

    async def _trouble_of(self, name: str) -> str | None:
        try:
            await WAYS[name](self)
        except InvalidStatus as error:
            status = error.response.status_code
            return "busy" if status == 503 else f"HTTP {status}"
        except ServerError as error:
            return "busy" if error.code == "overloaded" else error.code
        except (OSError, SerError, WebSocketException) as error:  # and TimeoutError
            return type(error).__name__
        return None

    async def _whole(self) -> None:
        async with self.voice.stream(self.server.address) as stream:
            for number in range(self.blocks):
                await stream.send(self.voice.block(number))
            await stream.end()
            items = [item async for item in stream]
        lost = self.blocks * self.voice.samples.shape[1] - stream.ended.processed_samples
        found = Counter(
            {"samples unaccounted": abs(lost), "messages misnumbered": stream.misnumbered}
        )
        self.troubles += found
        got = [item for item in items if isinstance(item, Prediction)]
        self.different += differences(got, self.reference)

    async def _started(self) -> ClientConnection:
        connection = await self.server.connect()
        await connection.send(json.dumps(self.voice.start_message()))
        return connection

    async def _speaking(self) -> ClientConnection:
        connection = await self._started()
        for number in range(self.rng.integers(1, 30)):
            await connection.send(self.voice.block(number))
        return connection

    async def _leave(
        self,
        begun: Awaitable[ClientConnection],
        leave: Callable[[ClientConnection], Awaitable[None]] | None = None,
    ) -> None:
        connection = await begun
        await self._linger()
        if leave is not None:
            await leave(connection)
        connection.transport.abort()

    async def _linger(self) -> None:
        await asyncio.sleep(float(self.rng.exponential(0.02)))

    async def _raw(self, data: bytes) -> None:
        address = self.server.address
        _, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(data)
        await self._linger()
        writer.transport.abort()

    async def _half_frame(self, connection: ClientConnection) -> None:
        if not connection.transport.is_closing():
            half = frame(self.voice.block(0))[: self.rng.integers(1, 1000)]
            connection.transport.write(half)
        await self._linger()
        if self.rng.integers(2):
            await _reset(connection)

    async def _deaf(self, connection: ClientConnection) -> None:
        connection.transport.pause_reading()
        for number in range(50):
            await connection.send(self.voice.block(number))
        await self._linger()


async def _reset(connection: ClientConnection) -> None:
    """Cut a connection with a TCP reset instead of a goodbye."""
    if not connection.transport.is_closing():
        own = connection.transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()


async def _end(connection: ClientConnection) -> None:
    await connection.send('{"type": "end"}')


WAYS: dict[str, Callable[[Sessions], Awaitable[None]]] = {
    "whole": Sessions._whole,
    "goodbye while speaking": lambda s: s._leave(s._speaking(), ClientConnection.close),
    "gone while speaking": lambda s: s._leave(s._speaking()),
    "reset while speaking": lambda s: s._leave(s._speaking(), _reset),
    "gone without a word": lambda s: s._raw(b""),
    "gone in the handshake": lambda s: s._raw(_HALF_REQUEST),
    "gone before the start": lambda s: s._leave(s.server.connect()),
    "gone after the start": lambda s: s._leave(s._started()),
    "gone within a frame": lambda s: s._leave(s._speaking(), s._half_frame),
    "gone after the end": lambda s: s._leave(s._speaking(), _end),
    "gone without listening": lambda s: s._leave(s._started(), s._deaf),
}
