"""HTTP: recordings, health, the documents, and problems in words."""

import asyncio
import gzip
import io
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import jsonschema
import numpy as np
import onnx
import pytest
import soundfile
from starlette.requests import Request

from helpers import serving
from helpers.server_talk import RATE_HZ, VOICE
from helpers.serving import recording
from ser_live.model.catalog import model_files
from ser_live.model.classifier import OnnxClassifier
from ser_live.server.messages import SessionOptions
from ser_live.server.problems import ProblemError
from ser_live.server.recording_endpoint import Recordings
from ser_live.server.settings import Limits
from ser_live.server.streams import Client
from ser_live.sources import DEMO_PATH
from ser_live.sources.audio_reader import AudioReader
from ser_live.testing import tiny_card
from ser_live.testing.models import write_graph

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Server]:
    limits = ("--max-upload-bytes", 2_000_000, "--max-seconds", 60)
    with serving.server(*limits) as running:
        yield running


def problem(answer: httpx.Response, status: int) -> str:
    """Return the detail of a problem, which has the form of RFC 9457."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert set(told) == {"type", "title", "status", "detail", "code"}
    assert told["status"] == status
    assert "\n" not in told["detail"]
    detail: str = told["detail"]
    return detail


def test_it_is_well_and_ready(server: serving.Server) -> None:
    assert server.get("/healthz").json() == {"status": "ok"}
    assert server.get("/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/page/page.js"])
def test_monitors_may_ask_without_a_body(server: serving.Server, path: str) -> None:
    answer = httpx.head(f"{server.url}{path}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(server.get(path).content))


def test_models_are_told(server: serving.Server) -> None:
    models = server.get("/v1/models").json()
    others = [(file.stem, False) for file in model_files() if file.stem != serving.FAST_MODEL]
    told = [(model["name"], model["default"]) for model in models]
    assert told == [(serving.FAST_MODEL, True), *others]
    assert all(len(model["labels"]) >= 7 and model["licence"] for model in models)


def test_models_are_told_without_their_networks(tmp_path: Path) -> None:
    card = tiny_card(name="weightless")
    nothing = onnx.ModelProto()  # loaded, it would be refused
    write_graph(tmp_path / "weightless.onnx", nothing, card.to_json())
    with serving.server(
        "--model", serving.FAST_MODEL, "--model", tmp_path / "weightless.onnx"
    ) as two:
        told = {model["name"]: model for model in two.get("/v1/models").json()}
    assert told["weightless"]["labels"] == list(card.labels)


def test_a_recording_of_any_kind_is_recognized(server: serving.Server) -> None:
    told = server.recognized(DEMO_PATH.read_bytes())
    assert told["seconds"] == len(VOICE) / RATE_HZ
    assert {p["state"] for p in told["predictions"]} >= {"speech", "silence"}
    assert told["notes"] == []
    flac = io.BytesIO()
    soundfile.write(flac, VOICE, RATE_HZ, "PCM_16", format="FLAC")
    again = server.recognized(flac.getvalue(), hop_seconds=0.5, labels=["sad", "happy"])
    assert len(again["predictions"]) == len(told["predictions"]) / 2
    speech = [p for p in again["predictions"] if p["probabilities"]]
    assert all(list(p["probabilities"]) == ["sad", "happy"] for p in speech)


SILENCE = recording(np.zeros(16000), 16000)
REFUSED: dict[str, tuple[bytes, dict[str, str], int]] = {
    "nothing": (b"", {}, 400),
    "no samples": (recording(np.zeros((0, 1)), 16000), {}, 400),
    "noise": (b"this is no audio" * 100, {}, 415),
    "unknown model": (SILENCE, {"model": "nonesuch"}, 404),
    "path of a model": (SILENCE, {"model": "../../etc/passwd"}, 404),
    "hop": (SILENCE, {"hop_seconds": "0.013"}, 422),
    "hop that is no number": (SILENCE, {"hop_seconds": "often"}, 422),
    "hop not finite": (SILENCE, {"hop_seconds": "nan"}, 422),
    "window": (SILENCE, {"window_seconds": "inf"}, 422),
    "label": (SILENCE, {"labels": "bored"}, 422),
    "unknown option": (SILENCE, {"gain": "2"}, 422),
    "rate": (recording(np.zeros(16000), 4000), {}, 415),
    "too loud": (recording(np.full(16000, 1e9), 16000), {}, 422),
    "too many bytes": (b"\0" * 2_000_001, {}, 413),
    "too long": (recording(np.zeros(61 * 8000), 8000, "PCM_16"), {}, 413),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recognized_is_refused_in_words(server: serving.Server, name: str) -> None:
    content, params, status = REFUSED[name]
    assert problem(server.post(content, **params), status)
    document = server.get("/openapi.json").json()
    assert str(status) in document["paths"]["/v1/recognize"]["post"]["responses"]


def test_a_body_without_a_length_is_bounded_too(server: serving.Server) -> None:
    pieces = (b"\0" * 100_000 for _ in range(30))
    problem(server.post(pieces), 413)


@pytest.mark.parametrize(
    ("head", "status"),
    [("POST /v1/recognize", 413), ("POST /v1/models", 405), ("POST /nowhere", 404)],
)
def test_an_answer_reaches_who_still_sends(server: serving.Server, head: str, status: int) -> None:
    size, piece = 300_000_000, bytes(1 << 16)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        words = f"{head} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        client.sendall(f"{words}Content-Length: {size}\r\n\r\n".encode())
        # So much that the server has answered, and would have closed, before the last of it.
        for _ in range(20):
            client.sendall(piece)
            time.sleep(0.02)
        answer = client.recv(1 << 16).decode()
    assert answer.startswith(f"HTTP/1.1 {status}")
    assert answer.endswith("}")


def test_a_form_is_refused_with_the_right_way(server: serving.Server) -> None:
    answer = httpx.post(f"{server.url}/v1/recognize", files={"file": b"RIFF"})
    assert "--data-binary" in problem(answer, 415)


@pytest.mark.parametrize("coding", ["gzip", "br", "gzip, identity", "nonesuch"])
def test_a_packed_body_is_refused_in_words(server: serving.Server, coding: str) -> None:
    answer = httpx.post(
        f"{server.url}/v1/recognize",
        content=gzip.compress(SILENCE),
        headers={"Content-Encoding": coding},
    )
    assert coding in problem(answer, 415)
    assert answer.json()["code"] == "content_encoding"
    assert answer.headers["accept-encoding"] == "identity"
    plain = {"Content-Encoding": "identity"}
    assert httpx.post(answer.url, content=SILENCE, headers=plain).status_code == 200


def test_a_damaged_recording_gives_what_was_readable(server: serving.Server) -> None:
    data = DEMO_PATH.read_bytes()
    told = server.recognized(data[: len(data) // 2])
    assert 1 < told["seconds"] < len(VOICE) / RATE_HZ


def test_wrong_places_and_methods_are_problems(server: serving.Server) -> None:
    problem(server.get("/v1/nothing"), 404)
    problem(server.get("/page/nothing.js"), 404)
    problem(server.get("/page/../server/app.py"), 404)
    problem(server.get("/page/%2e%2e/app.py"), 404)
    problem(server.get("/v1/recognize"), 405)
    problem(server.get("/v1/stream"), 426)


def test_the_schema_of_messages_is_sound(server: serving.Server) -> None:
    told = server.get("/v1/schema").json()
    jsonschema.Draft202012Validator.check_schema(told)
    either = jsonschema.Draft202012Validator(told)
    either.validate({"type": "end"})
    with pytest.raises(jsonschema.ValidationError):
        either.validate({"type": "started"})


def test_an_answer_fits_its_document(server: serving.Server) -> None:
    document = server.get("/openapi.json").json()
    answer = server.recognized(recording(VOICE, RATE_HZ))
    schema = {"$ref": "#/components/schemas/Recognition", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer)


def test_each_answer_has_an_id_that_the_log_knows(server: serving.Server) -> None:
    answer = server.get("/v1/models?token=not-to-be-logged")
    request_id = answer.headers["x-request-id"]
    (record,) = server.log.wait_for("request", request_id=request_id)
    assert (record["path"], record["status"], record["method"]) == ("/v1/models", 200, "GET")
    assert "not-to-be-logged" not in server.log.text


def test_the_page_is_there_and_loads_nothing_from_elsewhere(server: serving.Server) -> None:
    answer = server.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "https://" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for name, value in {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
    }.items():
        assert answer.headers[name] == value
    assert "server" not in answer.headers


def test_files_of_the_page_are_kept_and_its_document_is_asked_for_again(
    server: serving.Server,
) -> None:
    page = server.get("/")
    assert page.headers["cache-control"] == "no-cache"
    named = re.findall(r'(?:src|href)="(page/[^"]+)"', page.text)
    assert len(named) == page.text.count('"page/') >= 4
    for name in named:
        answer = server.get(f"/{name}")
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        _, version, file = name.split("/")
        # Of another release, and without one: never kept under a name that promises content.
        for other in (f"/page/{'0' * len(version)}/{file}", f"/page/{file}"):
            plain = server.get(other)
            assert (plain.content, plain.headers["cache-control"]) == (answer.content, "no-cache")
    for path in ("/", f"/{named[0]}", "/page/client.js"):
        tag = server.get(path).headers["etag"]
        again = server.get(path, headers={"If-None-Match": f"W/{tag}"})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["cache-control"] == server.get(path).headers["cache-control"]
    problem(server.get(f"/page/{version}/nothing.js"), 404)
    problem(server.get(f"/page/{version}/{version}/page.js"), 404)
    assert server.get(f"/page/{version}/nothing.js").headers["cache-control"] == "no-store"
    assert server.get("/healthz").headers["cache-control"] == "no-store"


@pytest.mark.long
def test_whatever_the_document_allows_and_forbids_is_answered_as_it_says(
    server: serving.Server, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json",
            "--max-examples", "50", "--seed", "1", "--no-color", "--request-timeout", "60",
            # Bytes that are no audio are refused, as they should be.
            "--exclude-checks", "positive_data_acceptance",
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert server.get("/readyz").status_code == 200
    assert not [line for line in server.log.lines() if line["level"] == "error"]


def test_a_request_that_is_cancelled_leaves_the_decoder_to_its_thread(
    model: OnnxClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoders crash if they are closed while they read."""
    has_begun, may_read, heard = threading.Event(), threading.Event(), list[int]()
    read = AudioReader.read

    def slow(reader: AudioReader, frames: int) -> Any:
        has_begun.set()
        may_read.wait(10.0)
        heard.append(len(read(reader, frames)))
        return ()

    monkeypatch.setattr(AudioReader, "read", slow)
    streams = mock.MagicMock(limits=Limits())
    streams.models.get = mock.AsyncMock(return_value=model)
    streams.client.return_value = Client("", None, Limits())

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": recording(VOICE, RATE_HZ)}

    async def cancel() -> None:
        request = Request({"type": "http", "headers": [], "request_id": "1"}, receive)
        task = asyncio.create_task(Recordings(streams).recognize(request, SessionOptions()))
        await asyncio.to_thread(has_begun.wait, 10.0)
        task.cancel()
        with pytest.raises(ProblemError, match="the server stops"):
            await task
        may_read.set()

    asyncio.run(cancel())  # and wait for its threads
    assert len(heard) == 1
    assert 0 < heard[0] <= len(VOICE)
