"""The live loop for asyncio: nothing is lost, nothing hangs, nothing is left behind."""

import asyncio
import contextlib
import functools
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, ParamSpec, Self

import numpy as np
import pytest

from helpers.streams import GivenSource, offline
from ser_live import Event, Prediction, SerError, alisten, listen
from ser_live.live.async_listener import AsyncListener
from ser_live.model.classifier import OnnxClassifier
from ser_live.sources import Block
from ser_live.testing import FakeMicrophone, SlowModel, Unplug, demo_voice

P = ParamSpec("P")
VOICE = demo_voice()
HOP = 4000


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5.0)
        assert not thread.is_alive()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run it, but no longer than half a minute, and let no error go unheard."""
    unheard: list[dict[str, Any]] = []

    async def watched() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unheard.append(context))
        await asyncio.wait_for(main, 30.0)

    asyncio.run(watched())
    assert unheard == []


def in_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test of a coroutine function."""

    @functools.wraps(test)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return wrapped


class HandFed(GivenSource):
    """A source that gives what it is fed, when it is fed."""

    def __init__(self) -> None:
        super().__init__([], is_live=True)
        self.blocks: queue.Queue[Block | None] = queue.Queue()
        self.is_open = False
        self.may_open = threading.Event()
        self.may_open.set()
        self.entered = threading.Event()

    def __enter__(self) -> Self:
        self.entered.set()
        self.may_open.wait(10.0)
        self.is_open = True
        return self

    def __iter__(self) -> Iterator[Block]:
        while (block := self.blocks.get()) is not None:
            yield block

    def skip_to_newest(self, keep_seconds: float) -> None:
        raise AssertionError("no reader is late")

    def feed(self, hops: int = 1) -> None:
        for _ in range(hops):
            self.blocks.put(Block(np.zeros((HOP, 1), np.float32)))

    def close(self) -> None:
        self.is_open = False
        self.blocks.put(None)


@in_a_loop
async def test_it_gives_what_listen_gives(model: OnnxClassifier) -> None:
    def microphone() -> FakeMicrophone:
        return FakeMicrophone(VOICE, [Unplug(2.0, 1.0)], seconds=10.0, block_seconds=0.1)

    async with alisten(microphone(), events=True, model=model) as them:
        got = [item async for item in them]
    assert got == list(listen(microphone(), events=True, model=model))
    kinds = [item.kind for item in got if isinstance(item, Event)]
    assert kinds == ["device_lost", "device_restored", "gap"]
    assert them.stats.recognizer.predictions == len(got) - len(kinds)


@in_a_loop
async def test_a_task_that_is_cancelled_while_it_waits_loses_nothing(model: OnnxClassifier) -> None:
    source, got = HandFed(), []
    async with alisten(source, model=model) as them:
        for index in range(20):
            waiting = asyncio.ensure_future(anext(them))
            await asyncio.sleep(0.002)
            waiting.cancel()
            if index % 2:  # the prediction comes while no task waits
                source.feed()
                await asyncio.sleep(0.002)
            else:  # or just as the task is cancelled
                source.feed()
            with contextlib.suppress(asyncio.CancelledError):
                got.append((await waiting).index)
            if len(got) <= index:
                got.append((await anext(them)).index)
    assert got == list(range(20))


@in_a_loop
async def test_two_tasks_share_the_predictions(model: OnnxClassifier) -> None:
    source = HandFed()

    async def take(them: AsyncIterator[Prediction], into: list[int]) -> None:
        async for prediction in them:
            into.append(prediction.index)
            if sum(map(len, got)) == 40:
                source.blocks.put(None)
            await asyncio.sleep(0)

    got: list[list[int]] = [[], []]
    async with alisten(source, model=model) as them:
        tasks = [asyncio.ensure_future(take(them, into)) for into in got]
        source.feed(40)
        await asyncio.gather(*tasks)
    assert sorted(got[0] + got[1]) == list(range(40))
    assert got[0]
    assert got[1]


@in_a_loop
async def test_the_loop_stays_free_while_the_model_works(model: OnnxClassifier) -> None:
    slow = SlowModel(model, 0.15)
    microphone = FakeMicrophone(VOICE, seconds=2.0)
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    heart = asyncio.ensure_future(beat())
    async with alisten(microphone, model=slow, vad=False, policy="block") as them:
        async for _ in them:
            pass
    heart.cancel()
    assert beats > 25


@in_a_loop
async def test_exceptions_arrive_once_and_then_it_is_over(model: OnnxClassifier) -> None:
    microphone = FakeMicrophone(VOICE, [Unplug(1.0, 9.0)], seconds=5.0, reconnect=False)
    got: list[Prediction] = []

    async def take(them: AsyncIterator[Prediction]) -> None:
        async for prediction in them:
            got.append(prediction)

    async with alisten(microphone, model=model) as them:
        with pytest.raises(SerError, match="the device stopped"):
            await take(them)
        with pytest.raises(StopAsyncIteration):
            await anext(them)
    assert len(got) >= 3


@in_a_loop
async def test_what_does_not_open_says_so(model: OnnxClassifier, tmp_path: Path) -> None:
    with pytest.raises(SerError, match=r"nothing\.wav"):
        async with alisten(tmp_path / "nothing.wav", model=model):
            pass
    with pytest.raises(SerError, match=r"nothing\.onnx"):
        await anext(alisten(HandFed(), model=tmp_path / "nothing.onnx"))


@pytest.mark.parametrize("is_opened", [True, False])
@in_a_loop
async def test_closing_twice_and_asking_afterwards(model: OnnxClassifier, is_opened: bool) -> None:
    source = HandFed()
    them = alisten(source, model=model)
    if is_opened:
        source.feed(3)
        assert (await anext(them)).index == 0
    for _ in range(2):
        await them.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(them)
    assert not source.is_open


@in_a_loop
async def test_closing_ends_a_task_that_waits(model: OnnxClassifier) -> None:
    source = HandFed()
    async with alisten(source, model=model) as them:
        waiting = asyncio.ensure_future(anext(them))
        await asyncio.sleep(0.05)
        await them.aclose()
        with pytest.raises(StopAsyncIteration):
            await waiting


@in_a_loop
async def test_a_task_that_is_cancelled_while_it_opens_leaves_nothing_open(
    model: OnnxClassifier,
) -> None:
    source = HandFed()
    source.may_open.clear()

    async def listen_for_ever() -> None:
        async with alisten(source, model=model) as them:
            async for _ in them:
                pass

    task = asyncio.ensure_future(listen_for_ever())
    await asyncio.to_thread(source.entered.wait)
    task.cancel()
    await asyncio.sleep(0.05)
    source.may_open.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not source.is_open


@in_a_loop
async def test_leaving_early_closes_the_source(model: OnnxClassifier) -> None:
    source = HandFed()

    async def fail() -> None:
        async with alisten(source, model=model) as them:
            source.feed(5)
            async for prediction in them:
                if prediction.index == 2:
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert not source.is_open


@in_a_loop
async def test_many_streams_at_once(model: OnnxClassifier) -> None:
    async def hear(start: int) -> list[Prediction]:
        samples = VOICE[start : start + 48_000]
        async with alisten(FakeMicrophone(samples, seconds=3.0), model=model) as them:
            return [prediction async for prediction in them]

    starts = range(0, 240_000, 40_000)
    for start, got in zip(starts, await asyncio.gather(*map(hear, starts)), strict=True):
        assert got == offline(model, VOICE[start : start + 48_000])


def test_a_loop_that_ends_without_closing_is_not_held_up(model: OnnxClassifier) -> None:
    source = HandFed()
    listeners: list[AsyncListener[Prediction]] = []

    async def main() -> None:
        them = alisten(source, model=model)
        listeners.append(them)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(them), 0.1)

    started_at = time.monotonic()
    run(main())
    assert time.monotonic() - started_at < 5.0
    source.feed(3)  # a prediction that comes too late for the loop
    # The worker waits for orders that never come; it is a daemon, and ends when it is told to.
    listeners[0]._orders.put(None)
    source.close()
