"""Metrics: what runs, how long answers take, and why requests and streams are refused."""

import platform
import re
import socket
from collections.abc import Iterator

import httpx
import onnxruntime
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.typing import Origin, Subprotocol

from helpers import serving
from helpers.server_talk import connect, refusal, start
from ser_live import __version__

pytestmark = pytest.mark.integration

TOKEN = "correct-horse-battery"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def server() -> Iterator[serving.ServerThread]:
    options = ("--token", TOKEN, "--max-streams", 2, "--max-streams-per-address", 1)
    with serving.server(*options, "--max-uploads", 1) as running:
        yield running


def figures(server: serving.Server) -> dict[str, float]:
    """Return every figure by its name and labels, as a parser of others reads them."""
    text = server.get("/metrics", headers=RIGHT).text
    return {
        f"{sample.name}{sorted(sample.labels.items()) or ''}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def refused(server: serving.Server, kind: str, reason: str) -> float:
    return figures(server).get(f"ser_{kind}_refused_total[('reason', '{reason}')]", 0.0)


def test_what_runs_and_its_limits_are_told(server: serving.ServerThread) -> None:
    text = server.get("/metrics", headers=RIGHT).text
    (build,) = [
        sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "ser_build_info"
    ]
    assert build.value == 1
    assert build.labels == {
        "version": __version__,
        "model": serving.FAST_MODEL,
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
    }
    told = figures(server)
    assert (told["ser_streams_limit"], told["ser_uploads_limit"]) == (2, 1)


def test_names_keep_to_the_conventions(server: serving.ServerThread) -> None:
    """As `promtool check metrics` has them, and the guide of Prometheus."""
    text = server.get("/metrics", headers=RIGHT).text
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)", text, re.MULTILINE):
        assert re.search(rf"^# HELP {name} \S", text, re.MULTILINE), name
        assert re.fullmatch("[a-z][a-z0-9_]*", name), name
        words = name.split("_")
        assert (words[-1] == "total") == (kind == "counter"), name
        assert not {"count", "sum", "bucket"} & set(words[-1:]), name
        assert not {"ms", "milliseconds", "minutes", "kb", "mb", "percent", kind} & set(words), name


def test_answers_are_timed_by_route(server: serving.ServerThread) -> None:
    name = "ser_http_request_seconds_count[('route', '%s')]"
    before = figures(server)
    for path in ("/v1/schema", "/page/page.js", "/nonesuch"):
        server.get(path, headers=RIGHT)
    after = figures(server)
    for route in ("/v1/schema", "/page", "other"):
        assert after[name % route] == before.get(name % route, 0) + 1
    assert after["ser_http_request_seconds_sum[('route', '/v1/schema')]"] > 0


HEADERS: dict[str, dict[str, str]] = {
    "host": {"Host": "elsewhere.example"},
    "origin": {"Origin": "https://elsewhere.example"},
    "token": {"Authorization": "Bearer guess"},
}


@pytest.mark.parametrize("reason", HEADERS)
def test_who_is_refused_is_counted_and_logged_by_the_word_of_the_problem(
    server: serving.ServerThread, reason: str
) -> None:
    before = refused(server, "http", reason)
    answer = server.get("/v1/schema", headers=RIGHT | HEADERS[reason])
    assert answer.json()["code"] == reason
    assert refused(server, "http", reason) == before + 1
    request_id = answer.headers["x-request-id"]
    (line,) = server.log.wait_for("request", request_id=request_id)
    assert (line["reason"], line["status"]) == (reason, answer.status_code)


@pytest.mark.parametrize("reason", HEADERS)
def test_streams_too(server: serving.ServerThread, reason: str) -> None:
    before = refused(server, "streams", reason)
    headers = dict(HEADERS[reason])
    origin = headers.pop("Origin", None)
    if reason == "host":
        # The library writes a `Host` of its own.
        with socket.create_connection((server.host, server.port)) as raw:
            key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            key += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            raw.sendall(f"GET /v1/stream HTTP/1.1\r\nHost: elsewhere\r\n{key}\r\n".encode())
            assert b" 403 " in raw.recv(100)
    else:
        given = origin and Origin(origin)
        assert refusal(server, additional_headers=headers, origin=given) in (401, 403)
    assert refused(server, "streams", reason) == before + 1
    assert server.log.wait_for("request", path="/v1/stream", reason=reason)


def test_what_there_is_no_room_for(
    server: serving.ServerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = [Subprotocol("ser.v1"), Subprotocol(f"bearer.{TOKEN}")]
    with connect(server, subprotocols=offered) as stream:
        stream.send(start())
        stream.recv()
        assert refusal(server, subprotocols=offered) == 503
    assert refused(server, "streams", "address") == 1
    overload = server.running.app.streams.overload
    monkeypatch.setattr(overload, "process", lambda _: "")  # else it sees that there is room
    overload.is_refusing = True
    assert refusal(server, subprotocols=offered) == 503
    answer = httpx.post(f"{server.url}/v1/recognize", headers=RIGHT, content=b"x")
    overload.is_refusing = False
    assert answer.json()["code"] == "overloaded"
    assert refused(server, "streams", "overloaded") == refused(server, "http", "overloaded") == 1


def test_recordings_that_are_too_many(server: serving.ServerThread) -> None:
    head = f"POST /v1/recognize HTTP/1.1\r\nHost: {server.host}\r\nContent-Length: 9\r\n"
    with socket.create_connection((server.host, server.port)) as slow:
        slow.sendall(f"{head}Authorization: Bearer {TOKEN}\r\n\r\n".encode())
        while figures(server)["ser_uploads_open"] != 1:
            pass
        answer = httpx.post(f"{server.url}/v1/recognize", headers=RIGHT, content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (503, "uploads")
    assert refused(server, "http", "uploads") == 1
    while figures(server)["ser_uploads_open"] != 0:
        pass


def test_a_failure_is_counted_and_keeps_its_headers(
    server: serving.ServerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("of no known kind")

    monkeypatch.setattr(server.running.app.streams.metrics, "exposition", fail)
    answer = server.get("/metrics", headers=RIGHT)
    monkeypatch.undo()
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["x-request-id"] in answer.json()["detail"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    labels = [("method", "GET"), ("route", "/metrics"), ("status", "500")]
    assert figures(server)[f"ser_http_requests_total{labels}"] == 1
