"""The layouts of the published corpora, each with the traps that it is known for."""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

import tiny_corpora
from ser_live import SerError
from ser_train.audio import read_audio
from ser_train.corpora import Clip, find_clips, relabel

Told = tuple[str, str, str, str | None]


def told(clips: tuple[Clip, ...]) -> list[Told]:
    return [(clip.path.name, clip.label, clip.speaker, clip.sex) for clip in clips]


def test_ravdess_takes_speech_only_and_ignores_what_is_not_its_own(tmp_path: Path) -> None:
    folder = tiny_corpora.write_ravdess(tmp_path, [1, 24], ["neutral", "angry"])
    for trap in (
        "Actor_01/03-02-05-01-01-01-01.wav",  # song
        "Actor_01/02-01-05-01-01-01-01.wav",  # video
        "Actor_01/._03-01-05-01-01-01-01.wav",
        "Actor_01/notes.wav",
    ):
        (folder / trap).write_bytes(b"")
    assert told(find_clips(folder)) == [
        ("03-01-01-01-01-01-01.wav", "neutral", "ravdess/01", "male"),
        ("03-01-05-01-01-01-01.wav", "angry", "ravdess/01", "male"),
        ("03-01-01-01-01-01-24.wav", "neutral", "ravdess/24", "female"),
        ("03-01-05-01-01-01-24.wav", "angry", "ravdess/24", "female"),
    ]


def test_ravdess_tells_sex_and_strength_and_has_stereo_files(tmp_path: Path) -> None:
    folder = tiny_corpora.write_ravdess(tmp_path, [1, 2], ["happy"])
    stereo = folder / "Actor_02" / "03-01-05-02-01-01-02.wav"
    sound = tiny_corpora.sound("angry", 1)
    soundfile.write(stereo, [(value, value) for value in sound], 48000)
    clips = find_clips(folder)
    assert [(clip.sex, clip.strength) for clip in clips] == [
        ("male", "normal"),
        ("female", "normal"),
        ("female", "strong"),
    ]
    assert read_audio(clips[2].path).ndim == 1
    kept = relabel(clips, [("angry", "neutral")])
    assert [(clip.sex, clip.strength) for clip in kept] == [
        (clip.sex, clip.strength) for clip in clips
    ]


def test_a_copy_of_ravdess_inside_itself_counts_once(tmp_path: Path) -> None:
    tiny_corpora.write_ravdess(tmp_path / "audio_speech_actors_01-24", [1, 2])
    tiny_corpora.write_ravdess(tmp_path, [1, 2])
    assert {clip.path.parent.parent for clip in find_clips(tmp_path)} == {tmp_path}
    assert len(find_clips(tmp_path)) == 4


LAYOUTS: dict[str, tuple[Callable[[Path], Path], str, list[Told]]] = {
    "emodb": (
        tiny_corpora.write_emodb,
        "wav",
        [
            ("03a01Fa.wav", "happy", "emodb/03", "male"),
            ("03a01Wa.wav", "angry", "emodb/03", "male"),
            ("08b10Lb.wav", "boredom", "emodb/08", "female"),
        ],
    ),
    "nemo": (  # its table pads the speakers and names what is not there
        tiny_corpora.write_nemo,
        "",
        [
            ("EB0_fear_2.wav", "fearful", "nemo/EB0", "female"),
            ("KD0_anger_1.ogg", "angry", "nemo/KD0", "male"),
        ],
    ),
    "crema_d": (  # with the one name that is too short
        tiny_corpora.write_crema_d,
        "AudioWAV",
        [
            ("1001_DFA_ANG_XX.wav", "angry", "crema_d/1001", "male"),
            ("1002_IEO_HAP_LO.wav", "happy", "crema_d/1002", "female"),
            ("1040_ITH_SAD_X.wav", "sad", "crema_d/1040", "male"),
            ("1091_WSI_NEU_XX.wav", "neutral", "crema_d/1091", "female"),
        ],
    ),
    "savee": (  # two letters come before one
        tiny_corpora.write_savee,
        "AudioData",
        [
            ("a01.wav", "angry", "savee/DC", "male"),
            ("sa01.wav", "sad", "savee/DC", "male"),
            ("su02.wav", "surprised", "savee/JE", "male"),
            ("n30.wav", "neutral", "savee/JK", "male"),
            ("d15.wav", "disgust", "savee/KL", "male"),
        ],
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_names_and_tables_tell_label_speaker_and_sex(tmp_path: Path, name: str) -> None:
    write, inner, expected = LAYOUTS[name]
    write(tmp_path)
    for place in (tmp_path, tmp_path / inner):
        clips = find_clips(place)
        assert told(clips) == expected
        assert {clip.strength for clip in clips} == {None}


IEMOCAP_FOUR = [
    ("Ses02F_impro01_F000.wav", "neutral", "iemocap/Ses02F", "female"),
    ("Ses02F_impro01_F001.wav", "angry", "iemocap/Ses02F", "female"),
    ("Ses02F_impro01_M000.wav", "happy", "iemocap/Ses02M", "male"),
    ("Ses02F_impro01_M001.wav", "happy", "iemocap/Ses02M", "male"),
    ("Ses02F_impro01_M002.wav", "sad", "iemocap/Ses02M", "male"),
    ("Ses02M_script01_1b_F000.wav", "sad", "iemocap/Ses02F", "female"),
    ("Ses02M_script01_1b_M000.wav", "angry", "iemocap/Ses02M", "male"),
]


@pytest.mark.parametrize("given", ["a/IEMOCAP_full_release", "a/IEMOCAP_full_release/Session2"])
def test_iemocap_by_its_turns_four_labels_and_speakers(tmp_path: Path, given: str) -> None:
    tiny_corpora.write_iemocap(tmp_path / "a" / "IEMOCAP_full_release", [2])
    assert told(find_clips(tmp_path / given)) == IEMOCAP_FOUR


@pytest.mark.parametrize("given", ["", "a", "a/IEMOCAP_full_release"])
def test_iemocap_has_two_speakers_a_session(tmp_path: Path, given: str) -> None:
    tiny_corpora.write_iemocap(tmp_path / "a" / "IEMOCAP_full_release", [1, 5])
    clips = find_clips(tmp_path / given)
    assert len(clips) == 14
    assert {clip.speaker for clip in clips} == {
        *("iemocap/Ses01F", "iemocap/Ses01M", "iemocap/Ses05F", "iemocap/Ses05M")
    }


def test_iemocap_tells_all_its_emotions_on_request(tmp_path: Path) -> None:
    clips = find_clips(tiny_corpora.write_iemocap(tmp_path), all_labels=True)
    labels = {clip.path.stem: clip.label for clip in clips}
    assert labels["Ses01F_impro01_M000"] == "excited"
    assert labels["Ses01F_impro01_M003"] == "frustrated"
    assert sorted(labels.values()) == [
        *("angry", "angry", "disgust", "excited", "fearful", "frustrated", "happy", "neutral"),
        *("sad", "sad", "surprised"),
    ]


def test_place_holders_of_git_lfs_are_not_taken_for_recordings(tmp_path: Path) -> None:
    folder = tiny_corpora.write_crema_d(tmp_path)
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
        with pytest.raises(SerError, match="no such audio file"):
            read_audio(clip.path)


TESS_CLIPS = [
    ("OAF_back_fear.wav", "fearful", "tess/OAF", "female"),
    ("OAF_back_ps.wav", "surprised", "tess/OAF", "female"),
    ("OAF_back_angry.wav", "angry", "tess/OAF", "female"),
    ("OA_bite_neutral.wav", "neutral", "tess/OAF", "female"),
    ("yaf_keg_SAD.WAV", "sad", "tess/YAF", "female"),
    ("YAF_back_ps.wav", "surprised", "tess/YAF", "female"),
]
TESS_FOLDER = "TESS Toronto emotional speech set data"


@pytest.mark.parametrize("given", ["corpora", "corpora/tess", f"corpora/tess/{TESS_FOLDER}"])
def test_tess_counts_once_what_the_archive_holds_twice(tmp_path: Path, given: str) -> None:
    folder = tmp_path / "corpora" / "tess" / TESS_FOLDER
    tiny_corpora.write_tess(folder)
    tiny_corpora.write_tess(folder / TESS_FOLDER)
    assert told(find_clips(tmp_path / given)) == TESS_CLIPS


def test_a_mended_name_in_one_copy_of_tess_is_the_same_recording(tmp_path: Path) -> None:
    tiny_corpora.write_tess(tmp_path)
    mended = tmp_path / TESS_FOLDER / "OAF_neutral" / "OAF_bite_neutral.wav"
    mended.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "OAF_neutral" / "OA_bite_neutral.wav", mended)
    assert told(find_clips(tmp_path)) == TESS_CLIPS


def test_tess_without_its_folders(tmp_path: Path) -> None:
    for name in tiny_corpora.TESS_NAMES:
        tiny_corpora.write_sound(tmp_path / name.partition("/")[2], "angry", 1)
    assert sorted(told(find_clips(tmp_path))) == sorted(TESS_CLIPS)


def test_savee_in_one_folder_and_beside_itself(tmp_path: Path) -> None:
    for name in ("DC_a01", "DC_sa01", "KL_n30", "XY_a01", "a01"):
        tiny_corpora.write_sound(tmp_path / "ALL" / f"{name}.wav", name, 1)
    assert told(find_clips(tmp_path / "ALL")) == [
        ("DC_a01.wav", "angry", "savee/DC", "male"),
        ("DC_sa01.wav", "sad", "savee/DC", "male"),
        ("KL_n30.wav", "neutral", "savee/KL", "male"),
    ]
    tiny_corpora.write_savee(tmp_path)
    assert len(find_clips(tmp_path)) == 6


def test_corpora_beside_each_other_hide_none(tmp_path: Path) -> None:
    """Some lie in the folder itself, some in folders of their own."""
    tiny_corpora.write_ravdess(tmp_path, [1])
    tiny_corpora.write_crema_d(tmp_path)
    tiny_corpora.write_savee(tmp_path)
    tiny_corpora.write_emodb(tmp_path / "german")
    tiny_corpora.write_nemo(tmp_path / "polish")
    tiny_corpora.write_iemocap(tmp_path / "IEMOCAP_full_release")
    tiny_corpora.write_tess(tmp_path / "tess")
    sizes = Counter(clip.corpus for clip in find_clips(tmp_path))
    assert sizes == {
        **{"ravdess": 2, "emodb": 3, "nemo": 2, "iemocap": 7},
        **{"crema_d": 4, "tess": 6, "savee": 5},
    }
