"""Protocols on miniature corpora: the speakers that train and those that are tested."""

from pathlib import Path

import pytest

import tiny_corpora
from ser_live import SerError
from ser_train.corpora import Clip
from ser_train.cross_validation.protocols import (
    FOUR_LABELS,
    LUNA_TEST_ACTORS,
    LUNA_VALIDATION_ACTORS,
    PROTOCOLS,
    Protocol,
    find_protocol,
)
from ser_train.data.recordings import Recordings
from ser_train.data.splits import Split

EMODB_SPEAKERS = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
EMODB_LETTERS = {"W": "angry", "F": "happy", "N": "neutral", "T": "sad", "L": "boredom"}
NEMO_LABELS = {"anger": "angry", "happiness": "happy", "neutral": "neutral", "sadness": "sad"}
IEMOCAP_CODES = ("ang", "hap", "exc", "neu", "sad", "fru")


def write_emodb(folder: Path) -> Path:
    for number, speaker in enumerate(EMODB_SPEAKERS):
        for letter, label in EMODB_LETTERS.items():
            name = f"{speaker}a01{letter}a.wav"
            tiny_corpora.write_sound(folder / "wav" / name, label, 1000 + number)
    return folder


def write_nemo(folder: Path) -> Path:
    rows = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"]
    for number, speaker in enumerate(("KD0", "EB0", "WR0")):
        for emotion, label in NEMO_LABELS.items():
            name = f"{speaker}_{emotion}_1.wav"
            tiny_corpora.write_sound(folder / "samples" / name, label, 2000 + number)
            rows.append(f"{name}\t{emotion}\tTak.\ttak\t        {speaker}\tmale\t23")
    (folder / "data.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def write_iemocap(folder: Path) -> Path:
    for session in range(1, 6):
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        dialogue = f"Ses0{session}F_impro01"
        place = folder / f"Session{session}"
        for letter in "FM":
            for number, code in enumerate(IEMOCAP_CODES):
                turn = f"{dialogue}_{letter}{number:03d}"
                lines.append(f"[6.2901 - 8.2357]\t{turn}\t{code}\t[2.5000, 2.5000, 2.5000]")
                sound = place / "sentences" / "wav" / dialogue / f"{turn}.wav"
                tiny_corpora.write_sound(sound, code, 10 * session + number)
        table = place / "dialog" / "EmoEvaluation" / f"{dialogue}.txt"
        table.parent.mkdir(parents=True)
        table.write_text("\n".join(lines) + "\n", encoding="latin-1")
    return folder


def write_all(folder: Path) -> Path:
    labels = ("neutral", "calm", "happy", "sad", "angry")
    tiny_corpora.write_ravdess(folder / "ravdess", range(1, 25), labels)
    write_emodb(folder / "emodb")
    write_nemo(folder / "nemo")
    write_iemocap(folder / "iemocap")
    return folder


@pytest.fixture(name="clips", scope="module")
def all_clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clip, ...]:
    return Recordings((write_all(tmp_path_factory.mktemp("corpora")),)).find()


def splits(protocol: Protocol, clips: tuple[Clip, ...]) -> list[Split]:
    return [protocol.split(clips, fold, 0) for fold in range(len(protocol.fold_names(clips)))]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_clip_is_tested_once_and_by_whom_it_does_not_know(
    name: str, clips: tuple[Clip, ...]
) -> None:
    protocol = find_protocol(name)
    chosen = protocol.choose(clips)
    assert {clip.corpus for clip in chosen} == set(protocol.corpora)
    tested: list[int] = []
    shared = set()
    for split in splits(protocol, chosen):
        roles = [
            {chosen[index].speaker for index in role}
            for role in (split.training, split.validation, split.test)
        ]
        shared |= roles[0] & roles[2] | roles[1] & roles[2] | roles[0] & roles[1]
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


def test_both_speakers_of_a_session_are_left_out(clips: tuple[Clip, ...]) -> None:
    protocol = find_protocol("iemocap-loso")
    chosen = protocol.choose(clips)
    first = protocol.split(chosen, 0, 0)
    assert {chosen[i].speaker for i in first.test} == {"iemocap/Ses01F", "iemocap/Ses01M"}
    assert {clip.label for clip in chosen} == set(FOUR_LABELS)
    assert len(chosen) == 5 * 2 * 5  # frustrated is left out, excited is happy


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


def test_the_published_folds_are_disjoint_and_complete() -> None:
    assert sorted(sum(LUNA_TEST_ACTORS, ())) == list(range(1, 25))
    for tested, held in zip(LUNA_TEST_ACTORS, LUNA_VALIDATION_ACTORS, strict=True):
        assert not set(tested) & set(held)


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
        find_protocol("loso")
    only_sad = [c for c in clips if c.corpus == "nemo" and (c.label == "sad" or "EB0" in c.speaker)]
    with pytest.raises(SerError, match="fold 0 tests the label angry, which no training clip has"):
        find_protocol("nemo-loso").split(only_sad, 0, 0)
