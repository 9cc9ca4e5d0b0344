"""All streams of a server: how many are admitted, limits of time, and how they are drained."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.types import Scope

from ser_live.server.engine import Engine
from ser_live.server.models import Models
from ser_live.server.observability import Metrics, logger
from ser_live.server.overload import Overload
from ser_live.server.problems import ProblemError
from ser_live.server.settings import Limits

if TYPE_CHECKING:
    from ser_live.server.stream_endpoint import Stream

_TICK_SECONDS = 0.5
_FLUSH_SECONDS = 10.0
"""For streams that are ended by a drain."""


@dataclass(frozen=True, slots=True)
class Client:
    """Whose stream or recording it is."""

    address: str
    token_name: str | None
    """Name of the token that it has shown."""
    limits: Limits
    """Its token's, else the server's."""


class Streams:
    """The streams that are open, and what they share.

    Parameters
    ----------
    limits : Limits
        Of each stream and of all.
    engine : Engine
        Where they are recognized.
    models : Models
        That they may ask for.
    metrics : Metrics
        Where they are counted.
    """

    def __init__(self, limits: Limits, engine: Engine, models: Models, metrics: Metrics) -> None:
        self.limits = limits
        self.engine = engine
        self.models = models
        self.metrics = metrics
        self.overload = Overload()
        self.is_stopping = False
        """The server is going to drain."""
        self.drain_ends_at: float | None = None
        """When the open streams are ended, by the monotonic clock; None: it does not drain."""
        self._is_empty = asyncio.Event()
        self._open: set[Stream] = set()
        metrics.streams_open.set_function(lambda: len(self._open))

    def __len__(self) -> int:
        return len(self._open)

    def client(self, scope: Scope) -> Client:
        """Return whose request it is."""
        address = (scope.get("client") or ("", 0))[0]
        return Client(address, scope.get("token_name"), scope.get("limits", self.limits))

    def require_room(self, client: Client | None = None) -> None:
        """Raise ProblemError (503) if nothing more can be taken on, of a client or at all.

        Without a client it is a recording, which takes no place among the streams.
        """
        most, most_per_address = self.limits.max_streams, self.limits.max_streams_per_address
        # First: a server that stops says so, however full it is.
        self._require_work(self.drain_ends_at is not None)
        if client is None:
            return
        address, name, most_of_token = client.address, client.token_name, client.limits.max_streams
        others = [stream.client for stream in self._open]
        if len(others) >= most:
            detail = f"no place is free: {len(others)} of {most} streams are open; try later"
            raise ProblemError(503, detail, code="streams")
        # Behind a proxy all clients have one address: there is no limit unless it is asked for.
        of_address = sum(other.address == address for other in others)
        if most_per_address is not None and of_address >= most_per_address:
            detail = f"from {address} {of_address} of {most_per_address} streams are open; end one"
            raise ProblemError(503, detail, code="address")
        of_token = sum(other.token_name == name for other in others)
        if name is not None and of_token >= most_of_token:
            detail = f"with this token {of_token} of {most_of_token} streams are open; end one"
            raise ProblemError(503, detail, code="token_streams")

    def require_ready(self) -> None:
        """Raise ProblemError (503) if new streams should go elsewhere."""
        self._require_work(self.is_stopping)

    def _require_work(self, is_ending: bool) -> None:
        if is_ending:
            detail = "the server is stopping; connect again in a while"
            raise ProblemError(503, detail, code="draining")
        if self.overload.is_refusing:
            detail = "the server has all the work that it can do; try again later"
            raise ProblemError(503, detail, code="overloaded")

    @contextmanager
    def opened(self, stream: "Stream") -> Iterator[None]:
        """Count a stream among the open ones."""
        self._open.add(stream)
        self._is_empty.clear()
        try:
            name = stream.client.token_name or ""
            with self.metrics.token_streams.labels(name).track_inprogress():
                yield
        finally:
            self._open.discard(stream)
            if not self._open:
                self._is_empty.set()

    async def watch(self) -> None:
        """Look after time limits and load, for ever."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            if change := self.overload.process(self.engine.busy_share):
                logger.warning("load", extra={"detail": change})
            now = time.monotonic()
            for stream in tuple(self._open):
                stream.check(now)

    async def drain(self, delay_seconds: float, seconds: float) -> None:
        """Take no more streams after a delay; let the open ones end, and end those that do not."""
        await asyncio.sleep(delay_seconds)
        self.drain_ends_at = time.monotonic() + seconds
        logger.info("draining", extra={"streams": len(self._open), "drain_seconds": seconds})
        if seconds:
            telling = [asyncio.create_task(stream.tell_drain()) for stream in self._open]
            await self._ended_within(seconds)
            del telling  # kept until here: the loop itself holds no task
        for stream in tuple(self._open):
            stream.stop("draining", "the server stops; connect again in a while")
        await self._ended_within(_FLUSH_SECONDS)

    async def _ended_within(self, seconds: float) -> None:
        if self._open:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._is_empty.wait()
