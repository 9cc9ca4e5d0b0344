"""A server that is asked to stop lets open streams go on for a while, and end."""

import contextlib
import json
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from helpers import serving
from helpers.server_talk import (
    END,
    RATE_HZ,
    VOICE,
    DeafClient,
    blocks,
    connect,
    listen,
    offline,
    refusal,
    start,
    talk,
)

pytestmark = pytest.mark.integration

SHORT = VOICE[: 3 * RATE_HZ]


def draining(messages: list[dict[str, Any]]) -> list[str]:
    return [m["detail"] for m in messages if m.get("event") == "draining"]


def test_open_streams_are_told_and_go_on_until_they_end() -> None:
    """One speaks on, one is told while it says nothing, one has not even started."""
    with (
        serving.process("--drain-seconds", 600) as server,
        connect(server) as speaking,
        connect(server) as silent,
        connect(server) as late,
    ):
        sent = blocks(SHORT, 5000)
        for stream, first in ((speaking, sent[:4]), (silent, [])):
            for block in (start(), *first):
                stream.send(block)
            assert json.loads(stream.recv(30))["type"] == "started"
        server.terminate()
        (told,) = draining([json.loads(silent.recv(30))])
        assert " 600 s" in told
        ready = server.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "draining")
        assert server.get("/healthz").status_code == 200
        refused = server.post(b"x")
        assert (refused.status_code, refused.json()["code"]) == (503, "draining")
        assert refusal(server) == 503
        for stream, rest in ((speaking, sent[4:]), (silent, []), (late, [start(), *sent])):
            assert server.process.poll() is None
            for block in (*rest, END):
                stream.send(block)
            said = listen(stream)
            assert (said.ended["reason"], said.close_code) == ("end", 1000)
            assert said.predictions == (offline(SHORT) if rest else [])
            assert len(draining(said.messages)) == (stream is not silent)
        assert server.wait() == 0


def test_a_stream_that_does_not_end_is_ended_when_its_time_is_over() -> None:
    with (
        serving.process("--drain-seconds", 1, "--drain-delay", 0.2) as server,
        connect(server) as stream,
        connect(server) as unstarted,
    ):
        for block in (start(), *blocks(SHORT, 5000)):
            stream.send(block)
        stream.recv(30)
        server.terminate()
        said = listen(stream)
        assert [" 1 s" in told for told in draining(said.messages)] == [True]
        assert (said.ended["reason"], said.close_code) == ("draining", 1001)
        assert said.predictions == offline(SHORT)
        assert listen(unstarted).close_code == 1001
        assert server.wait() == 0


def test_streams_are_taken_until_the_delay_is_over() -> None:
    with serving.process("--drain-delay", 600, ends_well=False) as server:
        server.terminate()
        while server.get("/readyz").status_code == 200:
            pass
        said = talk(server, [start(), *blocks(SHORT, 5000), END])
        assert said.predictions == offline(SHORT)
        assert not draining(said.messages)
        server.terminate()
        assert server.wait(5) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("number", "seconds"), [(signal.SIGTERM, 0), (signal.SIGINT, 600)], ids=["SIGTERM", "SIGINT"]
)
def test_open_streams_are_flushed_and_told(number: signal.Signals, seconds: float) -> None:
    """At once: with no time to drain, and by Ctrl-C."""
    with serving.process("--drain-seconds", seconds) as server:
        with connect(server) as stream, connect(server) as silent:
            # The answer to the mistake says that everything before it has come.
            for message in (start(), *blocks(SHORT, 5000), "{"):
                stream.send(message)
            first: list[dict[str, Any]] = []
            while not first or first[-1]["type"] != "error":
                first.append(json.loads(stream.recv(10)))
            server.process.send_signal(number)
            said = listen(stream)
            said.messages[:0] = first
            assert listen(silent).close_code == 1001  # it had not even started
        assert said.close_code == 1001
        assert said.ended["reason"] == "draining"
        assert said.ended["processed_samples"] == said.ended["received_samples"] == len(SHORT)
        assert said.predictions == offline(SHORT)
        assert server.wait() == 0
        assert [line["reason"] for line in server.log.lines("stream closed")] == ["draining"] * 2


def test_a_second_signal_ends_at_once() -> None:
    limits = ("--unsent-seconds", 20, "--max-bytes-per-second", 10**9)
    with serving.process(*limits, ends_well=False) as server:
        deaf = DeafClient(server)
        server.terminate()
        server.log.wait_for("draining")
        assert server.process.poll() is None
        server.terminate()
        assert server.wait(5) == 128 + signal.SIGTERM
        deaf.close()


def test_a_client_that_goes_on_sending_gets_the_goodbye_all_the_same() -> None:
    fast = ("--max-bytes-per-second", 10**9)
    with (
        serving.process(*fast) as server,
        ThreadPoolExecutor() as threads,
        connect(server) as stream,
    ):
        stream.send(start())

        def send_on() -> None:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    stream.send(SHORT.tobytes())

        threads.submit(send_on)
        stream.recv(30)
        stream.recv(30)  # a prediction: it is in the middle of it
        server.terminate()
        said = listen(stream)
        assert (said.ended["reason"], said.close_code) == ("draining", 1001)
        assert server.wait() == 0


def test_a_recording_in_work_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    wav = serving.recording(np.tile(VOICE, (2, 1)), RATE_HZ, "PCM_16")
    is_begun = threading.Event()
    with ThreadPoolExecutor() as threads, serving.server("--drain-seconds", 60) as server:
        engine = server.running.app.streams.engine
        process = engine.process

        def seen(*arguments: Any, **options: Any) -> Any:
            is_begun.set()
            return process(*arguments, **options)

        monkeypatch.setattr(engine, "process", seen)
        posted = threads.submit(server.recognized, wav)
        assert is_begun.wait(30)
        assert not posted.done()
        server.running.should_exit = True
    assert len(posted.result()["predictions"]) > 150


@pytest.mark.parametrize(
    ("number", "seconds"), [(signal.SIGTERM, 0), (signal.SIGINT, 600)], ids=["SIGTERM", "SIGINT"]
)
def test_recordings_that_are_not_done_in_time_are_told(
    number: signal.Signals, seconds: float
) -> None:
    """One is in work, one gives lines, of one the body still comes."""
    wav = serving.recording(np.tile(VOICE, (40, 1)), RATE_HZ, "PCM_16")
    lines = {"Accept": "application/x-ndjson"}
    with (
        serving.process("--drain-seconds", seconds) as server,
        ThreadPoolExecutor() as threads,
        socket.create_connection((server.host, server.port), 60) as slow,
    ):
        slow.sendall(
            b"POST /v1/recognize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx"
        )
        url, work = f"{server.url}/v1/recognize?hop_seconds=0.01", threads.submit
        document = work(httpx.post, url, content=wav, timeout=60)
        answer = work(httpx.post, url, content=wav, headers=lines, timeout=60)
        while server.figure("ser_uploads_open") < 3:
            pass
        server.process.send_signal(number)
        problem = document.result()
        assert (problem.status_code, problem.json()["code"]) == (503, "draining")
        said = slow.makefile().read()
        assert said.startswith("HTTP/1.1 503")
        assert '"code":"draining"' in said
        assert answer.result().status_code == 200
        first, *_, last = map(json.loads, answer.result().text.splitlines())
        assert (first["type"], last["type"], last["code"]) == ("started", "error", "draining")
        assert server.wait() == 0
        assert "Traceback" not in server.log.text
