"""A server that is asked to stop lets open streams end first."""

import contextlib
import io
import signal
import threading
import time
from collections.abc import Callable

import httpx
import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus

import serving
from server_talk import DeafClient, blocks, demo, figure, listen, offline, open_stream, start

pytestmark = pytest.mark.integration

VOICE, RATE_HZ = demo()
SHORT = VOICE[: 3 * RATE_HZ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_open_streams_are_flushed_and_told(number: signal.Signals) -> None:
    with serving.server() as server:
        with open_stream(server) as stream, open_stream(server) as silent:
            stream.send(start())
            for block in blocks(SHORT, 5000):
                stream.send(block)
            wait_for(lambda: figure(server, "ser_received_bytes_total") == SHORT.nbytes)
            server.process.send_signal(number)
            said = listen(stream)
            assert listen(silent).close_code == 1001  # it had not even started
        assert said.close_code == 1001
        assert said.ended["reason"] == "draining"
        assert said.ended["processed_samples"] == said.ended["received_samples"] == len(SHORT)
        assert said.predictions == offline(SHORT, RATE_HZ)
        assert server.wait() == 0
        reasons = [line["reason"] for line in server.log() if line["message"] == "stream closed"]
        assert reasons == ["draining", "draining"]


def test_new_ones_are_refused_meanwhile_and_a_second_signal_ends_at_once() -> None:
    limits = ("--unsent-seconds", 20, "--max-bytes-per-second", 10**9)
    with serving.server(*limits, ends_well=False) as server:
        deaf = DeafClient(server)
        deaf.send(start(hop_seconds=0.01, vad=False))
        deaf.send_until_stuck(VOICE[:RATE_HZ].tobytes())
        server.terminate()
        wait_for(lambda: httpx.get(f"{server.url}/readyz").status_code == 503)
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


def test_who_goes_on_sending_is_told_goodbye_all_the_same() -> None:
    fast = ("--max-bytes-per-second", 10**9)
    with serving.server(*fast) as server, open_stream(server) as stream:
        stream.send(start())
        stop = threading.Event()

        def send_on() -> None:
            with contextlib.suppress(ConnectionClosed):
                while not stop.is_set():
                    stream.send(SHORT.tobytes())

        sender = threading.Thread(target=send_on)
        sender.start()
        time.sleep(0.5)
        server.terminate()
        said = listen(stream)
        stop.set()
        sender.join()
        assert (said.ended["reason"], said.close_code) == ("draining", 1001)
        assert server.wait() == 0


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_recording_in_work_is_finished() -> None:
    wav = io.BytesIO()
    soundfile.write(wav, np.tile(VOICE, (20, 1)), RATE_HZ, "PCM_16", format="WAV")
    answers: list[httpx.Response] = []
    with serving.server() as server:

        def post() -> None:
            url = f"{server.url}/v1/recognize"
            answers.append(httpx.post(url, content=wav.getvalue(), timeout=60))

        thread = threading.Thread(target=post)
        thread.start()
        time.sleep(0.7)
        assert not answers
        server.terminate()
        thread.join(60)
        assert server.wait() == 0
    assert answers[0].status_code == 200
    assert len(answers[0].json()["predictions"]) > 1500
