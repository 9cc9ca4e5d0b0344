"""A server that is asked to stop lets open streams end first."""

import contextlib
import json
import signal
import threading
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

import serving
from server_talk import DeafClient, blocks, demo, listen, offline, open_stream, start

pytestmark = pytest.mark.integration

VOICE, RATE_HZ = demo()
SHORT = VOICE[: 3 * RATE_HZ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_open_streams_are_flushed_and_told(number: signal.Signals) -> None:
    with serving.process() as server:
        with open_stream(server) as stream, open_stream(server) as silent:
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
        assert said.predictions == offline(SHORT, RATE_HZ)
        assert server.wait() == 0
        assert [line["reason"] for line in server.log.lines("stream closed")] == ["draining"] * 2


def test_new_ones_are_refused_meanwhile_and_a_second_signal_ends_at_once() -> None:
    limits = ("--unsent-seconds", 20, "--max-bytes-per-second", 10**9)
    with serving.process(*limits, ends_well=False) as server:
        deaf = DeafClient(server)
        deaf.send(start(hop_seconds=0.01, vad=False))
        deaf.send_until_stuck(VOICE[:RATE_HZ].tobytes())
        server.terminate()
        server.log.wait_for("draining")
        assert httpx.get(f"{server.url}/readyz").status_code == 503
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        refused = httpx.post(f"{server.url}/v1/recognize", content=b"x")
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        with pytest.raises(InvalidStatus) as handshake, open_stream(server):
            pass
        assert handshake.value.response.status_code == 503
        assert server.process.poll() is None
        server.terminate()
        assert server.wait(5) == 128 + signal.SIGTERM
        deaf.close()


def test_a_client_that_goes_on_sending_gets_the_goodbye_all_the_same() -> None:
    fast = ("--max-bytes-per-second", 10**9)
    with serving.process(*fast) as server, open_stream(server) as stream:
        stream.send(start())
        stop = threading.Event()

        def send_on() -> None:
            with contextlib.suppress(ConnectionClosed):
                while not stop.is_set():
                    stream.send(SHORT.tobytes())

        sender = threading.Thread(target=send_on)
        sender.start()
        stream.recv(30)
        stream.recv(30)  # a prediction: it is in the middle of it
        server.terminate()
        said = listen(stream)
        stop.set()
        sender.join()
        assert (said.ended["reason"], said.close_code) == ("draining", 1001)
        assert server.wait() == 0


def test_a_recording_in_work_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    wav = serving.recording(np.tile(VOICE, (8, 1)), RATE_HZ, "PCM_16")
    answers: list[httpx.Response] = []
    is_begun = threading.Event()
    with serving.server() as server:
        engine = server.running.streams.engine
        process = engine.process

        def seen(*arguments: Any) -> Any:
            is_begun.set()
            return process(*arguments)

        def post() -> None:
            url = f"{server.url}/v1/recognize"
            answers.append(httpx.post(url, content=wav, timeout=60))

        monkeypatch.setattr(engine, "process", seen)
        thread = threading.Thread(target=post)
        thread.start()
        assert is_begun.wait(30)
        assert not answers
        server.running.should_exit = True
        thread.join(60)
    assert answers[0].status_code == 200
    assert len(answers[0].json()["predictions"]) > 600
