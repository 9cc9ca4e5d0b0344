"""The demo voice runs through the very engine that a microphone uses."""

import json
from pathlib import Path

import pytest

from in_process import call
from ser_live.sources import DEMO_NOTICE, DEMO_PATH

Timeline = list[dict[str, object]]
Lines = list[dict[str, object]]


@pytest.fixture(scope="module")
def timeline() -> Timeline:
    record: dict[str, Timeline] = json.loads(DEMO_PATH.with_suffix(".json").read_text())
    return record["timeline"]


@pytest.fixture(scope="module")
def lines(tiny_model: Path) -> Lines:
    done = call("--demo", "--pace", "fast", "--json", "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    assert DEMO_NOTICE in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def spans(timeline: Timeline, kind: str) -> list[tuple[float, float]]:
    return [
        (float(str(entry["start_seconds"])), float(str(entry["end_seconds"])))
        for entry in timeline
        if entry["kind"] == kind
    ]


def test_the_voice_is_small_and_short(timeline: Timeline) -> None:
    assert DEMO_PATH.stat().st_size < 120_000
    assert 10.0 <= float(str(timeline[-1]["end_seconds"])) <= 20.0
    assert len(spans(timeline, "utterance")) >= 3
    for start, end in spans(timeline, "pause"):
        assert end - start == pytest.approx(2.0, abs=0.001)


@pytest.mark.parametrize(
    ("kind", "settling_seconds", "states"),
    [("pause", 0.8, {"silence"}), ("utterance", 1.3, {"speech", "uncertain"})],
)
def test_pauses_are_silence_and_utterances_are_speech(
    lines: Lines, timeline: Timeline, kind: str, settling_seconds: float, states: set[str]
) -> None:
    assert len(lines) >= 30
    for start, end in spans(timeline, kind):
        ends = [(float(str(line["end_seconds"])), line["state"]) for line in lines]
        told = [state for at, state in ends if start + settling_seconds <= at <= end]
        assert len(told) >= 4
        assert set(told) <= states
