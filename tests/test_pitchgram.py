"""The pitchgram against voices whose pitch is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ser_live.engine.spectrum import PowerSpectrum
from ser_live.model.card import SpectrumSpec

PITCH_HZ = np.geomspace(62.5, 500.0, 48)


def voice(pitch_hz: float, tilt: float = 1.0, seconds: float = 0.5) -> NDArray[np.float32]:
    """Partials up to 4 kHz that fall with a power of their number."""
    time = np.arange(round(seconds * 16000)) / 16000
    numbers = np.arange(1, int(4000 / pitch_hz))
    partials = np.sin(2 * np.pi * np.outer(numbers * pitch_hz, time)) / numbers[:, None] ** tilt
    sound: NDArray[np.float32] = (0.1 * partials.sum(axis=0)).astype(np.float32)
    return sound


def pitchgram(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shape (pitches, frames)."""
    import keras  # noqa: PLC0415

    from ser_train.layers import Pitchgram  # noqa: PLC0415

    power = PowerSpectrum(SpectrumSpec()).process(samples)
    picture: NDArray[np.float32] = keras.ops.convert_to_numpy(Pitchgram()(power[None]))[0, ..., 0]
    return picture


@pytest.mark.parametrize("tilt", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("pitch_hz", [110.0, 150.0, 210.0, 300.0, 420.0])
def test_the_pitch_is_strongest_within_its_octave(pitch_hz: float, tilt: float) -> None:
    strength = pitchgram(voice(pitch_hz, tilt)).mean(axis=1)
    near = np.flatnonzero(np.abs(np.log2(PITCH_HZ / pitch_hz)) < 0.5)
    strongest_hz = PITCH_HZ[near[strength[near].argmax()]]
    assert abs(np.log2(strongest_hz / pitch_hz)) < 1.0 / 12.0
    assert strength[near].max() > 0.2


def test_noise_has_no_pitch() -> None:
    noise = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    assert np.abs(pitchgram(0.1 * noise)).mean() < 0.15


def test_a_higher_voice_gives_the_same_picture_shifted() -> None:
    low, high = (pitchgram(voice(pitch_hz)).mean(axis=1) for pitch_hz in (150.0, 300.0))
    steps = round(1.0 / np.log2(PITCH_HZ[1] / PITCH_HZ[0]))
    assert abs(int(high.argmax()) - steps - int(low[16:32].argmax()) - 16) <= 1


@pytest.mark.parametrize("gain", [0.01, 100.0])
def test_gain_changes_nothing(gain: float) -> None:
    sound = voice(180.0)
    np.testing.assert_allclose(pitchgram(sound * np.float32(gain)), pitchgram(sound), atol=1e-4)


def test_digital_silence_is_zero() -> None:
    assert not pitchgram(np.zeros(8000, np.float32)).any()
