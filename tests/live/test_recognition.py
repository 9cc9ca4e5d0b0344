"""A whole recording in one call: the predictions of the live loop, and what is made of them."""

import dataclasses
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.signals import demo_voice
from ser_live import Recognition, SerError, listen, recognize_file

RATE_HZ = 22050


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, demo_voice(RATE_HZ, 9.1), RATE_HZ)
    return path


@pytest.fixture(scope="module")
def talk(recording: Path, tiny_model: Path) -> Recognition:
    threads = threading.active_count()
    done = recognize_file(recording, model=tiny_model)
    assert threading.active_count() == threads
    return done


def test_it_is_what_the_live_loop_gives(
    talk: Recognition, recording: Path, tiny_model: Path
) -> None:
    assert list(talk.predictions) == list(listen(recording, model=tiny_model))
    assert talk.path == str(recording)
    assert talk.audio_seconds == pytest.approx(9.1, abs=1e-4)
    assert {segment.label for segment in talk.segments} <= {*talk.labels, "uncertain"}


def test_it_goes_to_another_process(talk: Recognition) -> None:
    assert pickle.loads(pickle.dumps(talk)) == talk


def test_the_summary_counts_every_hop(talk: Recognition) -> None:
    summary, last = talk.summary, talk.predictions[-1]
    silent = [p for p in talk.predictions if p.state == "silence"]
    assert summary.seconds["silence"] == pytest.approx(0.25 * len(silent))
    assert sum(summary.seconds.values()) == pytest.approx(last.end_seconds)
    assert sum(summary.shares.values()) == pytest.approx(1.0)
    assert list(summary.seconds) == [*talk.labels, "uncertain", "warming_up", "silence"]
    labelled = [p.confidence for p in talk.predictions if p.label is not None]
    assert summary.mean_confidence == pytest.approx(sum(labelled) / len(labelled))


def test_each_channel_is_as_if_it_were_alone(
    talk: Recognition, tmp_path: Path, tiny_model: Path
) -> None:
    voice = demo_voice(RATE_HZ, 9.1)
    sides = np.stack([voice, np.roll(voice, 3 * RATE_HZ)], axis=1)
    soundfile.write(tmp_path / "call.wav", sides, RATE_HZ)
    call = recognize_file(tmp_path / "call.wav", model=tiny_model, use_channels="split")
    assert list(call.by_channel) == list(call.channels) == ["left", "right"]
    left = call.by_channel["left"]
    assert [dataclasses.replace(one, channel=None) for one in left.predictions] == [
        *talk.predictions
    ]
    assert [dataclasses.replace(one, channel=None) for one in left.segments] == [*talk.segments]
    assert left.summary == talk.summary
    parts = [part.summary.seconds["silence"] for part in call.by_channel.values()]
    assert call.summary.seconds["silence"] == pytest.approx(sum(parts))
    assert talk.by_channel == {"mix": talk}


def test_silence_has_no_mean_confidence(tmp_path: Path, tiny_model: Path) -> None:
    soundfile.write(tmp_path / "still.wav", [0.0] * 16000, 16000)
    still = recognize_file(tmp_path / "still.wav", model=tiny_model)
    assert still.summary.mean_confidence is None
    assert still.summary.shares["silence"] == 1.0
    soundfile.write(tmp_path / "short.wav", [0.0] * 100, 16000)
    short = recognize_file(tmp_path / "short.wav", model=tiny_model)
    assert set(short.summary.shares.values()) == {0.0}


def test_notes_tell_what_could_not_be_read(
    tmp_path: Path, recording: Path, tiny_model: Path
) -> None:
    (tmp_path / "cut.wav").write_bytes(recording.read_bytes()[:-100_000])
    cut = recognize_file(tmp_path / "cut.wav", model=tiny_model)
    assert [note.split(";")[0].partition(": ")[2] for note in cut.notes] == [
        "the file is cut short"
    ]


@pytest.mark.parametrize("path", [None, 3, "no-such.wav", "."])
def test_what_is_no_recording_is_refused_in_one_line(path: str, tiny_model: Path) -> None:
    with pytest.raises(SerError, match=r"^.+$"):
        recognize_file(path, model=tiny_model)
