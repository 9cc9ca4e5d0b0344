"""When it is too much: who can wait waits, then streams are refused, then hops widen."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import pytest
import websockets

from helpers import serving
from helpers.server_talk import END, RATE_HZ, VOICE, blocks, connect, refusal, start, talk
from ser_live.server import engine, streams
from ser_live.server.overload import Overload
from ser_live.testing import SlowModel


def after(
    overload: Overload, ticks: int, *, wait_seconds: float = 0.02, busy_share: float = 0.95
) -> tuple[bool, int]:
    for _ in range(ticks):
        for _ in range(10):
            overload.note(wait_seconds)
        overload.process(busy_share)
    return overload.is_refusing, overload.hops_per_prediction


def test_a_busy_engine_that_is_on_time_changes_nothing() -> None:
    overload = Overload()
    assert after(overload, 100, busy_share=1.0) == (False, 1)
    assert not overload.must_yield


def test_a_short_peak_only_makes_clients_wait_that_can() -> None:
    overload = Overload()
    for _ in range(20):
        assert after(overload, 3, wait_seconds=0.3) == (False, 1)
        assert overload.must_yield
        assert after(overload, 1) == (False, 1)
        assert not overload.must_yield


def test_lateness_without_load_is_not_the_engines_fault() -> None:
    assert after(Overload(), 100, wait_seconds=1.0, busy_share=0.3) == (False, 1)


def test_it_refuses_first_then_widens_and_comes_back_only_when_there_is_room() -> None:
    overload = Overload()
    assert after(overload, 4, wait_seconds=0.3) == (True, 1)
    assert after(overload, 4, wait_seconds=0.3) == (True, 2)
    assert after(overload, 100, busy_share=0.6) == (True, 2)  # with one hop too much again
    assert after(overload, 19, busy_share=0.3) == (True, 2)
    assert after(overload, 2, busy_share=0.3) == (False, 1)


def test_hops_have_a_widest_and_then_it_is_said() -> None:
    overload = Overload()
    assert after(overload, 100, wait_seconds=0.3) == (True, 8)
    assert overload.is_beyond_help
    after(overload, 1)
    assert not overload.is_beyond_help
    assert after(overload, 65, busy_share=0.1) == (False, 1)


def test_a_change_is_told_once() -> None:
    overload = Overload()
    news = []
    for _ in range(8):
        overload.note(1.0)
        news.append(overload.process(1.0))
    assert [bool(said) for said in news] == [False, False, False, True] * 2
    assert "refuses" in news[3]
    assert "2 hops" in news[7]


@contextlib.contextmanager
def posted(server: serving.Server, count: int, times: int) -> Iterator[list[Future[Any]]]:
    """Post recordings, some times the voice long; the futures hold what is recognized."""
    wav = serving.recording(np.tile(VOICE, (times, 1)), RATE_HZ, "PCM_16")
    with ThreadPoolExecutor(count) as threads:
        posts = [threads.submit(server.recognized, wav) for _ in range(count)]
        yield posts
    assert all(post.result()["predictions"] for post in posts)


@pytest.mark.integration
def test_a_voice_is_on_time_while_recordings_keep_the_engine_busy() -> None:
    with serving.process() as server:
        with posted(server, 3, times=8) as posts:
            with connect(server) as stream:
                stream.send(start())
                stream.recv(10)
                for block in blocks(VOICE[: 3 * RATE_HZ], RATE_HZ // 10):
                    stream.send(block)
                    time.sleep(0.1)
                said = [json.loads(stream.recv(10)) for _ in range(10)]
            assert not any(post.done() for post in posts)
            windows = server.figure('ser_batch_size_sum{kind="network"}')
            assert windows > 3 * len(said)  # the recordings went on meanwhile
            lags = [m["lag_seconds"] for m in said if m["type"] == "prediction"]
            assert max(lags) < 1.0
        assert server.figure("ser_hops_per_prediction") == 1


@pytest.mark.integration
def test_a_server_that_refuses_streams_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving.server() as server:
        overload = server.running.app.streams.overload
        monkeypatch.setattr(overload, "process", lambda _: "")  # else it sees that there is room
        overload.is_refusing = True
        answer = server.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert server.get("/healthz").status_code == 200
        overload.is_refusing = False
        assert server.get("/readyz").status_code == 200


@pytest.mark.integration
def test_a_recording_waits_while_voices_are_late_and_no_voice_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving.server() as server, monkeypatch.context() as patched:
        overload = server.running.app.streams.overload
        patched.setattr(overload, "process", lambda busy_share: "")  # voices stay late
        overload.has_time.clear()
        is_waiting, wait = threading.Event(), overload.has_time.wait

        def seen() -> Coroutine[Any, Any, Literal[True]]:
            is_waiting.set()
            return wait()

        patched.setattr(overload.has_time, "wait", seen)
        with posted(server, 1, times=1) as (post,):
            assert is_waiting.wait(30)
            said = talk(server, [start(), *blocks(VOICE[: 2 * RATE_HZ], 5000), END])
            assert len(said.predictions) == 8
            assert server.figure("ser_lag_seconds_count") == 8
            states = ("speech", "silence", "uncertain", "warming_up")
            told = (server.figure(f'ser_predictions_total{{state="{state}"}}') for state in states)
            assert sum(told) == 8  # none of the recording
            assert not post.done()
            patched.undo()


@pytest.mark.integration
def test_voices_that_are_too_many_get_wider_hops_and_new_ones_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Six voices want ten predictions a second each, of a model that gives 28 in all."""
    monkeypatch.setattr(streams, "_TICK_SECONDS", 0.25)
    monkeypatch.setattr(engine, "_MEMORY_SECONDS", 1.0)
    seconds = 4.0

    async def speak() -> list[dict[str, Any]]:
        async with websockets.connect(server.ws_url, max_queue=None, proxy=None) as stream:
            await stream.send(start(hop_seconds=0.1, vad=False))
            begun = time.monotonic()
            for k, block in enumerate(blocks(VOICE[: int(seconds * RATE_HZ)], RATE_HZ // 10)):
                await asyncio.sleep(max(0.0, begun + 0.1 * k - time.monotonic()))
                await stream.send(block)
            await stream.send(END)
            return [json.loads(text) async for text in stream]

    async def all_speak() -> list[list[dict[str, Any]]]:
        return await asyncio.gather(*(speak() for _ in range(6)))

    with serving.server() as server, ThreadPoolExecutor() as threads:
        models = server.running.app.streams.models
        slow = SlowModel(models.load_default(), 0.035)
        monkeypatch.setitem(models._loaded, models.default, slow)
        speaking = threads.submit(asyncio.run, all_speak())
        server.log.wait_for("load", holding="refuses new streams; 1 hops")
        server.log.wait_for("load", holding="refuses new streams; 2 hops")
        assert server.figure("ser_hops_per_prediction") > 1
        assert refusal(server) == 503
        assert server.figure('ser_streams_refused_total{reason="overloaded"}') >= 1
    said = speaking.result()
    assert len(said) == 6
    for messages in said:
        ended = messages[-1]
        assert ended["reason"] == "end"
        assert ended["received_samples"] == ended["processed_samples"] == int(seconds * RATE_HZ)
        assert "hop_changed" in [m["event"] for m in messages if m["type"] == "event"]
        indexes = [m["index"] for m in messages if m["type"] == "prediction"]
        assert indexes == sorted(set(indexes))
        assert indexes[-1] == round(10 * seconds) - 1
