"""A whole recording in one call: the predictions of the live loop, and what is made of them."""

import dataclasses
import pickle
import sys
import threading
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from helpers.signals import demo_voice
from ser_live import Recognition, SerError, listen, recognize_file
from ser_live.output.label_colors import label_colors

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


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Recognition:
    voice = demo_voice(RATE_HZ, 6.0)
    path = tmp_path_factory.mktemp("call") / "a <b>call.wav"
    soundfile.write(path, np.stack([voice, np.zeros_like(voice)], axis=1), RATE_HZ)
    options = {"model": tiny_model, "uncertain_below": 0.0, "utterances": True}
    return recognize_file(path, use_channels="split", **options)  # type: ignore[arg-type]


def test_a_table_holds_every_record(call: Recognition) -> None:
    pandas = pytest.importorskip("pandas")
    table = call.to_dataframe()
    assert list(table["channel"]) == [one.channel for one in call.predictions]
    columns = [f"probability_{label}" for label in call.labels]
    sums = table[columns].sum(axis=1)
    assert (sums[table["label"].notna()] - 1.0).abs().max() < 1e-6
    assert table[table["state"] == "silence"][columns].isna().all(axis=None)
    assert list(call.to_dataframe("segments")["label"]) == [one.label for one in call.segments]
    assert len(call.to_dataframe("utterances")) == len(call.utterances) > 0
    assert isinstance(call.to_dataframe("events"), pandas.DataFrame)
    with pytest.raises(SerError, match="rows is 'words', wanted predictions, segments"):
        call.to_dataframe("words")


def test_a_picture_shows_where_each_label_is(call: Recognition, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    call.plot(tmp_path / "call.svg")
    drawn = (tmp_path / "call.svg").read_text("utf-8")
    colors = label_colors(call.labels)
    for segment in call.segments:
        assert colors[segment.label] in drawn
    for name, color in colors.items():
        assert (color in drawn) == (call.summary.seconds[name] > 0)
    call.plot(tmp_path / "call.png")
    from matplotlib.image import imread  # noqa: PLC0415 - it may not be there

    pixels = imread(tmp_path / "call.png")[..., :3]
    wanted = np.array([int(colors[call.segments[0].label][at : at + 2], 16) for at in (1, 3, 5)])
    is_drawn = np.abs(255 * pixels - wanted).max(axis=2) < 2
    upper, lower, _ = np.split(is_drawn, [len(is_drawn) // 2, int(0.85 * len(is_drawn))])
    assert upper.sum() > 1000 > lower.sum()  # the right channel is silent
    for bad in ("call.nothing", "no-such-folder/call.png"):
        with pytest.raises(SerError, match="cannot write the picture"):
            call.plot(tmp_path / bad)
    with pytest.raises(SerError, match="path is None, wanted that of a picture"):
        call.plot(None)  # type: ignore[arg-type]


def test_a_picture_of_a_recording_that_has_gone_is_refused(
    call: Recognition, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    gone = dataclasses.replace(call, path=str(tmp_path / "gone.wav"))
    with pytest.raises(SerError, match=r"gone\.wav: cannot read it"):
        gone.plot(tmp_path / "call.png")


@pytest.mark.parametrize(
    ("package", "method", "extra"),
    [("pandas", "to_dataframe", "pandas"), ("matplotlib.figure", "plot", "plot")],
)
def test_what_is_not_installed_is_said(
    package: str, method: str, extra: str, talk: Recognition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        SerError, match=rf"^{method}\(\) needs .*pip install 'ser-live\[{extra}\]'$"
    ):
        getattr(talk, method)("segments")


def test_a_notebook_shows_lanes_and_shares(call: Recognition) -> None:
    shown = call._repr_html_()
    parsed = ElementTree.fromstring(shown)
    blocks = [one.get("title") for one in parsed.iter("div") if one.get("title")]
    assert [words.split()[0] for words in blocks if words] == [s.label for s in call.segments]
    assert parsed.find("b") is not None
    assert parsed.findtext("b") == "a <b>call.wav"  # it is no markup
    assert "left" in shown
    assert "right" in shown
    assert f"silence {100 * call.summary.shares['silence']:.0f} %" in shown
