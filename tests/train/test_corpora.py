"""Which clips are found, with which label and speaker, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers import tiny_corpora, tiny_network
from helpers.notes import Notes
from ser_live import SerError
from ser_live.model.card import SpectrumSpec
from ser_live.testing import demo_voice
from ser_train.audio import read_audio
from ser_train.corpora import (
    LICENCES,
    Clip,
    find_clips,
    find_talk,
    labels_of,
    read_manifest,
    relabel,
)
from ser_train.data import spectra
from ser_train.data.loading import load_each
from ser_train.data.prepare import prepare
from ser_train.data.recordings import Recordings
from ser_train.data.splits import choose_validation_speakers
from ser_train.evaluation.clips import find_voices


def test_a_manifest_counts_paths_from_its_folder(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text('path,label,speaker\n"a,b.wav",happy, Ann\n', encoding="utf-8-sig")
    (clip,) = read_manifest(table)
    assert clip == Clip(tmp_path / "a,b.wav", "happy", "mine/Ann", "mine")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path;label;speaker\na.wav;happy;Ann\n", "wanted path,label,speaker"),
        ("path,label,speaker\n", "no rows"),
        ("path,label,speaker\na.wav,,Ann\n", "line 2"),
        ("path,label,speaker\na.wav,sad, afraid,Ann\n", "line 2: has more values"),
        ("", "wanted path,label,speaker"),
    ],
)
def test_a_broken_manifest_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    table = tmp_path / "mine.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(SerError, match=reason):
        read_manifest(table)


def test_a_table_of_another_encoding_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("path,label,speaker\na.wav,sad,J\u00f6rg\n", encoding="latin-1")
    with pytest.raises(SerError, match=r"not readable as a table \(.*\); save it as UTF-8$"):
        read_manifest(table)


def test_talk_is_a_table_a_folder_with_one_a_corpus_or_any_folder(tmp_path: Path) -> None:
    folder = tmp_path / "talks"
    for name in ("b/two.MP3", "one.wav", "b/.hidden.wav", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    of = "talks"
    one = Clip(folder / "one.wav", "neutral", f"{of}/one", of)
    assert find_talk(folder) == (Clip(folder / "b/two.MP3", "neutral", f"{of}/b/two", of), one)
    table = folder / "some.csv"
    table.write_text("speaker,path,label\nAnn,one.wav,\n,b/two.MP3,sad\n")
    ann, two = find_talk(table)
    assert (ann.path, ann.label, ann.speaker) == (one.path, "neutral", "some/Ann")
    assert (two.label, two.speaker, two.corpus) == ("sad", "some/b/two", "some")
    (folder / "manifest.csv").write_text("path\none.wav\n")
    assert find_talk(folder) == find_talk(folder / "manifest.csv") == (one,)
    acted = tiny_corpora.write_ravdess(tmp_path / "acted", [1, 2])
    assert find_talk(acted) == find_clips(acted)


def test_talk_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SerError, match=r"nowhere is missing, wanted a folder with recordings"):
        find_talk(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_bytes(b"")
    with pytest.raises(SerError, match=r"holds notes.txt; wanted recordings, or a table"):
        find_talk(tmp_path)
    with pytest.raises(SerError, match=r"notes.txt: no rows, wanted path and rows below"):
        find_talk(tmp_path / "notes.txt")
    tiny_corpora.write_pointer(tmp_path / "a.wav")
    with pytest.raises(SerError, match="Git LFS pointers"):
        find_talk(tmp_path)


def test_a_folder_without_a_corpus_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(SerError, match="missing, wanted a folder"):
        find_clips(tmp_path / "nowhere")
    with pytest.raises(SerError, match="holds nothing"):
        find_clips(tmp_path)
    (tmp_path / "song.mp3").write_bytes(b"")
    with pytest.raises(SerError, match=r"holds song\.mp3; wanted RAVDESS"):
        find_clips(tmp_path)


def test_labels_are_mapped_dropped_and_checked(tmp_path: Path) -> None:
    clips = find_clips(tiny_corpora.write_ravdess(tmp_path, [1], ["neutral", "calm", "sad"]))
    mapped = relabel(clips, [("calm", "neutral")])
    assert [clip.label for clip in mapped] == ["neutral", "neutral", "sad"]
    assert labels_of(relabel(clips, dropped=["sad"])) == ("neutral", "calm")
    with pytest.raises(SerError, match="--drop names the label 'bored'"):
        relabel(clips, dropped=["bored"])
    long = "sad" * 21
    with pytest.raises(SerError, match=r"3 labels, the longest is .* at most 100 of 60 characters"):
        relabel(clips, [("sad", long)])
    with pytest.raises(SerError, match="wanted two or more"):
        relabel(clips, [("calm", "neutral")], ["sad"])


def test_labels_that_no_corpus_has_are_told_and_taken(tmp_path: Path) -> None:
    table = tmp_path / "calls.csv"
    table.write_text("path,label,speaker\na.wav,urgent,Ann\nb.wav,sad,Bob\n")
    notes: list[str] = []
    assert labels_of(Recordings((), (table,), note=notes.append).find()) == ("sad", "urgent")
    line = "warning: no known corpus has the label urgent; if it is a slip, use --map"
    assert notes == [line]


@pytest.mark.parametrize("name", [*LICENCES, "mine"])
def test_a_table_or_folder_of_one_s_own_is_no_known_corpus(name: str, tmp_path: Path) -> None:
    table = tmp_path / f"{name}.csv"
    table.write_text("path,label,speaker\na/1.wav,happy,03\nb/1.wav,sad,03\n")
    corpus = f"own-{name}" if name in LICENCES else name
    clips = Recordings((), (table,)).find()
    assert {(clip.corpus, clip.speaker) for clip in clips} == {(corpus, f"{corpus}/03")}
    assert [clip.name for clip in clips] == [f"{corpus}/a/1.wav", f"{corpus}/b/1.wav"]
    assert find_talk(table)[0].corpus == corpus
    folder = tmp_path / name
    (folder / "manifest.csv").parent.mkdir()
    (folder / "manifest.csv").write_text("path\none.wav\n")
    of_folder = name if name == "ordinary" else corpus  # whose licence interviews have
    assert [clip.corpus for clip in find_talk(folder)] == [of_folder]


def test_a_table_may_lack_speakers_where_none_are_held_out(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("path,label\na.wav,happy\nb.wav,sad\n")
    clips = Recordings((), (table,), with_speakers=False).find()
    assert [clip.speaker for clip in clips] == ["mine/a", "mine/b"]
    with pytest.raises(SerError, match="wanted path,label,speaker"):
        Recordings((), (table,)).find()


def test_a_file_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    folder = tiny_corpora.write_ravdess(tmp_path, [1, 2])
    assert len(Recordings((folder, folder)).find()) == 4
    with pytest.raises(SerError, match="--train-dir"):
        Recordings().find()


def test_validation_speakers_are_chosen_from_each_corpus(tmp_path: Path) -> None:
    clips = find_clips(tiny_corpora.write_ravdess(tmp_path, range(1, 25)))
    assert choose_validation_speakers(clips, []) == ("ravdess/08", "ravdess/16")
    assert choose_validation_speakers(clips[:6], []) == ()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot read it"), ([0.0, np.nan], ".*holds NaN or infinite")],
    ids=["missing", "nan"],
)
def test_a_broken_recording_is_named(
    tmp_path: Path, content: list[float] | None, reason: str
) -> None:
    path = tmp_path / "clip.wav"
    if content is not None:
        soundfile.write(path, content, 16000, subtype="FLOAT")
    with pytest.raises(SerError, match=rf"clip\.wav: {reason}"):
        read_audio(path)


def test_any_rate_and_channels_become_mono_at_16_khz(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.tile([[0.5, -0.5]], (48000, 1)), 48000)
    samples = read_audio(path)
    assert samples.dtype == np.float32
    assert abs(samples.size - 16000) <= 1
    assert np.abs(samples).max() < 1e-3


def test_the_cache_gives_the_spectrum_of_the_file_and_follows_its_changes(tmp_path: Path) -> None:
    spec = SpectrumSpec()
    path = tiny_corpora.write_sound(tmp_path / "a.wav", "happy", 1)
    cache = spectra.SpectrumCache(tmp_path / "cache", spec, (1.0, 1.1))
    first = cache.load(Clip(path, "happy", "x/1", "x"))
    section = first.sections[0]
    whole = spectra.whole_clip_spectrum(path, read_audio(path), spec)
    onset, end = spectra.speech_bounds(whole)
    assert 5 <= onset <= 10
    power = first.power(0, section.onset, section.end)
    np.testing.assert_allclose(power, whole[onset:end], rtol=2e-3, atol=1e-6)
    assert len(first.sections) == 2
    assert first.power(1, -5, 10**6).shape[0] == first.sections[1].stop - first.sections[1].start
    assert cache.load(first.clip) == first
    tiny_corpora.write_sound(path, "sad", 2)
    os.utime(path, ns=(1, 1))
    assert cache.load(first.clip).content != first.content


def test_broken_recordings_are_left_out_only_on_request(tmp_path: Path) -> None:
    good = tiny_corpora.write_sound(tmp_path / "good.wav", "happy", 1)
    (tmp_path / "bad.wav").write_bytes(b"")
    clips = [Clip(path, "happy", "x/1", "x") for path in (tmp_path / "bad.wav", good)]
    cache = spectra.SpectrumCache(tmp_path / "cache", SpectrumSpec(), (1.0,))
    notes = Notes()
    (item,) = load_each(clips, cache.load, "", notes, skip=True)
    assert item.clip == clips[1]
    assert "bad.wav" in notes.notes[0]
    with pytest.raises(SerError, match=r"bad\.wav.*--skip-broken"):
        load_each(clips, cache.load, "", notes, skip=False)
    with pytest.raises(SerError, match="no recording is left"):
        load_each(clips[:1], cache.load, "", notes, skip=True)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("way", ["prepare", "find_voices"])
def test_recordings_without_speech_are_told_of_once_and_left_out_on_request(
    tmp_path: Path, way: str, skip: bool
) -> None:
    voice = demo_voice()
    noise = 0.05 * np.random.default_rng(0).standard_normal((4, 16000))
    clips = []
    for number, samples in enumerate([np.zeros(16000), voice[5000:50000], *noise]):
        soundfile.write(tmp_path / f"{number}.wav", samples, 16000)
        clips.append(Clip(tmp_path / f"{number}.wav", "sad", "x/1", "x"))
    for _ in range(2):  # the second time from the cache
        notes = Notes()
        if way == "prepare":
            kept = prepare(clips, tiny_network.NETWORK, tmp_path / "cache", notes, skip).clips
        else:
            kept = tuple(voice.clip for voice in find_voices(clips, "", notes, skip))
        assert kept == tuple(clips[1:2] if skip else clips)
        count = "no speech is heard in 5 of 6 recordings, such as 0.wav, 2.wav, 3.wav"
        done = "they are left out" if skip else "with --skip-broken they are left out"
        assert notes.notes == [f"warning: {count}; {done}"]
    with pytest.raises(SerError, match="no recording is left"):
        prepare(clips[:1], tiny_network.NETWORK, tmp_path / "cache", Notes(), skip=True)
