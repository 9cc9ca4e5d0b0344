"""Notes on incomplete corpora, their licences, and the real ones where they are at hand."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from helpers import tiny_corpora
from ser_train.commands.arguments import recordings_of
from ser_train.commands.cli import make_parser
from ser_train.corpora import KNOWN, LICENCES, Clip, find_clips, shortfalls
from ser_train.data.recordings import Recordings
from ser_train.reports.model_card import strictest_licence


def test_of_a_complete_corpus_nothing_is_said() -> None:
    clips = [Clip(Path(str(n)), "sad", f"savee/{n % 4}", "savee") for n in range(480)]
    assert shortfalls(clips) == ()
    assert shortfalls(clips[1:])[0].startswith("savee: 479 of 480 clips")
    assert shortfalls([Clip(Path("a"), "sad", "mine/A", "mine")]) == ()


@pytest.mark.parametrize("lost", ["", "dialog/EmoEvaluation", "sentences/wav"])
def test_a_session_that_is_missing_or_was_half_unpacked_is_named(tmp_path: Path, lost: str) -> None:
    tiny_corpora.write_iemocap(tmp_path, [1, 2, 3, 4, 5])
    shutil.rmtree(tmp_path / "Session2" / lost)
    (line,) = shortfalls(find_clips(tmp_path))
    assert line == "iemocap: 28 of 5531 clips; missing speakers: Ses02F, Ses02M"


def test_the_note_comes_before_labels_are_left_out_and_is_short(tmp_path: Path) -> None:
    tiny_corpora.write_named("crema_d", tmp_path)
    notes: list[str] = []
    Recordings((tmp_path,), dropped=("happy",), note=notes.append).find()
    assert notes == [
        "crema_d: 4 of 7442 clips; missing speakers: 1003, 1004, 1005, 1006, 1007, 1008 and 81 more"
    ]


def test_one_option_takes_folders_and_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A folder, though named like a table.
    tiny_corpora.write_named("emodb", tmp_path / "german.csv")
    tiny_corpora.write_sound(tmp_path / "mine" / "a.wav", "happy", 1)
    table = tmp_path / "mine" / "Table.CSV"
    table.write_text("path,label,speaker\na.wav,happy,Ann\n")
    paths = [str(tmp_path / "german.csv"), str(table)]
    for options in (
        ["--corpus", paths[0], "--corpus", paths[1]],
        ["--train-dir", paths[0], "--manifest", paths[1]],
        ["--corpus", paths[0], "--manifest", paths[1], "--train-dir", paths[0]],
    ):
        clips = recordings_of(make_parser().parse_args(["evaluate", "m.keras", *options])).find()
        assert [clip.speaker for clip in clips] == [
            *("Table/Ann", "emodb/03", "emodb/03", "emodb/08")
        ]
        assert capsys.readouterr().err.startswith("emodb: 3 of 535 clips; missing speakers: 09,")


def test_all_labels_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_corpora.write_iemocap(tmp_path)
    words = ["evaluate", "m.keras", "--corpus", str(tmp_path)]
    for more, told, expected in (
        ([], "7 of 5531 clips", {"angry", "happy", "neutral", "sad"}),
        (
            ["--all-labels", "--drop", "disgust", "--drop", "fearful", "--drop", "surprised"],
            "11 of 7529 clips",
            {"angry", "excited", "frustrated", "happy", "neutral", "sad"},
        ),
    ):
        clips = recordings_of(make_parser().parse_args([*words, *more])).find()
        assert {clip.label for clip in clips} == expected
        assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("licences", "strictest"),
    [
        *(([licence], licence) for licence in LICENCES.values()),
        (["CC-BY-4.0", "CC-BY-NC-SA-4.0"], "CC-BY-NC-SA-4.0"),
        (["ODbL-1.0", "CC-BY-4.0"], "ODbL-1.0"),
        (["CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0", "ODbL-1.0"], "CC-BY-NC-ND-4.0"),
        (["LicenseRef-IEMOCAP", "CC-BY-NC-ND-4.0"], "LicenseRef-IEMOCAP"),
        (
            ["LicenseRef-SAVEE", "LicenseRef-IEMOCAP", "LicenseRef-SAVEE"],
            "LicenseRef-IEMOCAP AND LicenseRef-SAVEE",
        ),
        (["LicenseRef-IEMOCAP", "unknown"], "LicenseRef-unknown"),
        (["MIT"], "LicenseRef-unknown"),
        ([], "LicenseRef-unknown"),
    ],
)
def test_the_strictest_licence(licences: list[str], strictest: str) -> None:
    assert strictest_licence(licences) == strictest


@pytest.fixture(scope="module")
def real() -> dict[str, list[Clip]]:
    folder = os.environ.get("SER_CORPORA")
    if not folder:
        pytest.skip("SER_CORPORA is not set")
    clips = find_clips(Path(folder))
    return {corpus.name: [c for c in clips if c.corpus == corpus.name] for corpus in KNOWN}


@pytest.mark.corpora
@pytest.mark.parametrize("name", ["ravdess", "emodb"])
def test_the_real_corpora_have_all_that_was_published(
    real: dict[str, list[Clip]], name: str
) -> None:
    corpus = {corpus.name: corpus for corpus in KNOWN}[name]
    assert Counter(clip.label for clip in real[name]) == dict(corpus.counts)
    assert {clip.speaker.partition("/")[2] for clip in real[name]} == set(corpus.speakers)
    assert shortfalls(real[name]) == ()


@pytest.mark.corpora
def test_the_real_speakers(real: dict[str, list[Clip]]) -> None:
    assert set(Counter(clip.speaker for clip in real["ravdess"]).values()) == {60}
    assert Counter(clip.sex for clip in real["ravdess"]) == {"female": 720, "male": 720}
    assert Counter(clip.strength for clip in real["ravdess"]) == {"normal": 768, "strong": 672}
    assert Counter(clip.sex for clip in real["emodb"]) == {"female": 302, "male": 233}
    assert len(real["nemo"]) == 3147
    assert len({clip.speaker for clip in real["nemo"]}) == 6
    assert len({(clip.speaker, clip.sex) for clip in real["nemo"]}) == 6
    assert None not in {clip.sex for clip in real["nemo"]}
    assert shortfalls(real["nemo"])[0].startswith("nemo: 3147 of 4481 clips")
