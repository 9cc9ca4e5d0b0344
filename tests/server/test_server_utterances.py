"""Utterances of a stream and of a recording: those of the recognizer, where they are asked for."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from helpers import serving
from helpers.streams import offline
from ser_live import Utterance, UtteranceTracker
from ser_live.client import AsyncStream, ServerError, Stream, recognize_file
from ser_live.model.classifier import OnnxClassifier
from ser_live.testing import demo_voice

pytestmark = pytest.mark.integration

INTEGERS: NDArray[np.int16] = np.round(demo_voice()[: 7 * 16000] * 32767).astype(np.int16)


@pytest.fixture(scope="module")
def server(tiny_model: Path) -> Iterator[serving.Server]:
    with serving.server("--model", tiny_model) as running:
        yield running


@pytest.fixture(scope="module")
def wanted(tiny_model: Path) -> list[Utterance]:
    """What the recognizer gives, provisional ones too."""
    classifier = OnnxClassifier.load(tiny_model)
    tracker = UtteranceTracker(classifier.card.smoothing.uncertain_below, is_provisional=True)
    predictions = offline(classifier, INTEGERS)
    return [one for p in predictions for one in tracker.process(p)] + tracker.flush()


def finals(utterances: list[Utterance]) -> list[Utterance]:
    return [one for one in utterances if one.is_final]


async def _asynchronously(server: serving.Server, choice: Any) -> list[object]:
    async with AsyncStream(server.url, utterances=choice) as stream:
        await stream.send(INTEGERS)
        await stream.end()
        return [item async for item in stream]


def test_every_road_gives_what_the_recognizer_gives(
    server: serving.Server, wanted: list[Utterance], tmp_path: Path
) -> None:
    assert len(wanted) > len(finals(wanted)) == 2
    with Stream(server.url, utterances="provisional") as stream:
        stream.send(INTEGERS)
        stream.end()
        assert [item for item in stream if isinstance(item, Utterance)] == wanted
    items = asyncio.run(_asynchronously(server, True))
    assert [item for item in items if isinstance(item, Utterance)] == finals(wanted)
    path = tmp_path / "talk.wav"
    soundfile.write(path, INTEGERS, 16000)
    given = recognize_file(path, server.url, utterances=True)
    assert list(given.utterances) == finals(wanted)
    given = recognize_file(path, server.url, utterances="provisional")
    assert list(given.utterances) == wanted


def test_who_does_not_ask_sees_nothing_new(server: serving.Server, tmp_path: Path) -> None:
    items = asyncio.run(_asynchronously(server, False))
    assert not [item for item in items if isinstance(item, Utterance)]
    path = tmp_path / "talk.wav"
    soundfile.write(path, INTEGERS, 16000)
    assert "utterances" not in server.recognized(path.read_bytes())


def test_they_hold_the_probabilities_that_are_wanted(
    server: serving.Server, wanted: list[Utterance]
) -> None:
    with Stream(server.url, utterances=True, labels=["happy"]) as stream:
        stream.send(INTEGERS)
        stream.end()
        found = [item for item in stream if isinstance(item, Utterance)]
    assert [one.probabilities for one in found] == [
        one.probabilities and {"happy": one.probabilities["happy"]} for one in finals(wanted)
    ]
    assert [one.label for one in found] == [one.label for one in finals(wanted)]


def test_another_choice_is_refused(server: serving.Server) -> None:
    with (
        pytest.raises(ServerError, match="utterances") as error,
        Stream(server.url, utterances="often"),  # type: ignore[arg-type]
    ):
        pass
    assert error.value.code == "bad_message"
