"""Recordings that trained a model are known again, whatever the speaker is called."""

import json
import os
from pathlib import Path

import pytest

from ser_live.model.catalog import model_folder
from ser_train.audio import read_audio
from ser_train.corpora import Clip, find_clips
from ser_train.evaluation.clips import leakage
from ser_train.files import content_hash
from ser_train.models.training_record import (
    TrainingRecord,
    heard_before,
    join_marks,
    marks_of,
)

CLIPS = [Clip(Path(f"{name}.wav"), "sad", f"x/{name}", "x") for name in "abc"]
CONTENTS = [digit * 64 for digit in "123"]
RECORD = TrainingRecord(("x/a",), ("x/b",), ("x/c",), 0, marks_of(CLIPS[:2], CONTENTS[:2]))


@pytest.mark.parametrize(
    ("digit", "leak", "before"),
    [
        ("1", "x/a (here mine/me) were in training", "x/a (here mine/me) were in the first model"),
        ("2", "x/b (here mine/me) set the temperature", ""),
        ("3", "", ""),
        ("4", "", ""),
    ],
)
def test_a_recording_is_known_under_another_name(digit: str, leak: str, before: str) -> None:
    me, content = [Clip(Path("me.wav"), "sad", "mine/me", "mine")], [digit * 64]
    assert leakage(RECORD, me) == heard_before(RECORD, me) == ""
    for wanted, got in (
        (leak, leakage(RECORD, me, content)),
        (before, heard_before(RECORD, me, content)),
    ):
        assert got.startswith(wanted)
        assert bool(got) == bool(wanted)


def test_a_speaker_under_the_same_name_is_named_once() -> None:
    assert leakage(RECORD, CLIPS, CONTENTS).startswith("x/a were in training")


def test_the_recordings_of_several_trainings_count_once() -> None:
    again = marks_of([CLIPS[0], CLIPS[0]], [CONTENTS[0], CONTENTS[2]])
    assert join_marks(again, RECORD.recordings, again) == {
        "x/a": "1" * 12 + "3" * 12,
        "x/b": "2" * 12,
    }


@pytest.mark.corpora
@pytest.mark.skipif("SER_CORPORA" not in os.environ, reason="SER_CORPORA is not set")
@pytest.mark.parametrize("corpus", ["ravdess", "emodb", "nemo"])
def test_the_recordings_of_the_shipped_models_are_known(corpus: str) -> None:
    marks = json.loads((model_folder() / "recordings.json").read_text("utf-8"))
    clips = find_clips(Path(os.environ["SER_CORPORA"]) / corpus)
    chosen = clips[:: len(clips) // 8]
    assert len({clip.speaker for clip in chosen}) > 3
    for clip in chosen:
        assert content_hash(read_audio(clip.path))[:12] in marks[clip.speaker]
