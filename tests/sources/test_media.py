"""Files that libsndfile does not read, by either decoder: heard whole, told, or refused."""

import os
import shutil
import stat
import sys
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from helpers.odd_doors import Heard, by_file, by_training, difference, of_ffmpeg
from ser_live import SerError, recognize_file
from ser_live.sources import FileSource
from ser_live.testing import demo_voice

av: Any = pytest.importorskip("av")
RATE_HZ = 48000
VOICE = np.stack([demo_voice(RATE_HZ), demo_voice(RATE_HZ)[::-1]], axis=1)[: 3 * RATE_HZ]
LOSSY = {"voice.m4a": "aac", "voice.webm": "libopus", "voice.wma": "wmav2", "voice.mp4": "aac"}
LOSSLESS = {"voice.mov": "pcm_s16le", "alac.m4a": "alac", "voice.mka": "flac"}
# Encoders pad, and releases of FFmpeg trim that differently; then the samples are the same.
PADDING_SECONDS = 0.05


def encode(
    path: Path,
    codec: str,
    samples: NDArray[np.int16] | None = None,
    rate_hz: int = RATE_HZ,
    *,
    has_picture: bool = False,
) -> Path:
    """Write int16, the voice on two channels or what is given, by PyAV; none for the codec ""."""
    samples = integers() if samples is None else samples
    layout = "stereo" if samples.ndim == 2 else "mono"
    with mock.patch.dict(sys.modules, av=av), av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=5) if has_picture or not codec else None
        if codec:
            track = container.add_stream(
                codec, rate=rate_hz, layout=layout, bit_rate=16 * rate_hz // 10
            )
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
            for _ in range(20):
                image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
                container.mux(picture.encode(image))
            container.mux(picture.encode(None))
        if codec:
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", layout)
            frame.sample_rate, frame.pts = rate_hz, 0
            resampler = av.AudioResampler(track.format, layout, rate_hz, track.frame_size or 4096)
            for part in (*resampler.resample(frame), *resampler.resample(None), None):
                container.mux(track.encode(part))
    return path


def integers() -> NDArray[np.int16]:
    return np.rint(VOICE * 32767).astype(np.int16)


@pytest.fixture(params=["PyAV", pytest.param("ffmpeg", marks=pytest.mark.integration)])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let files be decoded by one of the two alone."""
    if request.param == "ffmpeg":
        if not shutil.which("ffmpeg"):
            pytest.skip("ffmpeg is not installed")
        monkeypatch.setitem(sys.modules, "av", None)
    else:
        monkeypatch.setenv("PATH", "")
    return str(request.param)


@pytest.mark.parametrize("name", LOSSLESS)
def test_what_loses_nothing_is_heard_to_the_bit(name: str, decoder: str, tmp_path: Path) -> None:
    path = encode(tmp_path / name, LOSSLESS[name])
    heard = by_file(path)
    assert (heard.rate_hz, heard.word) == (RATE_HZ, "")
    np.testing.assert_array_equal(heard.samples, integers() / np.float32(32768))


@pytest.mark.parametrize("name", LOSSY)
def test_the_voice_is_heard(name: str, decoder: str, tmp_path: Path) -> None:
    path = encode(tmp_path / name, LOSSY[name], has_picture=name.endswith("mp4"))
    heard = by_file(path)
    assert (heard.rate_hz, heard.samples.shape[1], heard.word) == (RATE_HZ, 2, "")
    assert heard.seconds == pytest.approx(3.0, abs=PADDING_SECONDS)
    low = Heard(16000, soxr.resample(heard.samples, RATE_HZ, 16000)[:, :1])  # where voices are
    wanted = Heard(16000, soxr.resample(VOICE, RATE_HZ, 16000)[:, :1])
    assert difference(low, wanted, PADDING_SECONDS) < 0.3
    with FileSource(path) as source:
        pieces = [block.samples for block in iter(lambda: source.take(777), None)]
    np.testing.assert_array_equal(np.concatenate(pieces), heard.samples)


def test_a_voice_memo_of_a_telephone_is_heard(decoder: str, tmp_path: Path) -> None:
    voice = demo_voice(8000)[: 5 * 8000]
    samples = np.rint(voice * 32767).astype(np.int16)
    heard = by_file(encode(tmp_path / "memo.amr", "libopencore_amrnb", samples, 8000))
    assert (heard.rate_hz, heard.samples.shape[1], heard.word) == (8000, 1, "")
    assert heard.seconds == pytest.approx(len(voice) / 8000, abs=PADDING_SECONDS)
    assert difference(heard, Heard(8000, voice[:, np.newaxis]), PADDING_SECONDS) < 1.0


@pytest.mark.integration
@pytest.mark.parametrize("name", LOSSY)
def test_both_decoders_give_the_same(name: str, tmp_path: Path) -> None:
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    path = encode(tmp_path / name, LOSSY[name])
    one, other = by_file(path), of_ffmpeg(path)
    assert one.rate_hz == other.rate_hz
    assert one.seconds == pytest.approx(other.seconds, abs=0.01)
    assert difference(one, other, 0.01) < 1e-4


@pytest.mark.parametrize("name", ["voice.webm", "voice.wma", "voice.mka"])
def test_a_file_that_is_cut_short_is_told_in_seconds(
    name: str, decoder: str, tmp_path: Path
) -> None:
    if (name, decoder) == ("voice.wma", "ffmpeg"):
        pytest.skip("it says nothing of a cut between two packets")
    path = encode(tmp_path / name, {**LOSSY, **LOSSLESS}[name])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    heard = by_file(path)
    assert 1.0 < heard.seconds < 2.0
    assert f"{heard.seconds:.2f} s of it were readable" in heard.word
    assert heard.word.isprintable()


def test_damage_in_the_middle_is_told_and_what_comes_behind_is_heard(
    decoder: str, tmp_path: Path
) -> None:
    path = encode(tmp_path / "voice.mp4", "aac")
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 400] = np.random.default_rng(0).bytes(400)
    path.write_bytes(data)
    heard = by_file(path)
    assert heard.seconds > 2.5
    assert "the file is damaged" in heard.word
    assert "0x" not in heard.word


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("picture.mp4", "there is no audio track in it"),
        ("picture.mkv", "there is no audio track in it"),
        ("head.m4a", "MP4"),
        ("index-is-gone.m4a", "MP4"),
        ("noise.aac", "no audio"),
        ("playlist.ts", "no audio"),
    ],
)
def test_what_holds_no_audio_is_refused_in_one_line(
    name: str, words: str, decoder: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if name.startswith("picture"):
        encode(path, "")
    elif name.startswith("index"):
        path.write_bytes(encode(path, "aac").read_bytes()[:20000])
    else:
        made = {
            "head": b"\0\0\0\x20ftypM4A \0\0\0\0",
            "noise": np.random.default_rng(1).bytes(9999),
        }
        playlist = b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
        path.write_bytes(made.get(path.stem, playlist))
    with pytest.raises(SerError, match=words) as refused:
        by_file(path)
    assert str(refused.value).isprintable()
    assert "convert it" not in str(refused.value)


def test_without_a_decoder_one_line_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "voice.m4a", "aac")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "av", None)
    wanted = (
        r"MP4 .*; install a decoder for it \(pip install 'ser-live\[media\]', or ffmpeg\), or con"
    )
    with pytest.raises(SerError, match=wanted) as refused:
        recognize_file(path)
    assert str(refused.value).isprintable()


def test_a_training_and_files_of_strangers_do_not_ask_for_it(tmp_path: Path) -> None:
    with pytest.raises(SerError, match=r"no audio that can be read \(MP4"):
        by_training(encode(tmp_path / "voice.m4a", "aac"))


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="a script is no program there")
def test_a_decoder_that_hangs_is_ended_by_close_from_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It gives a second and then nothing more.
    ffmpeg = shutil.which("ffmpeg")
    if not ffmpeg:
        pytest.skip("ffmpeg is not installed")
    hanging = tmp_path / "bin" / "ffmpeg"
    hanging.parent.mkdir()
    os.mkfifo(tmp_path / "never")
    hanging.write_text(f'#!/bin/sh\n{ffmpeg} -t 1 "$@"\nexec 3<>{tmp_path}/never\nread x <&3\n')
    hanging.chmod(hanging.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{hanging.parent}:{os.environ['PATH']}")
    monkeypatch.setitem(sys.modules, "av", None)
    with FileSource(encode(tmp_path / "voice.mka", "flac")) as source:
        closing = threading.Timer(1.0, source.close)
        closing.start()
        assert sum(len(block.samples) for block in source) <= RATE_HZ
    closing.join()
