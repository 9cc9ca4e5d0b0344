"""The prior of a stream and of a recording: what the recognizer gives with it, or words."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from helpers import serving
from helpers.server_talk import start, talk
from helpers.streams import offline
from ser_live import Prediction
from ser_live.client import AsyncStream, ServerError, Stream, recognize_file
from ser_live.model.classifier import OnnxClassifier
from ser_live.testing import demo_voice

pytestmark = pytest.mark.integration

INTEGERS = np.round(demo_voice()[: 4 * 16000] * 32767).astype(np.int16)
CHOICES: list[Any] = [None, "everyday", "even", {"happy": 0.1, "ordinary": 3}, {}]
NAMES = ["everyday", "everyday", "even", "own", "even"]


@pytest.fixture(scope="module")
def server(everyday_model: Path) -> Iterator[serving.Server]:
    with serving.server("--model", everyday_model) as running:
        yield running


async def _asynchronously(server: serving.Server, prior: Any) -> list[Prediction]:
    async with AsyncStream(server.url, prior=prior) as stream:
        await stream.send(INTEGERS)
        await stream.end()
        return [item async for item in stream if isinstance(item, Prediction)]


@pytest.mark.parametrize(("prior", "name"), [*zip(CHOICES, NAMES, strict=True)], ids=str)
def test_every_road_gives_what_the_recognizer_gives(
    server: serving.Server, everyday: OnnxClassifier, tmp_path: Path, prior: Any, name: str
) -> None:
    wanted = offline(everyday, INTEGERS, prior=prior)
    with Stream(server.url, prior=prior) as stream:
        stream.send(INTEGERS)
        stream.end()
        assert stream.started.prior == name
        assert [item for item in stream if isinstance(item, Prediction)] == wanted
    assert asyncio.run(_asynchronously(server, prior)) == wanted
    path = tmp_path / "talk.wav"
    soundfile.write(path, INTEGERS, 16000)
    assert list(recognize_file(path, server.url, prior=prior).predictions) == wanted


def test_what_is_no_prior_is_refused_in_words(server: serving.Server, tmp_path: Path) -> None:
    for prior, code, words in (
        ("often", "bad_message", "prior"),
        (8, "bad_message", "prior"),
        ({"sad": "much"}, "bad_message", "prior"),
        ({"bored": 2.0}, "bad_option", "prior names 'bored', wanted labels of"),
        ({"sad": 0}, "bad_option", "prior of 'sad' is 0.0, wanted 0.001 to 1000"),
        ({"ordinary": -1}, "bad_option", "prior of 'ordinary' is -1.0, wanted 0 to 1000"),
    ):
        (error,) = talk(server, [start(prior=prior)]).messages
        assert error["code"] == code
        assert words in error["detail"]
        answer = server.post(b"", prior=prior if isinstance(prior, str) else json.dumps(prior))
        assert answer.status_code in (400, 422)
    path = tmp_path / "talk.wav"
    soundfile.write(path, INTEGERS, 16000)
    for odds in ({"bored": 2.0}, {"sad": float("nan")}):
        with pytest.raises(ServerError, match="prior") as caught:
            recognize_file(path, server.url, prior=odds)
        assert caught.value.code == "bad_option"
    answer = server.post(path.read_bytes(), prior='{"sad": "2"}')
    assert answer.status_code == 422
    assert "should be a valid number" in answer.json()["detail"]
    for text in ("often", "{", '{"sad": [' + "[" * 3000, "[1]", "8"):
        answer = server.post(path.read_bytes(), prior=text)
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("prior is ")
        assert 'wanted everyday, even, or odds like {"neutral": 3}' in answer.json()["detail"]


def test_the_list_of_models_tells_their_priors(server: serving.Server) -> None:
    told = {model["name"]: model["prior"] for model in server.get("/v1/models").json()}
    assert told["everyday"] == "everyday"
    assert told["issa-ravdess"] == "even"


def test_the_documents_tell_of_it(server: serving.Server) -> None:
    told = server.get("/v1/schema").json()["$defs"]["Start"]["properties"]["prior"]
    assert {"enum": ["everyday", "even"], "type": "string"} in told["anyOf"]
    parameters = server.get("/openapi.json").json()["paths"]["/v1/recognize"]["post"]["parameters"]
    (prior,) = [one for one in parameters if one["name"] == "prior"]
    assert "in a query as JSON" in prior["description"]
