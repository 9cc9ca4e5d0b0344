"""A client that asks too much is told so and let go, and no other client notices."""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode

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
from ser_live.server import connection, uvicorn_server

pytestmark = pytest.mark.integration

SHORT = VOICE[: 3 * RATE_HZ]
LONGEST_SECONDS = 5.0


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Server]:
    limits = {
        "--max-streams": 3,
        "--max-streams-per-address": 2,
        "--max-frame-bytes": 20_000,
        "--max-bytes-per-second": 600_000,
        "--max-seconds": LONGEST_SECONDS,
        "--idle-seconds": 1.5,
        "--start-seconds": 1.5,
    }
    with serving.server(*(word for pair in limits.items() for word in pair)) as one:
        yield one


def test_one_stream_too_many_is_refused_at_the_handshake(server: serving.Server) -> None:
    with connect(server) as one, connect(server) as two:
        assert refusal(server) == 503
        for stream in (one, two):
            stream.send(start())
            stream.send(END)
            listen(stream)
    assert server.figure('ser_streams_refused_total{reason="address"}') == 1
    assert talk(server, [start(), END]).close_code == 1000


def test_a_large_message_is_refused_in_words(server: serving.Server) -> None:
    sent = [start(), *blocks(SHORT, 4000), b"\0" * 20_004]
    said = talk(server, sent)
    assert said.close_code == 1009
    assert said.of("error")[-1]["code"] == said.ended["reason"] == "too_large"
    assert said.predictions == offline(SHORT)


def test_a_huge_message_is_not_even_read(server: serving.Server) -> None:
    assert talk(server, [start(), b"\0" * 1_000_000]).close_code == 1009


def test_too_long_a_stream_ends_with_all_answered(server: serving.Server) -> None:
    said = talk(server, [start(), *blocks(VOICE, 4410)])
    assert said.close_code == 4413
    assert said.ended["reason"] == "too_long"
    received = said.ended["received_samples"]
    assert received == said.ended["processed_samples"]
    assert LONGEST_SECONDS * RATE_HZ < received <= LONGEST_SECONDS * RATE_HZ + 4410
    assert said.predictions == offline(VOICE[:received])


def test_a_skip_over_ages_is_too_long(server: serving.Server) -> None:
    said = talk(server, [start(), json.dumps({"type": "skip", "samples": 2**53})])
    assert said.close_code == 4413


def test_silence_on_the_line_ends_it_with_all_answered(server: serving.Server) -> None:
    said = talk(server, [start(), *blocks(SHORT, 4000)])
    assert said.close_code == 4408
    assert said.ended["reason"] == "idle"
    assert said.predictions == offline(SHORT)


def test_a_client_that_never_starts_is_let_go(server: serving.Server) -> None:
    said = talk(server, [])
    (error,) = said.messages
    assert (error["code"], error["fatal"], said.close_code) == ("idle", True, 4408)


@pytest.fixture
def no_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no client save up bytes, so that a flood shows at once."""
    monkeypatch.setattr(connection, "_BURST_SECONDS", 0.1)


@pytest.mark.usefixtures("no_burst")
def test_too_many_bytes_a_second_end_it_with_all_answered(server: serving.Server) -> None:
    flood: list[str | bytes] = [b"\0" * 20_000] * 200
    said = talk(server, [start(vad=False, sample_rate_hz=384000), *flood])
    assert said.close_code == 4429
    assert said.ended["reason"] == "rate_limit"
    assert said.ended["received_samples"] == said.ended["processed_samples"] > 0


@pytest.mark.usefixtures("no_burst")
def test_a_flood_of_tiny_messages_counts_as_much(server: serving.Server) -> None:
    flood: list[str | bytes] = [b"\0\0\0\0"] * 5000
    said = talk(server, [start(), *flood])
    assert said.close_code == 4429


def test_the_limits_are_told_at_the_start(server: serving.Server) -> None:
    told = talk(server, [start(), END]).messages[0]["limits"]
    assert told["max_frame_bytes"] == 20_000
    assert told["max_bytes_per_second"] == 600_000
    assert told["max_seconds"] == LONGEST_SECONDS


def test_a_client_that_does_not_read_is_let_go_with_a_reason() -> None:
    with serving.server("--unsent-seconds", 1, "--max-bytes-per-second", 10**9) as server:
        deaf = DeafClient(server)
        beside = talk(server, [start(), *blocks(SHORT, 5000), END])
        assert beside.predictions == offline(SHORT)
        server.log.wait_for("stream closed", reason="slow_reader")
        said = deaf.listen()
        deaf.close()
        assert said.close_code == 4430
        assert "read" in said.close_reason
        assert len(said.predictions) > 100
        assert server.figure('ser_streams_total{reason="slow_reader"}') == 1


def test_a_client_that_never_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_server, "LINGER_SECONDS", 0.5)
    with serving.server("--unsent-seconds", 1, "--max-bytes-per-second", 10**9) as server:
        deaf = DeafClient(server)
        (only,) = server.running.server_state.connections
        assert isinstance(only, uvicorn_server.WebSocketProtocol)
        is_lost = threading.Event()
        only.loop.call_soon_threadsafe(only.lost.add_done_callback, lambda _: is_lost.set())
        assert is_lost.wait(30)
        deaf.close()


def closes_within(connection: socket.socket, seconds: float) -> bool:
    """Return True if the other end hangs up in time."""
    connection.settimeout(seconds)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def test_half_a_request_is_not_waited_for(
    server: serving.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow loris: nothing at all, half a head, a head that goes on and on, a body that drips."""
    monkeypatch.setattr(uvicorn_server, "HEAD_SECONDS", 1.0)
    heads = [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnec",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /readyz HTTP/1.1\r\nHo",
        b"POST /v1/recognize HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nRIFF",
        b"POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nRIFF",
    ]
    waiting = [socket.create_connection((server.host, server.port)) for _ in heads]
    for line, head in zip(waiting, heads, strict=True):
        line.sendall(head)
    for _ in range(4):  # a byte now and then must not keep it alive
        time.sleep(0.2)
        for line in waiting[1:3]:
            with contextlib.suppress(OSError):
                line.sendall(b"x")
    assert server.get("/healthz").status_code == 200
    for line, head in zip(waiting, heads, strict=True):
        with line:
            assert closes_within(line, 10.0), head


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["http", "https"])
def test_half_open_connections_stand_in_the_way_of_nothing(
    tmp_path: Path, is_encrypted: bool
) -> None:
    """Of too many the oldest are dropped; with TLS they have a head that is half, too."""
    files = serving.certificate(tmp_path, "voice.example")
    trusting = ssl.create_default_context(cafile=files[0])
    options = ("--certificate", files[0], "--key", files[1]) if is_encrypted else ()
    with serving.server("--max-streams", 2, *options) as server, contextlib.ExitStack() as stack:
        most = server.running.server_state.most_waiting
        given = {"ssl": trusting} if is_encrypted else {}
        stream = stack.enter_context(connect(server, **given))
        lines: list[socket.socket] = []
        for _ in range(most + 50):
            line = socket.create_connection((server.host, server.port))
            if is_encrypted:
                line = trusting.wrap_socket(line, server_hostname="voice.example")
            lines.append(stack.enter_context(line))
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX")
        assert closes_within(lines[49], 5.0)
        for path in ("/healthz", "/readyz"):
            assert server.get(path, verify=trusting).status_code == 200
        stream.send(start())
        assert json.loads(stream.recv(10))["type"] == "started"
        with connect(server, **given) as another:
            another.send(start())
            assert json.loads(another.recv(10))["type"] == "started"
        lines[-1].sendall(b": y\r\n\r\n")
        assert lines[-1].recv(4096).startswith(b"HTTP/1.1 200")


def test_an_endless_head_is_cut_off(server: serving.Server) -> None:
    with socket.create_connection((server.host, server.port)) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\n" + b"X-More: more\r\n" * 100_000)
        assert closes_within(connection, 5.0)
    assert server.get("/healthz").status_code == 200


def frame(opcode: Opcode, data: bytes) -> bytes:
    return Frame(opcode, data).serialize(mask=True)


def test_bytes_that_are_no_http_and_no_websocket_do_no_harm(server: serving.Server) -> None:
    post = b"POST /v1/recognize HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    upgrade = (
        b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    )
    key = b"dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    begin = frame(Opcode.TEXT, start().encode())
    junk = [
        post + b"Transfer-Encoding: chunked\r\n\r\n4\r\nRIFF\r\nnonsense\r\n",
        post + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        upgrade + b"x\r\n\r\n",
        upgrade + key + b"\xff" * 1000,
        upgrade + key + begin + frame(Opcode.BINARY, b"\0" * 40_000) * 5 + b"\xff",
        upgrade + key + begin + frame(Opcode.CLOSE, b"\x03\xe8") + b"\xff" * 1000,
        b"GET / HTTP/1.1\r\nHost: [\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://[::1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ]
    for bytes_sent in junk:
        with socket.create_connection((server.host, server.port)) as connection:
            connection.sendall(bytes_sent)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(15)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while more := connection.recv(65536):
                    answer += more
            assert b" 500 " not in answer
    assert talk(server, [start(), *blocks(SHORT, 4000), END]).predictions == offline(SHORT)
    assert not [line for line in server.log.lines() if line["level"] == "error"]


@pytest.mark.skipif(os.name == "nt", reason="the system has no such limit")
def test_as_many_files_may_be_open_as_streams_and_waiting_clients_need() -> None:
    code = (
        "import logging, resource as r; from ser_live.server.uvicorn_server import _allow_files\n"
        "logging.basicConfig(format='%(message)s: %(detail)s')\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (150, 600))\n"
        "for wanted in (100, 500, 900):\n"
        "    _allow_files(wanted)\n"
        "    print(*r.getrlimit(r.RLIMIT_NOFILE))\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["150 600", "500 600", "600 600"]
    (line,) = done.stderr.splitlines()
    assert line.startswith("few files: 600 files may be open, wanted 900 for --max-streams")
