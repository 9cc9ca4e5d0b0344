"""Answers about recordings: in lines or as one document, and in bounded memory either way."""

import contextlib
import io
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import numpy as np
import psutil
import pytest
import soundfile

from helpers import serving
from helpers.server_talk import END, RATE_HZ, VOICE, Message, blocks, start, talk, timeless
from ser_live.server import recording_endpoint
from ser_live.server.recording_endpoint import LINES

pytestmark = pytest.mark.integration

DEADLINE_SECONDS = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Server]:
    limits = ("--max-seconds", 60, "--max-answer-bytes", 100_000)
    with serving.server(*limits) as running:
        yield running


def quiet(seconds: int, rate_hz: int = 8000, channels: int = 1, kind: str = "FLAC") -> bytes:
    """Return a small file of silence."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate_hz, channels, format=kind) as out:
        for _ in range(20 * seconds):  # libvorbis crashes on much at once
            out.write(np.zeros((rate_hz // 20, channels), np.float32))
    return file.getvalue()


def lines(server: serving.Server, recording: bytes, **options: Any) -> list[Message]:
    headers = {"Accept": LINES}
    url = f"{server.url}/v1/recognize"
    answer = httpx.post(url, content=recording, params=options, headers=headers, timeout=300)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == LINES
    return [json.loads(line) for line in answer.text.splitlines()]


@contextlib.contextmanager
def deaf(server: serving.Server, recording: bytes, query: str = "") -> Iterator[socket.socket]:
    """Ask for lines, and read none."""
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
        line.connect((server.host, server.port))
        head = f"POST /v1/recognize?{query} HTTP/1.1\r\nHost: {server.host}\r\nAccept: {LINES}\r\n"
        line.sendall(f"{head}Content-Length: {len(recording)}\r\n\r\n".encode() + recording)
        yield line


def recognized(server: serving.Server) -> float:
    return server.figure('ser_predictions_total{state="silence"}')


def settled(server: serving.Server) -> float:
    """Wait until no more is recognized, though there is more; return how much was."""
    deadline, before = time.monotonic() + DEADLINE_SECONDS, -1.0
    while (now := recognized(server)) != before or not now:
        assert time.monotonic() < deadline
        before = now
        time.sleep(1.0)
    return now


def posted_once_free(server: serving.Server) -> httpx.Response:
    """Post until the server has room, which nothing but the end of another recording gives."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (answer := server.post(quiet(1))).status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return answer


def test_lines_and_document_hold_what_a_stream_gives_bit_for_bit(server: serving.Server) -> None:
    options = {"utterances": "provisional", "use_channels": "split", "hop_seconds": 0.5}
    stereo = np.repeat(VOICE, 2, axis=1)
    body = serving.recording(stereo, RATE_HZ)
    said = talk(server, [start(channels=2, **options), *blocks(stereo, 5000), END]).messages
    told = lines(server, body, **options)
    assert [timeless(one) for one in told[1:-1]] == [timeless(one) for one in said[1:-1]]
    names = ("stream_id", "channels")
    started = {key: value for key, value in told[0].items() if key not in names}
    assert started.items() <= said[0].items()
    assert told[0]["channels"] == 2
    ended = {key: value for key, value in told[-1].items() if key != "notes"}
    assert ended == timeless(said[-1])
    assert told[-1]["notes"] == []
    whole = server.recognized(body, **options)
    for kind in ("prediction", "segment", "utterance", "event"):
        of_kind = [timeless(one) for one in told if one["type"] == kind]
        assert [timeless(one) for one in whole[f"{kind}s"]] == of_kind
    assert (whole["seconds"], whole["model"]) == (ended["seconds"], serving.FAST_MODEL)


def test_each_line_fits_the_document(server: serving.Server) -> None:
    document = server.get("/openapi.json").json()
    operation = document["paths"]["/v1/recognize"]["post"]
    content = operation["responses"]["200"]["content"]
    validator = jsonschema.Draft202012Validator(
        content[LINES]["schema"] | {"components": document["components"]}
    )
    told = lines(server, serving.recording(VOICE, RATE_HZ), utterances=True)
    failed = lines(server, quiet(61))
    for line in (*told, *failed):
        validator.validate(line)
    assert {line["type"] for line in (*told, *failed)} > {"started", "segment", "ended", "error"}


def test_what_fails_before_the_first_line_is_a_problem(server: serving.Server) -> None:
    no_samples = serving.recording(VOICE[:0], RATE_HZ)
    for body, status in ((b"no audio", 415), (b"", 400), (no_samples, 400)):
        answer = httpx.post(
            f"{server.url}/v1/recognize", content=body, headers={"Accept": LINES}, timeout=60
        )
        assert (answer.status_code, answer.json()["status"]) == (status, status)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"utterances": "maybe"}, "utterances is 'maybe': .* boolean, .*, or .*'provisional'"),
        ({"prior": "wrong"}, "prior is 'wrong': wanted everyday, even, or odds like"),
        ({"hop_seconds": "x"}, "hop_seconds is 'x': .* number"),
    ],
)
def test_all_that_an_option_may_be_is_told(
    server: serving.Server, options: dict[str, str], told: str
) -> None:
    answer = server.post(quiet(1), **options)
    assert answer.status_code == 422
    assert re.match(told, answer.json()["detail"])


def test_what_fails_in_the_middle_is_the_last_line(server: serving.Server) -> None:
    told = lines(server, quiet(61))
    assert {line["type"] for line in told[1:-1]} == {"prediction", "event"}
    assert (told[-1]["type"], told[-1]["code"], told[-1]["fatal"]) == ("error", "too_long", True)


def test_one_document_has_a_size_and_its_refusal_names_the_lines(server: serving.Server) -> None:
    answer = server.post(quiet(20), hop_seconds=0.01)
    assert answer.status_code == 413
    assert LINES in answer.json()["detail"]
    told = lines(server, quiet(20), hop_seconds=0.01)
    assert sum(line["type"] == "prediction" for line in told) == told[-1]["predictions"] == 2000


def test_a_reader_who_is_slow_holds_up_its_recording_alone_and_leaves_nothing() -> None:
    with serving.process("--max-uploads", 1) as server:
        before = psutil.Process(server.pid).memory_info().rss
        with deaf(server, quiet(600), "hop_seconds=0.01&utterances=provisional"):
            assert settled(server) < 30_000
            assert psutil.Process(server.pid).memory_info().rss - before < 32 << 20
            assert server.post(quiet(1)).json()["code"] == "uploads"
        assert posted_once_free(server).status_code == 200
        assert not [line for line in server.log.lines() if line["level"] == "error"]


def test_a_reader_who_stays_slow_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_endpoint, "_SLOWEST_BYTES_PER_SECOND", 1e12)
    with (
        serving.server("--idle-seconds", 2) as server,
        deaf(server, quiet(600), "hop_seconds=0.01") as line,
    ):
        settled(server)
        time.sleep(2.0)
        line.settimeout(DEADLINE_SECONDS)
        told = b""
        while not told.endswith(b"\r\n0\r\n\r\n"):
            told += line.recv(1 << 16)
        assert b'{"type": "error", "code": "slow_reader"' in told[-500:]


def test_recordings_together_have_so_much_memory(server: serving.Server) -> None:
    body = quiet(600)
    with serving.process("--max-recordings-bytes", 20 << 20) as small:
        assert small.post(b"\0" * (5 << 20)).json()["code"] == "too_large"
        with deaf(small, body, "hop_seconds=0.01"):
            settled(small)
            answer = small.post(quiet(1))
            assert (answer.status_code, answer.json()["code"]) == (503, "memory")
        assert posted_once_free(small).status_code == 200


BOMBS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "many channels at a high rate": (quiet(2, 192_000, 64, "OGG"), {}),
    "channels apart": (
        quiet(2, 48000, 8),
        {"use_channels": "split", "hop_seconds": 0.01, "utterances": "provisional"},
    ),
    "long": (quiet(600), {"hop_seconds": 0.05}),
}


@pytest.mark.parametrize("accept", [LINES, "application/json"])
def test_small_files_take_little_memory(accept: str) -> None:
    """Each is under 50 kB; of the first one a second took 200 MB of memory."""
    with serving.process("--max-answer-bytes", 4 << 20) as server:
        server.post(quiet(1))
        most = psutil.Process(server.pid).memory_info().rss + (48 << 20)
        for body, options in BOMBS.values():
            assert len(body) < 50_000
            url = f"{server.url}/v1/recognize"
            headers = {"Accept": accept}
            httpx.post(url, content=body, params=options, headers=headers, timeout=300)
        told = Path(f"/proc/{server.pid}/status").read_text("ascii")
        peak = next(line.split()[1] for line in told.splitlines() if line.startswith("VmHWM"))
        assert int(peak) * 1024 < most
