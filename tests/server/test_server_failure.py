"""A fault of the server's own is told as such, and stays with those whom it concerns."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from onnx import helper, numpy_helper
from websockets.exceptions import ConnectionClosed

from helpers import serving
from helpers.server_talk import (
    END,
    RATE_HZ,
    VOICE,
    blocks,
    connect,
    listen,
    offline,
    start,
    talk,
    timeless,
)
from ser_live.sources import DEMO_PATH
from ser_live.testing import tiny_card
from ser_live.testing.models import tiny_graph, with_golden, write_graph

pytestmark = pytest.mark.integration

SHORT = VOICE[: 6 * RATE_HZ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    """One that also serves a model that passes its self-test and fails on every other length."""
    card = tiny_card()
    graph = tiny_graph(card)
    graph.graph.node.insert(0, helper.make_node("Reshape", ["spectrum", "only"], ["fixed"]))
    graph.graph.node[1].input[0] = "fixed"
    only = np.array([1, 47, 257], np.int64)
    graph.graph.initializer.append(numpy_helper.from_array(only, "only"))
    path: Path = tmp_path_factory.mktemp("model") / "fragile.onnx"
    write_graph(path, graph, with_golden(card, graph).to_json())
    with serving.server("--model", serving.FAST_MODEL, "--model", path) as running:
        yield running


def test_a_stream_is_told_and_closed(server: serving.Server) -> None:
    said = talk(server, [start(model="fragile"), *blocks(SHORT, 5000), END])
    assert said.close_code == 1011
    (error,) = said.of("error")
    assert (error["code"], error["fatal"]) == ("internal", True)
    assert said.messages[0]["stream_id"] in error["detail"]
    assert "fragile.onnx" not in error["detail"]
    assert said.ended["reason"] == "internal"
    logged = [line for line in server.log.lines() if line["level"] == "error"]
    assert "the network fails" in logged[-1]["why"]
    assert logged[-1]["stream_id"] == said.messages[0]["stream_id"]


def test_a_recording_too(server: serving.Server) -> None:
    answer = server.post(DEMO_PATH.read_bytes(), model="fragile")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] in answer.json()["detail"]
    assert "fragile.onnx" not in answer.text


def test_an_engine_that_has_ended_is_neither_healthy_nor_ready() -> None:
    with serving.server() as server:
        server.running.app.streams.engine.close()
        for path in ("/healthz", "/readyz"):
            answer = server.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "internal")


def test_a_recording_in_lines_ends_with_it(server: serving.Server) -> None:
    url, headers = f"{server.url}/v1/recognize?model=fragile", {"Accept": "Application/X-NDJSON"}
    answer = httpx.post(url, content=DEMO_PATH.read_bytes(), headers=headers, timeout=60)
    last = json.loads(answer.text.splitlines()[-1])
    assert (answer.status_code, last["type"], last["code"]) == (200, "error", "internal")
    assert answer.headers["x-request-id"] in last["detail"]
    assert "fragile.onnx" not in answer.text


def test_other_streams_do_not_notice(server: serving.Server) -> None:
    """Their runs of the networks are shared, their faults are not."""
    with connect(server) as good, connect(server) as other:
        good.send(start())
        other.send(start(model="fragile"))
        for block in blocks(SHORT, 2000):
            good.send(block)
            with contextlib.suppress(ConnectionClosed):
                other.send(block)
        good.send(END)
        assert listen(other).close_code == 1011
        said = listen(good)
    assert said.predictions == offline(SHORT)
    assert server.get("/readyz").status_code == 200
    posted = server.recognized(DEMO_PATH.read_bytes())
    assert [timeless(p) for p in posted["predictions"]] == offline(VOICE)
