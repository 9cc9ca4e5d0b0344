"""Samples that were declared s16le are known for something else, and no sound is."""

import os
from pathlib import Path

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
VALUES = 1 << 12


def words(data: bytes, channels: int = 1) -> str:
    """Return what the first half minute gives, second by second, as the input is checked."""
    samples = np.frombuffer(data[: len(data) // 2 * 2], "<i2")
    size = RATE_HZ * channels
    parts = (
        likely_format(samples[s : s + VALUES], channels, s) for s in range(0, len(samples), size)
    )
    return next(filter(None, parts), "")


def encoded(voice: NDArray[np.floating], sample_format: str) -> bytes:
    """Return a voice, shape (n,) or (n, channels), in a format."""
    if sample_format == "f32le":
        return voice.astype("<f4").tobytes()
    fine = np.rint(np.clip(voice.astype(np.float64), -1, 1 - 2**-15) * 2**31).astype("<i4")
    data = fine.view(np.uint8).reshape(-1, 4)
    return {
        "s16le": data[:, 2:].tobytes(),
        "s16be": data[:, :1:-1].tobytes(),
        "s24le": data[:, 1:].tobytes(),
        "s32le": data.tobytes(),
        "u8": (data[:, 3] ^ 0x80).tobytes(),
        "twice": np.repeat(data[:, 2:], 2, axis=0).tobytes(),
    }[sample_format]


@pytest.mark.parametrize(
    ("sample_format", "gains_db"),
    [
        ("f32le", (-40, -20, 0, 20)),
        ("s16be", (0, 20)),
        ("s24le", (-40, -20, 0, 20)),
        ("s32le", (-40, -20, 0, 20)),
        ("u8", (0,)),
        ("twice", (-20, 0, 20)),
    ],
)
def test_a_voice_in_another_format_is_known(sample_format: str, gains_db: tuple[int, ...]) -> None:
    for gain_db in gains_db:
        voice = VOICE * 10 ** (gain_db / 20)
        said = words(encoded(voice, sample_format))
        assert said.startswith(
            ("every sample comes twice", f"the samples look like {sample_format},")
        )
        if sample_format != "twice":
            stereo = np.stack([voice, np.roll(voice, 500)], axis=1)
            assert sample_format in words(encoded(stereo, sample_format), 2)


def test_faint_integers_that_were_declared_as_floats_are_known() -> None:
    data = encoded(VOICE[: 4 * RATE_HZ] / 300, "s16le")
    with np.errstate(invalid="ignore"):
        faint = np.nan_to_num(np.frombuffer(data, "<f4"))
    assert "look like s16le, declared as f32le" in likely_format(faint, 1, 0)
    assert likely_format(VOICE[:VALUES] * np.float32(1e-10), 1, 0) == ""


@pytest.mark.parametrize("channels", [1, 2])
def test_no_sound_is_taken_for_another_format(channels: int) -> None:
    sounds: dict[str, NDArray[np.floating]] = {**SOUNDS, "voice": VOICE, "zeros": np.zeros(RATE_HZ)}
    tones = np.arange(50, 8000, 371)
    time = np.arange(RATE_HZ) / RATE_HZ
    sounds |= {f"{hz} Hz": np.sin(2 * np.pi * hz * time + 0.3) for hz in tones}
    sounds |= {f"saw of {hz} Hz": 2 * (hz * time % 1) - 1 for hz in tones}
    sounds |= {f"square of {hz} Hz": np.sign(np.sin(2 * np.pi * hz * time + 0.3)) for hz in tones}
    taken = {
        (name, gain_db): said
        for name, sound in sounds.items()
        for gain_db in range(-60, 30, 20)
        if (
            said := words(
                encoded(np.stack([sound] * channels, 1) * 10 ** (gain_db / 20), "s16le"), channels
            )
        )
    }
    assert taken == {}


@hypothesis.given(
    st.binary(max_size=20), st.integers(0, 2**32), st.integers(1, 3), st.integers(0, 12)
)
def test_random_samples_are_no_other_format(
    head: bytes, seed: int, channels: int, shift: int
) -> None:
    noise = np.random.default_rng(seed).integers(-32768, 32768, VALUES) >> shift
    assert words(head[: len(head) // 2 * 2] + noise.astype("<i2").tobytes(), channels) == ""


@pytest.mark.corpora
@pytest.mark.skipif("SER_CORPORA" not in os.environ, reason="SER_CORPORA names no folder")
def test_no_speech_of_the_corpora_is_taken_for_another_format() -> None:
    files = sorted(Path(os.environ["SER_CORPORA"]).glob("**/*.flac"))
    for path in files[:: len(files) // 60]:
        speech, _ = soundfile.read(path, dtype="float32", frames=10 * RATE_HZ)
        for gain_db in (-40, -20, 0, 20):
            assert words(encoded(speech * 10 ** (gain_db / 20), "s16le")) == "", path
