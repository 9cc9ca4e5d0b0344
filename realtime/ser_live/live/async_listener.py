"""Live loop for asyncio: the same loop, in a thread of its own."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, Literal, Self, Unpack, overload

from ser_live.engine.utterances import Utterance, UtteranceChoice
from ser_live.errors import SerError
from ser_live.events import Event
from ser_live.live.listener import Audio, Item, Listener, ListenOptions, LiveStats, listen
from ser_live.prediction import Prediction
from ser_live.sources.blocks import AudioBlock, BlockSource

AsyncAudio = Audio | AsyncIterable[AudioBlock]
_END = object()
_CLOSE_SECONDS = 2.0

_Order = tuple[Future[Any], Callable[[], Any]]


class AsyncListener(AsyncIterator[Item], Generic[Item]):
    """Predictions of a source for ``async for``; made by `alisten`.

    A task that is cancelled while it waits loses nothing: the next one gets the prediction.
    Several tasks may share the predictions; each gets others.

    Parameters
    ----------
    listener : Listener
        Runs in the thread.
    """

    def __init__(self, listener: Listener[Item]) -> None:
        self.listener = listener
        self._is_closed = False
        self._turn = asyncio.Lock()
        self._pending: asyncio.Future[Any] | None = None
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        # A daemon: a source that hangs in the kernel must not keep the interpreter alive.
        self._worker = threading.Thread(target=self._work, daemon=True)

    async def __aenter__(self) -> Self:
        try:
            await self._run(self.listener.open)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def __anext__(self) -> Item:
        async with self._turn:
            if self._is_closed:
                raise StopAsyncIteration
            # It outlives a caller that is cancelled: no prediction is lost with it.
            if self._pending is None:
                self._pending = self._run(lambda: next(self.listener, _END))
            try:
                item = await asyncio.shield(self._pending)
            except asyncio.CancelledError:
                raise  # the next caller waits for the same prediction
            except BaseException:
                self._end()
                raise
            self._pending = None
        if item is _END:
            self._end()
            raise StopAsyncIteration
        return item  # type: ignore[no-any-return]

    @property
    def stats(self) -> LiveStats:
        """Counters and latency quantiles up to now; SerError before it is open."""
        return self.listener.stats

    async def aclose(self) -> None:
        """Stop capturing and close the source, within two seconds; nothing more comes."""
        if self._is_closed:
            return
        self._is_closed = True
        self.listener.close()
        if self._worker.ident:
            # Once more behind what was asked for before: that may just be opening the source.
            closed = self._run(self.listener.close)
            self._orders.put(None)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(asyncio.shield(closed), _CLOSE_SECONDS)

    def _end(self) -> None:
        """Let the thread go: nothing more comes, and the listener has closed the source."""
        self._is_closed = True
        self._orders.put(None)

    def _run(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        order = Future[Any]()
        if not self._worker.ident:
            self._worker.start()
        self._orders.put((order, work))
        future = asyncio.wrap_future(order)
        # An error that no task awaits any more must not be reported as never retrieved.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    def _work(self) -> None:
        for order, work in iter(self._orders.get, None):
            if order.set_running_or_notify_cancel():  # else the task that asked was cancelled
                try:
                    order.set_result(work())
                except BaseException as error:  # the caller that awaits it gets it
                    order.set_exception(error)


class _AsyncBlockSource(BlockSource):
    """Blocks of an asynchronous iterator, which is asked in its own event loop."""

    def __init__(self, blocks: AsyncIterable[AudioBlock], sample_rate_hz: int | None) -> None:
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError as error:
            raise SerError("call alisten() with an iterator in the event loop of it") from error
        self._iterator = aiter(blocks)
        self._asked: Future[Any] | None = None
        super().__init__(self._pull(), sample_rate_hz)

    def close(self) -> None:
        """End the iteration, also one that waits for a block."""
        super().close()
        if self._asked is not None:
            self._asked.cancel()

    def _pull(self) -> Iterator[AudioBlock]:
        while not self._is_closed:
            self._asked = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            if self._is_closed:  # meanwhile
                self._asked.cancel()
            try:
                block = self._asked.result()
            except CancelledError:
                return
            if block is _END:
                return
            yield block

    async def _next(self) -> object:
        return await anext(self._iterator, _END)


@overload
def alisten(
    source: AsyncAudio = None,
    *,
    events: Literal[False] = False,
    utterances: Literal[False] = False,
    **options: Unpack[ListenOptions],
) -> AsyncListener[Prediction]: ...


@overload
def alisten(
    source: AsyncAudio = None,
    *,
    events: bool,
    utterances: Literal[False] = False,
    **options: Unpack[ListenOptions],
) -> AsyncListener[Prediction | Event]: ...


@overload
def alisten(
    source: AsyncAudio = None,
    *,
    events: bool = False,
    utterances: UtteranceChoice,
    **options: Unpack[ListenOptions],
) -> AsyncListener[Prediction | Event | Utterance]: ...


def alisten(
    source: AsyncAudio = None,
    *,
    events: bool = False,
    utterances: UtteranceChoice = False,
    **options: Unpack[ListenOptions],
) -> Any:
    """Recognize emotion live under asyncio: ``async with alisten() as predictions: ...``.

    The parameters, and what they raise, are those of `ser_live.listen`; the source may also be
    an asynchronous iterator of blocks, which is asked for the next one when it is needed.

    Returns
    -------
    AsyncListener
        An asynchronous context manager and iterator over `Prediction`, and over `Event` and
        `Utterance` where they are asked for.

    Examples
    --------
    >>> import asyncio
    >>> from ser_live import alisten
    >>> async def count_silence():
    ...     async with alisten([bytes(16000)] * 4, sample_rate_hz=16000) as predictions:
    ...         return sum([item.state == "silence" async for item in predictions])
    >>> asyncio.run(count_silence())
    8
    """
    if isinstance(source, AsyncIterable):
        source = _AsyncBlockSource(source, options.pop("sample_rate_hz", None))
    return AsyncListener(listen(source, events=events, utterances=utterances, **options))
