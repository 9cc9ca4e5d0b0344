"""Samples that were declared in a wrong format are known for it, and no sound is."""

import io
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import soundfile
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers.sounds import SOUNDS
from ser_live.sources.sample_format import likely_format
from ser_live.testing import demo_voice

RATE_HZ = 16000
VOICE = demo_voice()


def words(data: bytes, channels: int = 1) -> str:
    """Return what is told of a stream that was declared as s16le, checked second by second."""
    samples, size = np.frombuffer(data[: len(data) // 2 * 2], "<i2"), RATE_HZ * channels
    seconds = (samples[s : s + 4096] for s in range(0, len(samples), size))
    told = (likely_format(second, channels, size * i) for i, second in enumerate(seconds))
    return next(filter(None, told), "")


def encoded(voice: NDArray[np.floating], gain_db: float, sample_format: str = "s16le") -> bytes:
    """Return a voice, shape (n,) or (n, channels), in a format."""
    voice = voice * 10 ** (gain_db / 20)
    data = np.rint(np.clip(voice, -1, 1 - 2**-15) * 2.0**31).astype("<i4").view(np.uint8)
    data = data.reshape(-1, 4)
    forms: dict[str, Callable[[], NDArray[Any]]] = {
        "f32le": lambda: voice.astype("<f4"),
        "s16le": lambda: data[:, 2:],
        "s16be": lambda: data[:, :1:-1],
        "s24le": lambda: data[:, 1:],
        "s32le": lambda: data,
        "u8": lambda: data[:, 3] ^ 0x80,
        "twice": lambda: np.repeat(data[:, 2:], 2, axis=0),
    }
    return forms[sample_format]().tobytes()


ANY_LEVEL = itertools.product(("f32le", "s24le", "s32le", "twice"), (-20, 0, 20))
LOUD_AND_NOT_CLIPPED = (("s16be", 0), ("u8", 0))


@pytest.mark.parametrize(("sample_format", "gain_db"), [*ANY_LEVEL, *LOUD_AND_NOT_CLIPPED])
def test_a_voice_in_another_format_is_known(sample_format: str, gain_db: int) -> None:
    assert sample_format in words(encoded(VOICE, gain_db, sample_format))
    stereo = np.stack([VOICE, np.roll(VOICE, 500)], axis=1)
    is_known = sample_format in words(encoded(stereo, gain_db, sample_format), 2)
    assert is_known == (sample_format != "twice")


def test_faint_integers_that_were_declared_as_floats_are_known() -> None:
    with np.errstate(invalid="ignore"):
        faint = np.nan_to_num(np.frombuffer(encoded(VOICE[:32000], -50), "<f4"))
    assert "look like s16le, declared as f32le" in likely_format(faint[8000:12096], 1, 0)
    assert likely_format(VOICE[:4096] * np.float32(1e-10), 1, 0) == ""


@pytest.mark.parametrize("channels", [1, 2])
def test_no_sound_is_taken_for_another_format(channels: int) -> None:
    time = np.arange(RATE_HZ) / RATE_HZ
    sounds: dict[str, NDArray[np.floating]] = {**SOUNDS, "voice": VOICE}
    for hz in range(50, 8000, 742):
        sounds[f"sine of {hz} Hz"] = np.sin(2 * np.pi * hz * time + 0.3)
        sounds[f"square of {hz} Hz"] = np.sign(sounds[f"sine of {hz} Hz"])
        sounds[f"saw of {hz} Hz"] = 2 * (hz * time % 1) - 1
    for name, sound in sounds.items():
        for gain_db in range(-60, 30, 20):
            data = encoded(np.stack([sound[: 4 * RATE_HZ]] * channels, axis=1), gain_db)
            assert words(data, channels) == "", (name, gain_db)


@hypothesis.given(
    st.binary(max_size=10).map(lambda half: 2 * half), st.integers(0, 2**32), st.integers(1, 3)
)
def test_random_samples_are_no_other_format(head: bytes, seed: int, channels: int) -> None:
    for shift in range(13):
        noise = np.random.default_rng(seed).integers(-32768, 32768, 4096) >> shift
        told = words(head + noise.astype("<i2").tobytes(), channels)
        assert told == "" or "compressed audio" in told  # noise at full scale could be that


@pytest.mark.parametrize(("kind", "subtype"), [("MP3", None), ("OGG", "VORBIS"), ("FLAC", None)])
def test_compressed_audio_without_its_beginning_is_known(kind: str, subtype: str | None) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.tile(VOICE, 2), RATE_HZ, format=kind, subtype=subtype)
    assert "look like compressed audio" in words(file.getvalue()[1001:])


@pytest.mark.corpora
@pytest.mark.skipif("SER_CORPORA" not in os.environ, reason="SER_CORPORA names no folder")
def test_no_speech_of_the_corpora_is_taken_for_another_format() -> None:
    files = sorted(Path(os.environ["SER_CORPORA"]).glob("**/*.flac"))
    for path in files[:: len(files) // 30]:
        speech, _ = soundfile.read(path, dtype="float32", frames=5 * RATE_HZ)
        for gain_db in (-40, -20, 0, 20):
            assert words(encoded(speech, gain_db)) == "", path
