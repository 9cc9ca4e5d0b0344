"""Random changes of recordings: each does what its name says, and moves nothing."""

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest
import scipy

from ser_live.testing import speech_like
from ser_train.data.acoustics import Samples
from ser_train.data.waveform_augmentation import WaveformAugmenter, codecs_there
from ser_train.models.recipe import WaveformAugmentation

SPEECH = slice(8000, 40000)
WAYS = ("speed", "equaliser", "room", "babble", "noise", "telephone", "codec")
OFF: dict[str, Any] = {f"{way}_probability": 0.0 for way in WAYS}
NOTHING = WaveformAugmentation(**OFF)
OTHERS = [speech_like(1.0, seed=seed) for seed in (1, 2)]


@functools.cache
def recording() -> Samples:
    """Two seconds of voice, half a second of near silence on either side."""
    samples = speech_like(3.0)
    samples[: SPEECH.start] *= 1e-3
    samples[SPEECH.stop :] *= 1e-3
    samples.setflags(write=False)
    return samples


def change(
    samples: Samples, seed: int = 0, codecs: tuple[str, ...] = ("MP3",), **settings: Any
) -> Samples:
    augmenter = WaveformAugmenter(dataclasses.replace(NOTHING, **settings), codecs)
    return augmenter.process(samples, SPEECH, OTHERS, np.random.default_rng(seed))


def test_where_all_is_off_nothing_changes() -> None:
    np.testing.assert_array_equal(change(recording()), recording())


def test_the_same_seed_gives_the_same_and_the_input_is_kept() -> None:
    augmenter, samples = WaveformAugmenter(WaveformAugmentation(), codecs_there()), recording()
    first, again, other = (
        augmenter.process(samples, SPEECH, OTHERS, np.random.default_rng(seed))
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(samples, recording())
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("way", "codecs"), [(way, ("MP3",)) for way in WAYS[1:]] + [("codec", ("OGG",))]
)
@pytest.mark.parametrize("seed", range(2))
def test_each_change_leaves_length_and_place(way: str, codecs: tuple[str, ...], seed: int) -> None:
    if not set(codecs) <= set(codecs_there()):
        pytest.skip("libsndfile without it")
    clean = recording()
    heard = change(clean, seed, codecs, **{f"{way}_probability": 1.0})
    assert heard.shape == clean.shape
    assert heard.dtype == np.float32
    assert np.isfinite(heard).all()
    assert not np.array_equal(heard, clean)
    alike = scipy.signal.correlate(np.abs(heard), np.abs(clean), "full", "fft")
    assert abs(int(alike.argmax()) - len(clean) + 1) < 40, "2.5 ms"
    quiet = 1000 * change(np.float32(1e-3) * clean, seed, codecs, **{f"{way}_probability": 1.0})
    assert np.square(quiet - heard).sum() < 1e-2 * np.square(heard).sum(), "level plays no part"


def test_a_speed_is_in_its_range() -> None:
    lengths = {len(change(recording(), seed, speed_probability=1.0)) for seed in range(20)}
    assert 48000 / 1.15 - 1 <= min(lengths) < 45000
    assert 51000 < max(lengths) <= 48000 / 0.87 + 1


@pytest.mark.parametrize("way", ["noise", "babble"])
def test_noise_has_the_ratio_that_was_asked_for(way: str) -> None:
    asked: dict[str, Any] = {f"{way}_probability": 1.0, f"{way}_snr_db": (12.0, 12.0)}
    clean = recording()
    noise = change(clean, 0, **asked) - clean
    powers = [np.square(part[SPEECH], dtype=np.float64).mean() for part in (clean, noise)]
    assert 10 * np.log10(powers[0] / powers[1]) == pytest.approx(12.0, abs=0.01)
    assert np.square(noise[: SPEECH.start]).mean() > 1e-2 * powers[1], "also before the speech"


def test_a_telephone_has_no_treble() -> None:
    heard = change(recording(), telephone_probability=1.0)
    power = np.abs(np.fft.rfft(heard)) ** 2
    assert power[3 * 4200 :].sum() < 1e-3 * power.sum()


def test_no_codec_is_heard_that_libsndfile_lacks() -> None:
    np.testing.assert_array_equal(
        change(recording(), codecs=(), codec_probability=1.0), recording()
    )
