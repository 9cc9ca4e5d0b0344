"""Record of the speakers and recordings of a training, and of those that come again."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from ser_live.model.catalog import model_folder
from ser_train.corpora import Clip

RECORD_KEY = "ser.training"
"""Of an ``.onnx`` file's metadata."""
_MARK_DIGITS = 12
"""Of the hash of a recording's samples; a million recordings share one with odds of 1 to 560."""


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """Speakers of each role in the training."""

    training_speakers: tuple[str, ...]
    validation_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]
    seed: int
    recordings: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Marks of the recordings that trained or were watched, by speaker, one behind the other."""


def record_of_roles(
    training: Iterable[str],
    validation: Iterable[str],
    test: Iterable[str],
    seed: int,
    marks: Mapping[str, str],
) -> TrainingRecord:
    """Give each speaker of several trainings one role; one that trained once has trained."""
    trained, watched = {*training}, {*validation}
    roles = trained, watched - trained, {*test} - watched - trained
    trains, watches, tests = (tuple(sorted(role)) for role in roles)
    return TrainingRecord(trains, watches, tests, seed, marks)


def marks_of(clips: Iterable[Clip], contents: Iterable[str]) -> dict[str, str]:
    """Return the marks of recordings for a `TrainingRecord`, from the hashes of their samples."""
    pairs = zip(clips, contents, strict=True)
    return join_marks(*({clip.speaker: content[:_MARK_DIGITS]} for clip, content in pairs))


def join_marks(*parts: Mapping[str, str]) -> dict[str, str]:
    """Join the recordings of several trainings, each of them once."""
    joined: dict[str, set[str]] = {}
    for part in parts:
        for speaker, marks in part.items():
            joined.setdefault(speaker, set()).update(_parted(marks))
    return {speaker: "".join(sorted(joined[speaker])) for speaker in sorted(joined)}


def names_of(
    record: TrainingRecord, clips: Sequence[Clip], contents: Sequence[str] = ()
) -> dict[str, str]:
    """Return each name under which a model may know recordings, and how a message gives it.

    Parameters
    ----------
    record : TrainingRecord
        Of the model; the published recordings of the shipped models are always known.
    clips : sequence of Clip
    contents : sequence of str
        Hashes of their samples (`ser_train.files.content_hash`); none: names alone decide.
    """
    names = {clip.speaker: clip.speaker for clip in clips}
    if not contents:
        return names
    speakers = _speakers_by_mark(record)
    for clip, content in zip(clips, contents, strict=True):
        for speaker in speakers.get(content[:_MARK_DIGITS], ()):
            names.setdefault(speaker, f"{speaker} (here {clip.speaker})")
    return names


def heard_before(
    record: TrainingRecord | None, clips: Sequence[Clip], contents: Sequence[str] = ()
) -> str:
    """Return a line on the speakers that the first model was trained on; empty if none.

    Parameters are those of `names_of`.
    """
    if record is None:
        return "the first model does not say who was in its training"
    names = names_of(record, clips, contents)
    known = [names[speaker] for speaker in sorted(names.keys() & {*record.training_speakers})]
    return f"{', '.join(known)} were in the first model's training" if known else ""


def _parted(marks: str) -> list[str]:
    return [marks[at : at + _MARK_DIGITS] for at in range(0, len(marks), _MARK_DIGITS)]


@lru_cache(2)
def _speakers_by_mark(record: TrainingRecord) -> dict[str, list[str]]:
    """Return who speaks in each recording of a model, and in all that shipped models know."""
    file = model_folder() / "recordings.json"
    published = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    speakers: dict[str, list[str]] = {}
    for speaker, marks in (*published.items(), *record.recordings.items()):
        for mark in _parted(marks):
            speakers.setdefault(mark, []).append(speaker)
    return speakers
