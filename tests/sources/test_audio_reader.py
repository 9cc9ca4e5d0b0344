import io
import logging
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.sources.audio_reader import AudioReader
from ser_train.audio import read_audio

RATE_HZ = 16000
SECONDS = 2.0


def voice() -> NDArray[np.float32]:
    """A sweep behind noise that swells, so that a variable bit rate varies: shape (n,)."""
    times = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(7).normal(0, 0.2, times.size) * (times / SECONDS) ** 2
    return (0.3 * np.sin(2 * np.pi * (200 + 100 * times) * times) + noise).astype(np.float32)


def encoded(kind: str, subtype: str | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, voice(), RATE_HZ, format=kind, subtype=subtype, **options)
    return file.getvalue()


def wav(data_bytes: int | None, subtype: str = "PCM_16", before: bytes = b"") -> bytes:
    """A WAV whose header tells another length of its data, and other chunks before them."""
    whole = bytearray(encoded("WAV", subtype))
    at = whole.index(b"data")
    if data_bytes is not None:
        whole[at + 4 : at + 8] = struct.pack("<I", data_bytes)
    whole[at:at] = before
    return bytes(whole)


def flac(claimed: int) -> bytes:
    """A FLAC file that claims other samples than it has."""
    whole = bytearray(encoded("FLAC"))
    whole[21] &= 0xF0
    whole[22:26] = struct.pack(">I", claimed)
    return bytes(whole)


def mp3(tag: bytes | None = None, frames: int | None = None) -> bytes:
    """A VBR MP3: with another count of frames in its tag, or a frame without a tag before it."""
    whole = bytearray(encoded("MP3", bitrate_mode="VARIABLE", compression_level=0.3))
    at = max(whole.find(b"Xing"), whole.find(b"Info"))
    assert at > 0
    if frames is not None:
        whole[at + 8 : at + 12] = struct.pack(">I", frames)
    if tag is not None:
        whole[at : at + 4] = tag
    return bytes(whole)


ID3 = b"ID3\x04\0\0" + bytes([0, 8, 0, 0]) + bytes(8 << 14)
JUNK = b"\xff\xe5dear diary\n" * 400

WHOLE: dict[str, tuple[Callable[[], bytes], int]] = {
    "wav": (lambda: wav(None), 1),
    "wav of a killed recorder": (lambda: wav(0), 1),
    "wav from a pipe": (lambda: wav(0xFFFFFFFF), 1),
    "wav from another pipe": (lambda: wav(0x7FFFFFFF, "FLOAT"), 1),
    "wav with a picture before": (lambda: wav(None, before=b"LIST\xe1\x93\4\0" + bytes(300002)), 1),
    "two wavs": (lambda: 2 * (wav(None) + b"LIST\3\0\0\0abc\0"), 2),
    "flac": (lambda: encoded("FLAC"), 1),
    "flac from a pipe": (lambda: flac(0), 1),
    "flac that claims half": (lambda: flac(RATE_HZ), 1),
    "flac behind a tag": (lambda: ID3 + encoded("FLAC"), 1),
    "flac before a tag": (lambda: encoded("FLAC") + b"TAG".ljust(128, b"x"), 1),
    "two flacs": (lambda: 2 * encoded("FLAC"), 2),
    "vorbis": (lambda: encoded("OGG", "VORBIS"), 1),
    "three chained vorbis": (lambda: 3 * encoded("OGG", "VORBIS"), 3),
    "opus": (lambda: encoded("OGG", "OPUS"), 1),
    "mp3": (mp3, 1),
    "mp3 without a tag": (lambda: mp3(tag=b"\0\0\0\0"), 1),
    "mp3 of a killed encoder": (lambda: mp3(frames=0), 1),
    "mp3 that claims half": (lambda: mp3(frames=50), 1),
    "mp3 behind a tag": (lambda: ID3 + mp3(), 1),
    "mp3 before tags": (lambda: mp3() + b"APETAGEX" + bytes(200) + b"TAG".ljust(128, b"x"), 1),
    "two mp3s": (lambda: 2 * mp3(), 2),
    "two mp3s with tags": (lambda: 2 * (ID3 + mp3()), 2),
}  # fmt: skip
NO_PIPE: dict[str, tuple[Callable[[], bytes], int]] = {
    "adpcm": (lambda: encoded("WAV", "IMA_ADPCM"), 1),
    "adpcm of another kind": (lambda: encoded("WAV", "MS_ADPCM"), 1),
    "aiff": (lambda: encoded("AIFF"), 1),
    "caf": (lambda: encoded("CAF"), 1),
}


class Pipe(io.RawIOBase):
    """A stream that cannot be sought and gives what it likes."""

    def __init__(self, data: bytes, most: int) -> None:
        self._left = io.BytesIO(data)
        self._most = most

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._left.read(min(size, self._most))


def read(source: Any, block: int = 4000) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    with AudioReader(source, "it") as reader:
        blocks = [np.empty((0, reader.channels), np.float32)]
        while len(samples := reader.read(block)):
            blocks.append(samples)
    return np.concatenate(blocks)[:, 0], reader.notes


def padding(name: str) -> int:
    return 2400 if "mp3" in name else 1000 if "adpcm" in name else 0


@pytest.mark.parametrize("name", [*WHOLE, *NO_PIPE])
def test_a_whole_file_is_heard_whole_and_without_a_word(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    make, count = (WHOLE | NO_PIPE)[name]
    path = tmp_path / "Ünïcode 名.bin"
    path.write_bytes(make())
    samples, notes = read(path)
    assert notes == ()
    want = count * round(SECONDS * RATE_HZ)
    assert abs(len(samples) - want) <= count * padding(name)
    np.testing.assert_array_equal(read(io.BytesIO(make()), block=9999)[0], samples)
    assert abs(len(read_audio(path)) - want) <= count * padding(name)
    for most in (1000, 1 << 16) if name in WHOLE else ():
        np.testing.assert_array_equal(read(Pipe(make(), most))[0], samples)
    assert capfd.readouterr() == ("", "")  # nor does a decoder say anything


def test_what_follows_is_the_same_audio() -> None:
    once = read(io.BytesIO(encoded("FLAC")))[0]
    np.testing.assert_array_equal(read(io.BytesIO(2 * encoded("FLAC")))[0], np.tile(once, 2))
    once = read(io.BytesIO(mp3()))[0]
    np.testing.assert_array_equal(read(io.BytesIO(2 * mp3()))[0], np.tile(once, 2))


@pytest.mark.parametrize(
    ("data", "heard", "missing"),
    [
        (wav(None)[: len(wav(None)) // 2], SECONDS / 2, SECONDS / 2),
        (encoded("FLAC")[: len(encoded("FLAC")) // 2], None, None),
        (mp3()[: len(mp3()) // 2], None, None),
        (mp3()[:5000] + JUNK + mp3()[5000:], SECONDS, None),
        (encoded("FLAC") + JUNK + encoded("FLAC"), 2 * SECONDS, None),
        (encoded("OGG", "VORBIS")[:9000], None, None),
    ],
    ids=["wav", "flac", "mp3", "mp3 with junk", "flac with junk", "ogg"],
)
def test_what_is_not_heard_is_told_in_seconds(
    data: bytes, heard: float | None, missing: float | None
) -> None:
    (samples, notes), (_, piped) = read(io.BytesIO(data)), read(Pipe(data, 5000))
    assert len(notes) == 1
    assert notes == piped
    seconds = len(samples) / RATE_HZ
    assert f"{seconds:.2f} s of it were readable" in notes[0]
    assert heard is None or abs(seconds - heard) < 0.2
    assert missing is None or f"{missing:.2f} s were not" in notes[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\0\0\0\x20ftypM4A " + bytes(500), "MP4"),
        (encoded("AIFF"), "AIFF like this cannot be read from a pipe"),
        (b"<!doctype html>" * 100, "no known container"),
        (b"RIFF", "no known container"),
    ],
)
def test_a_pipe_without_audio_that_can_be_read(data: bytes, words: str) -> None:
    with pytest.raises(SerError, match=f"it: .*{words}"):
        read(Pipe(data, 7))


def test_a_decoder_complains_in_the_log_alone(
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A server that ran in this process keeps the log to itself.
    monkeypatch.setattr(logging.getLogger("ser_live"), "propagate", True)
    rotten = bytearray(mp3())
    for at in range(1000, len(rotten), 97):
        rotten[at] ^= 0x55
    with caplog.at_level(logging.DEBUG, logger="ser_live.sources.decoder_messages"):
        read(io.BytesIO(rotten))
    assert capfd.readouterr() == ("", "")
    assert "mpg123" in caplog.text


def test_a_pipe_that_stalls_keeps_no_other_reader_waiting() -> None:
    is_stalled, may_go_on = threading.Event(), threading.Event()

    class Stalling(Pipe):
        def read(self, size: int = -1) -> bytes:
            data = super().read(size)
            if not data:
                is_stalled.set()
                may_go_on.wait()
            return data

    with ThreadPoolExecutor(2) as pool:
        stalled = pool.submit(read, Stalling(mp3()[:6000], 500))
        try:
            assert is_stalled.wait(30)
            samples, _ = pool.submit(read, io.BytesIO(mp3())).result(30)
        finally:
            may_go_on.set()
    assert len(samples) == SECONDS * RATE_HZ
    assert len(stalled.result()[0]) > RATE_HZ


@pytest.mark.parametrize(
    ("head", "advice"),
    [(b"\0\0\0\x20ftypM4A ", "convert it, as in 'ffmpeg"), (b"\x1f\x8b\x08\0", "unpack it$")],
)
def test_the_advice_fits_the_container(head: bytes, advice: str) -> None:
    with pytest.raises(SerError, match=f"it: no audio that can be read .*; {advice}"):
        read(io.BytesIO(head + bytes(500)))
