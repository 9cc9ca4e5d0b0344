"""Protocols on miniature corpora: the speakers that train and those that are tested."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from helpers.tiny_corpora import EMODB_SPEAKERS
from ser_live import SerError
from ser_train.corpora import Clip
from ser_train.cross_validation.protocols import PROTOCOLS, Protocol, find_protocol
from ser_train.data.splits import Split

NEMO_LABELS = ("angry", "happy", "neutral", "sad")


def recordings(corpus: str, speakers: Sequence[str], labels: Sequence[str]) -> list[Clip]:
    """A clip of each label from each speaker; no file is read."""
    return [
        Clip(Path(f"{speaker}-{label}-{take}.wav"), label, f"{corpus}/{speaker}", corpus)
        for speaker in speakers
        for take, label in enumerate(labels)
    ]


@pytest.fixture(name="clips", scope="module")
def all_clips() -> tuple[Clip, ...]:
    actors = [f"{actor:02d}" for actor in range(1, 25)]
    pairs = [f"Ses0{session}{letter}" for session in range(1, 6) for letter in "FM"]
    return (
        *recordings("emodb", EMODB_SPEAKERS, (*NEMO_LABELS, "boredom")),
        *recordings("iemocap", pairs, (*NEMO_LABELS, "happy", "frustrated")),
        *recordings("nemo", ("EB0", "KD0", "WR0"), NEMO_LABELS),
        *recordings("ravdess", actors, (*NEMO_LABELS, "calm")),
    )


def splits(protocol: Protocol, clips: tuple[Clip, ...]) -> list[Split]:
    return [protocol.split(clips, fold, 0) for fold in range(len(protocol.fold_names(clips)))]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_clip_is_tested_once_and_by_whom_it_does_not_know(
    name: str, clips: tuple[Clip, ...]
) -> None:
    protocol = find_protocol(name)
    chosen = protocol.choose(clips)
    everything = {clip.corpus for clip in clips}
    assert {clip.corpus for clip in chosen} == (set(protocol.corpora) or everything)
    assert not protocol.labels or {clip.label for clip in chosen} == set(protocol.labels)
    tested: list[int] = []
    shared = set()
    for split in splits(protocol, chosen):
        trains, watched, tests = map(set, split.speakers(chosen))
        shared |= trains & tests | watched & tests | trains & watched
        assert not {*split.training} & {*split.test, *split.validation}
        tested += split.test
    wanted = [i for i, c in enumerate(chosen) if not protocol.tested or c.label in protocol.tested]
    assert sorted(tested) == wanted
    assert bool(shared) != protocol.speaker_independent
    assert protocol.speaker_independent != protocol.words.startswith("speaker-dependent")


@pytest.mark.parametrize(
    ("name", "folds"),
    [
        ("ravdess-luna5", ("fold 0", "fold 1", "fold 2", "fold 3", "fold 4")),
        ("emodb-loso", tuple(f"emodb/{speaker}" for speaker in EMODB_SPEAKERS)),
        ("nemo-loso", ("nemo/EB0", "nemo/KD0", "nemo/WR0")),
        ("iemocap-loso", tuple(f"iemocap/Ses0{session}" for session in range(1, 6))),
        ("cross-corpus", ("emodb", "nemo", "ravdess")),
    ],
)
def test_folds_have_the_names_of_whom_they_test(
    name: str, folds: tuple[str, ...], clips: tuple[Clip, ...]
) -> None:
    protocol = find_protocol(name)
    chosen = protocol.choose(clips)
    assert protocol.fold_names(chosen) == folds
    for fold, split in zip(folds, splits(protocol, chosen), strict=True):
        if not fold.startswith("fold"):
            assert all(chosen[index].speaker.startswith(fold) for index in split.test)


def test_any_recordings_can_be_folded_by_speakers_or_by_chance() -> None:
    labels = ("urgent", "happy")
    clips = recordings("mine", ("Ann", "Bob", "Cy", "Di", "Ed", "Flo", "Gus"), labels)
    assert find_protocol("loso").fold_names(clips)[:2] == ("mine/Ann", "mine/Bob")
    groups = find_protocol("groups5")
    sizes = [len({clips[i].speaker for i in split.test}) for split in splits(groups, tuple(clips))]
    assert sorted(sizes) == [1, 1, 1, 2, 2]
    assert groups.split(clips, 1, 0) == groups.split(clips, 1, 7)
    few = recordings("mine", ("Ann", "Bob", "Cy"), labels)
    with pytest.raises(SerError, match="groups5 needs 5 speakers or more, got mine/Ann, mine/Bob"):
        groups.choose(few)
    find_protocol("loso").choose(few)
    with pytest.raises(SerError, match="loso needs 2 speakers or more, got mine/Ann"):
        find_protocol("loso").choose(few[:2])


def test_calm_trains_as_neutral_and_is_not_tested(clips: tuple[Clip, ...]) -> None:
    protocol = find_protocol("cross-corpus")
    chosen = protocol.choose(clips)
    by_name = dict(zip(protocol.fold_names(chosen), splits(protocol, chosen), strict=True))
    calm = {index for index, clip in enumerate(chosen) if clip.label == "calm"}
    assert len(calm) == 24
    assert not calm & {*by_name["ravdess"].test}
    assert calm <= {*by_name["emodb"].training}
    assert protocol.rename("calm") == "neutral"
    assert protocol.rename("sad") == "sad"


def test_random_folds_depend_on_the_seed_alone(clips: tuple[Clip, ...]) -> None:
    protocol = find_protocol("emodb-random5")
    chosen = protocol.choose(clips)
    assert protocol.split(chosen, 2, 7) == protocol.split(chosen, 2, 7)
    assert protocol.split(chosen, 2, 7) != protocol.split(chosen, 2, 8)


def test_what_does_not_fit_a_protocol_is_said(clips: tuple[Clip, ...]) -> None:
    some = [clip for clip in clips if clip.speaker != "ravdess/02"]
    with pytest.raises(SerError, match="needs the speakers ravdess/02"):
        find_protocol("ravdess-luna5").choose(some)
    with pytest.raises(SerError, match=r"emodb-loso needs emodb, .* there is ravdess"):
        find_protocol("emodb-loso").choose([c for c in clips if c.corpus == "ravdess"])
    with pytest.raises(SerError, match="the protocols are ravdess-luna5"):
        find_protocol("luna5")
    only_sad = [c for c in clips if c.corpus == "nemo" and (c.label == "sad" or "EB0" in c.speaker)]
    with pytest.raises(SerError, match="fold 0 tests the label angry, which no training clip has"):
        find_protocol("nemo-loso").split(only_sad, 0, 0)
