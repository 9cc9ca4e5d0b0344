"""All streams of a server: who is let in, who must end, and what is done when it is too much."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ser_live.server.engine import Engine
from ser_live.server.logs import logger
from ser_live.server.metrics import Metrics
from ser_live.server.models import Models
from ser_live.server.problems import ProblemError
from ser_live.server.settings import Limits

if TYPE_CHECKING:
    from ser_live.server.stream import Stream

_TICK_SECONDS = 0.5
_HOT_SHARE = 0.9
_CALM_SHARE = 0.4
_YIELD_SHARE = 0.8
_HOT_TICKS = 4
_CALM_TICKS = 20
_WIDEST_HOPS = 8
_RETRY_SECONDS = "5"


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
        self.is_draining = False
        self._open: set[Stream] = set()
        self._addresses: Counter[str] = Counter()
        metrics.streams_open.set_function(lambda: len(self._open))

    def __len__(self) -> int:
        return len(self._open)

    @property
    def must_yield(self) -> bool:
        """Whether those who send faster than real time have to wait for the others."""
        return self.engine.busy_share > _YIELD_SHARE

    def require_room(self, address: str | None = None) -> None:
        """Raise ProblemError (503) if nothing more can be taken on, of an address or at all."""
        reason, detail = self._objection(address)
        if reason:
            self.metrics.refused.labels(reason).inc()
            raise ProblemError(503, detail, {"Retry-After": _RETRY_SECONDS})

    @contextmanager
    def opened(self, stream: "Stream", address: str) -> Iterator[None]:
        """Count a stream among the open ones."""
        self._open.add(stream)
        self._addresses[address] += 1
        try:
            yield
        finally:
            self._open.discard(stream)
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    async def watch(self) -> None:
        """Look after time limits and load, for ever."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            if news := self.overload.process(self.engine.busy_share):
                logger.warning("load", extra={"detail": news})
            now = time.monotonic()
            for stream in tuple(self._open):
                stream.check(now)

    async def drain(self, seconds: float) -> None:
        """Take no more streams, let the open ones flush and end; wait for that."""
        self.is_draining = True
        logger.info("draining", extra={"streams": len(self._open)})
        deadline = time.monotonic() + seconds
        for stream in tuple(self._open):
            stream.stop("draining", "the server stops; connect again in a while")
        while self._open and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    def _objection(self, address: str | None) -> tuple[str, str]:
        limits = self.limits
        if self.is_draining:
            return "draining", "the server is stopping; connect again in a while"
        if self.overload.is_refusing:
            return "overloaded", "the server has all the work that it can do; try again later"
        if address is None:
            return "", ""
        if len(self._open) >= limits.max_streams:
            return "streams", f"{limits.max_streams} streams are open, which is all; try later"
        most = limits.max_streams_per_address
        if most is not None and self._addresses[address] >= most:
            return "address", f"{most} streams are open from {address}, which is all; end one"
        return "", ""


class Overload:
    """Decide from the engine's load whether streams are refused, and how wide hops are.

    Those who send faster than real time yield before it gets hot, so what makes it hot is audio
    that cannot wait. Then streams are refused; if that is not enough, hops widen, and they come
    back when there is room for twice the work.
    """

    def __init__(self) -> None:
        self.is_refusing = False
        self.is_beyond_help = False
        """Hops are as wide as they get, and it is too much still."""
        self.hops_per_prediction = 1
        self._hot_ticks = 0
        self._calm_ticks = 0

    def process(self, busy_share: float) -> str:
        """Take the load of a moment; give a sentence where something changes."""
        is_hot = busy_share > _HOT_SHARE
        self._hot_ticks = self._hot_ticks + 1 if is_hot else 0
        self._calm_ticks = self._calm_ticks + 1 if busy_share < _CALM_SHARE else 0
        before = (self.is_refusing, self.hops_per_prediction)
        if self._hot_ticks >= _HOT_TICKS:
            self._hot_ticks = 0
            self.is_beyond_help = self.hops_per_prediction == _WIDEST_HOPS
            if self.is_refusing:
                self.hops_per_prediction = min(2 * self.hops_per_prediction, _WIDEST_HOPS)
            self.is_refusing = True
        elif self._calm_ticks >= _CALM_TICKS and self.hops_per_prediction > 1:
            self._calm_ticks = 0
            self.hops_per_prediction //= 2
        if not is_hot and self.hops_per_prediction == 1 and busy_share < _YIELD_SHARE:
            self.is_refusing = False
        self.is_beyond_help = self.is_beyond_help and is_hot
        if before == (self.is_refusing, self.hops_per_prediction):
            return ""
        refusing = "refuses" if self.is_refusing else "takes"
        return (
            f"the engine is busy {100 * busy_share:.0f} % of the time; the server {refusing} new "
            f"streams; {self.hops_per_prediction} hops to a prediction"
        )
