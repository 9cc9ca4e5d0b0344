"""The layouts of the published corpora, each with the traps that it is known for."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from helpers import tiny_corpora
from ser_live import SerError
from ser_train.audio import read_audio
from ser_train.corpora import Clip, find_clips

Told = tuple[str, str, str, str | None]

TESS_FOLDER = "TESS Toronto emotional speech set data"


def told(clips: tuple[Clip, ...]) -> list[Told]:
    return [(clip.path.name, clip.label, clip.speaker, clip.sex) for clip in clips]


def write(name: str, folder: Path) -> None:
    """Write a corpus as its archive unpacks."""
    if name == "iemocap":
        tiny_corpora.write_iemocap(folder / "IEMOCAP_full_release", [2])
    elif name == "nemo":
        tiny_corpora.write_nemo(folder)
    elif name == "tess":  # the archive holds everything twice
        tiny_corpora.write_named(name, folder / TESS_FOLDER)
        tiny_corpora.write_named(name, folder / TESS_FOLDER / TESS_FOLDER)
    else:
        tiny_corpora.write_named(name, folder)


LAYOUTS: dict[str, tuple[tuple[str, ...], list[Told]]] = {
    "ravdess": (
        ("",),
        [
            ("03-01-01-01-01-01-01.wav", "neutral", "ravdess/01", "male"),
            ("03-01-05-02-01-01-01.wav", "angry", "ravdess/01", "male"),
            ("03-01-05-01-01-01-24.wav", "angry", "ravdess/24", "female"),
        ],
    ),
    "emodb": (
        ("", "wav"),
        [
            ("03a01Fa.wav", "happy", "emodb/03", "male"),
            ("03a01Wa.wav", "angry", "emodb/03", "male"),
            ("08b10Lb.wav", "boredom", "emodb/08", "female"),
        ],
    ),
    "nemo": (  # its table pads the speakers and names what is not there
        ("",),
        [
            ("EB0_fear_2.wav", "fearful", "nemo/EB0", "female"),
            ("KD0_anger_1.ogg", "angry", "nemo/KD0", "male"),
        ],
    ),
    "iemocap": (
        ("", "IEMOCAP_full_release", "IEMOCAP_full_release/Session2"),
        [
            ("Ses02F_impro01_F000.wav", "neutral", "iemocap/Ses02F", "female"),
            ("Ses02F_impro01_F001.wav", "angry", "iemocap/Ses02F", "female"),
            ("Ses02F_impro01_M000.wav", "happy", "iemocap/Ses02M", "male"),
            ("Ses02F_impro01_M001.wav", "happy", "iemocap/Ses02M", "male"),
            ("Ses02F_impro01_M002.wav", "sad", "iemocap/Ses02M", "male"),
            ("Ses02M_script01_1b_F000.wav", "sad", "iemocap/Ses02F", "female"),
            ("Ses02M_script01_1b_M000.wav", "angry", "iemocap/Ses02M", "male"),
        ],
    ),
    "crema_d": (
        ("", "AudioWAV"),
        [
            ("1001_DFA_ANG_XX.wav", "angry", "crema_d/1001", "male"),
            ("1002_IEO_HAP_LO.wav", "happy", "crema_d/1002", "female"),
            ("1040_ITH_SAD_X.wav", "sad", "crema_d/1040", "male"),
            ("1091_WSI_NEU_XX.wav", "neutral", "crema_d/1091", "female"),
        ],
    ),
    "tess": (
        ("", TESS_FOLDER),
        [
            ("OAF_back_fear.wav", "fearful", "tess/OAF", "female"),
            ("OAF_back_ps.wav", "surprised", "tess/OAF", "female"),
            ("OAF_back_angry.wav", "angry", "tess/OAF", "female"),
            ("OA_bite_neutral.wav", "neutral", "tess/OAF", "female"),
            ("yaf_keg_SAD.WAV", "sad", "tess/YAF", "female"),
            ("YAF_back_ps.wav", "surprised", "tess/YAF", "female"),
        ],
    ),
    "savee": (  # two letters come before one
        ("", "AudioData"),
        [
            ("a01.wav", "angry", "savee/DC", "male"),
            ("sa01.wav", "sad", "savee/DC", "male"),
            ("su02.wav", "surprised", "savee/JE", "male"),
            ("n30.wav", "neutral", "savee/JK", "male"),
            ("d15.wav", "disgust", "savee/KL", "male"),
        ],
    ),
}
"""Folders of each corpus that may be given, and what is found in every one of them."""


@pytest.mark.parametrize("name", LAYOUTS)
def test_names_and_tables_tell_label_speaker_and_sex(tmp_path: Path, name: str) -> None:
    write(name, tmp_path)
    places, expected = LAYOUTS[name]
    for place in places:
        assert told(find_clips(tmp_path / place)) == expected


def test_corpora_beside_each_other_hide_none(tmp_path: Path) -> None:
    """Some lie in the folder itself, some in folders of their own."""
    for name in LAYOUTS:
        write(name, tmp_path if name in ("ravdess", "crema_d", "savee") else tmp_path / name)
    sizes = Counter(clip.corpus for clip in find_clips(tmp_path))
    assert sizes == {name: len(clips) for name, (_, clips) in LAYOUTS.items()}


def test_ravdess_tells_the_strength(tmp_path: Path) -> None:
    clips = find_clips(tiny_corpora.write_named("ravdess", tmp_path))
    assert [clip.strength for clip in clips] == ["normal", "strong", "normal"]


def test_a_copy_of_ravdess_inside_itself_counts_once(tmp_path: Path) -> None:
    tiny_corpora.write_ravdess(tmp_path / "audio_speech_actors_01-24", [1, 2])
    tiny_corpora.write_ravdess(tmp_path, [1, 2])
    assert {clip.path.parent.parent for clip in find_clips(tmp_path)} == {tmp_path}
    assert len(find_clips(tmp_path)) == 4


def test_iemocap_tells_all_its_emotions_on_request(tmp_path: Path) -> None:
    clips = find_clips(tiny_corpora.write_iemocap(tmp_path), all_labels=True)
    assert sorted(clip.label for clip in clips) == [
        *("angry", "angry", "disgust", "excited", "fearful", "frustrated", "happy", "neutral"),
        *("sad", "sad", "surprised"),
    ]


def test_place_holders_of_git_lfs_are_not_taken_for_recordings(tmp_path: Path) -> None:
    folder = tiny_corpora.write_named("crema_d", tmp_path)
    tiny_corpora.write_pointer(folder / "AudioWAV" / "1003_DFA_ANG_XX.wav")
    with pytest.raises(SerError) as caught:
        find_clips(folder)
    message = str(caught.value)
    assert "1 of 5 recordings are Git LFS pointers, not audio" in message
    assert "1003_DFA_ANG_XX.wav" in message
    assert "git lfs pull" in message


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_what_is_no_file_is_left_to_the_reader(tmp_path: Path) -> None:
    """Opening a pipe would wait for ever, and a link may point nowhere."""
    os.mkfifo(tmp_path / "1001_DFA_ANG_XX.wav")
    (tmp_path / "1001_DFA_SAD_XX.wav").symlink_to("nowhere.wav")
    for clip in find_clips(tmp_path):
        with pytest.raises(SerError, match=r"is no ordinary file|cannot read it"):
            read_audio(clip.path)


def test_a_mended_name_in_one_copy_of_tess_is_the_same_recording(tmp_path: Path) -> None:
    tiny_corpora.write_named("tess", tmp_path)
    mended = tmp_path / TESS_FOLDER / "OAF_neutral" / "OAF_bite_neutral.wav"
    mended.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "OAF_neutral" / "OA_bite_neutral.wav", mended)
    assert told(find_clips(tmp_path)) == LAYOUTS["tess"][1]


def test_tess_without_its_folders(tmp_path: Path) -> None:
    for name in tiny_corpora.NAMES["tess"]:
        tiny_corpora.write_sound(tmp_path / name.partition("/")[2], "angry", 1)
    assert sorted(told(find_clips(tmp_path))) == sorted(LAYOUTS["tess"][1])


def test_savee_in_one_folder_and_beside_itself(tmp_path: Path) -> None:
    for name in ("DC_a01", "DC_sa01", "KL_n30", "XY_a01", "a01"):
        tiny_corpora.write_sound(tmp_path / "ALL" / f"{name}.wav", name, 1)
    assert told(find_clips(tmp_path / "ALL")) == [
        ("DC_a01.wav", "angry", "savee/DC", "male"),
        ("DC_sa01.wav", "sad", "savee/DC", "male"),
        ("KL_n30.wav", "neutral", "savee/KL", "male"),
    ]
    tiny_corpora.write_named("savee", tmp_path)
    assert len(find_clips(tmp_path)) == 6
