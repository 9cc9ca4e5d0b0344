"""All streams of a server: admission, limits of time, and what is done under overload."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ser_live.server.engine import Engine
from ser_live.server.models import Models
from ser_live.server.observability import Metrics, logger
from ser_live.server.problems import ProblemError
from ser_live.server.settings import Limits

if TYPE_CHECKING:
    from ser_live.server.stream import Stream

# Late streams are judged by shares of predictions, so that one slow stream changes nothing.
_SLOW_SECONDS = 0.05
_SLOW_SHARE = 0.2
_LATE_SECONDS = 0.1
_LATE_SHARE = 0.1
_BUSY_SHARE = 0.8
# Half the hop is twice the work: from below this share the engine stays below `_BUSY_SHARE`.
_CALM_SHARE = 0.4
# Quick to help (2 s), slow to come back (10 s): else the hop would swing to and fro.
_HOT_TICKS = 4
_CALM_TICKS = 20
_WIDEST_HOPS = 8
_TICK_SECONDS = 0.5
_RETRY_SECONDS = "5"


class Overload:
    """Decide from how late predictions are whether streams are refused, and how wide hops are.

    A busy engine alone is no harm: the more wait for it, the more share a run. When live streams
    get late, clients that send faster than real time have to wait first; if that is not enough,
    streams are refused; then hops widen, and they come back when there is room for twice the work.
    """

    def __init__(self) -> None:
        self.is_refusing = False
        self.has_time = asyncio.Event()
        """Set while clients that send faster than real time need not wait for the others."""
        self.has_time.set()
        self.is_beyond_help = False
        """Hops are as wide as they get, and it is too much still."""
        self.hops_per_prediction = 1
        self._hot_ticks = 0
        self._calm_ticks = 0
        self._begin_again()

    @property
    def must_yield(self) -> bool:
        """True while clients that send faster than real time have to wait for the others."""
        return not self.has_time.is_set()

    def note(self, seconds: float) -> None:
        """Take how long a live stream has waited for a prediction that was due."""
        self._count += 1
        self._slow_count += seconds > _SLOW_SECONDS
        self._late_count += seconds > _LATE_SECONDS

    def process(self, busy_share: float) -> str:
        """Judge what was noted since the last time; return a sentence where something changes."""
        late_share = self._late_count / max(1, self._count)
        if self._slow_count > _SLOW_SHARE * self._count:
            self.has_time.clear()
        else:
            self.has_time.set()
        self._begin_again()
        before = (self.is_refusing, self.hops_per_prediction)
        # Late without a busy engine is a slow network or client: nothing here would help.
        is_hot = late_share > _LATE_SHARE and busy_share > _BUSY_SHARE
        self._hot_ticks = self._hot_ticks + 1 if is_hot else 0
        self._calm_ticks = self._calm_ticks + 1 if busy_share < _CALM_SHARE else 0
        self.is_beyond_help = self.is_beyond_help and is_hot
        if self._hot_ticks >= _HOT_TICKS:
            self._harden()
        elif self._calm_ticks >= _CALM_TICKS and self.hops_per_prediction > 1:
            self._calm_ticks = 0
            self.hops_per_prediction //= 2
        elif busy_share < _BUSY_SHARE and self.hops_per_prediction == 1:
            self.is_refusing = False
        if before == (self.is_refusing, self.hops_per_prediction):
            return ""
        refusing = "refuses" if self.is_refusing else "takes"
        return (
            f"{100 * late_share:.0f} % of predictions were late, the engine busy "
            f"{100 * busy_share:.0f} % of the time; the server {refusing} new streams; "
            f"{self.hops_per_prediction} hops to a prediction"
        )

    def _harden(self) -> None:
        self._hot_ticks = 0
        self.is_beyond_help = self.hops_per_prediction == _WIDEST_HOPS
        if self.is_refusing:
            self.hops_per_prediction = min(2 * self.hops_per_prediction, _WIDEST_HOPS)
        self.is_refusing = True

    def _begin_again(self) -> None:
        self._count = self._slow_count = self._late_count = 0


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
        self._is_empty = asyncio.Event()
        self._open: set[Stream] = set()
        self._addresses: Counter[str] = Counter()
        metrics.streams_open.set_function(lambda: len(self._open))

    def __len__(self) -> int:
        return len(self._open)

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
        self._is_empty.clear()
        self._addresses[address] += 1
        try:
            yield
        finally:
            self._open.discard(stream)
            self._addresses[address] -= 1
            # Else the counter would keep every address that ever connected.
            if not self._addresses[address]:
                del self._addresses[address]
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

    async def drain(self, seconds: float) -> None:
        """Take no more streams, let the open ones flush and end; wait for that."""
        self.is_draining = True
        logger.info("draining", extra={"streams": len(self._open)})
        for stream in tuple(self._open):
            stream.stop("draining", "the server stops; connect again in a while")
        if self._open:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._is_empty.wait()

    def _objection(self, address: str | None) -> tuple[str, str]:
        limits = self.limits
        if self.is_draining:
            return "draining", "the server is stopping; connect again in a while"
        if self.overload.is_refusing:
            return "overloaded", "the server has all the work that it can do; try again later"
        if address is None:  # a recording: it takes no place among the streams
            return "", ""
        if len(self._open) >= limits.max_streams:
            return "streams", f"{limits.max_streams} streams are open, which is all; try later"
        most = limits.max_streams_per_address
        if most is not None and self._addresses[address] >= most:
            return "address", f"{most} streams are open from {address}, which is all; end one"
        return "", ""
