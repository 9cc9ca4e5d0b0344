"""The layers of the sequence network against librosa, known voices and steady noise."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ser_live.engine.spectrum import PowerSpectrum
from ser_live.model.card import SpectrumSpec

PITCH_HZ = np.geomspace(62.5, 500.0, 48)
FRAMES, BINS = 120, 33


def run(name: str, power: NDArray[np.float32], **settings: Any) -> NDArray[np.float32]:
    """Return what the layer of that name makes of some power spectra."""
    import keras  # noqa: PLC0415 - takes seconds

    from ser_train import layers  # noqa: PLC0415

    result: NDArray[np.float32] = keras.ops.convert_to_numpy(
        getattr(layers, name)(**settings)(power)
    )
    return result


# LogMel.


@pytest.fixture(name="power")
def noisy_power() -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    levels = 10.0 ** random.uniform(-9, 2, (1, 60, 257))
    return (levels * random.exponential(size=levels.shape)).astype(np.float32)


def decibels(power: NDArray[np.float32], floor_db: float = -70.0) -> NDArray[np.float32]:
    output = run("LogMel", power, mels=64, fmin_hz=50.0, floor_db=floor_db)
    assert output.shape == (power.shape[0], 64, power.shape[1], 1)
    return output[..., 0] * np.float32(10.0 / np.log(10.0)) + np.float32(floor_db)


@pytest.mark.integration  # librosa compiles code for half a minute
@pytest.mark.parametrize("floor_db", [-70.0, -40.0])
def test_the_bands_agree_with_librosa(power: NDArray[np.float32], floor_db: float) -> None:
    import librosa  # noqa: PLC0415

    mel = librosa.feature.melspectrogram(
        S=power[0].T.astype(np.float64), sr=16000, n_mels=64, fmin=50.0
    )
    with_floor = mel / mel.mean() + 10.0 ** (floor_db / 10.0)
    expected = librosa.power_to_db(with_floor, amin=1e-20, top_db=None)
    np.testing.assert_allclose(decibels(power, floor_db)[0], expected, atol=1e-4)


def test_gain_does_not_change_the_bands(power: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(decibels(power), decibels(power * np.float32(2.0**-14)))
    np.testing.assert_allclose(decibels(power), decibels(power * np.float32(100.0)), atol=1e-4)


def test_silence_lies_on_the_floor() -> None:
    silence = np.zeros((1, 10, 257), np.float32)
    np.testing.assert_array_equal(decibels(silence), np.full((1, 64, 10), -70.0, np.float32))


def test_windows_of_a_batch_do_not_hear_each_other(power: NDArray[np.float32]) -> None:
    batch = decibels(np.concatenate((power, power * np.float32(1e3))))
    np.testing.assert_allclose(batch[0], decibels(power)[0], atol=1e-5)


def test_its_settings_survive_saving() -> None:
    from ser_train.layers import LogMel  # noqa: PLC0415

    layer = LogMel(mels=20, fmin_hz=0.0, floor_db=-60.0)
    again = LogMel.from_config(layer.get_config())
    assert (again.mels, again.fmin_hz, again.floor_db) == (20, 0.0, -60.0)


# Pitchgram.


def voice(pitch_hz: float, tilt: float = 1.0, seconds: float = 0.5) -> NDArray[np.float32]:
    """Partials up to 4 kHz that fall with a power of their number."""
    time = np.arange(round(seconds * 16000)) / 16000
    numbers = np.arange(1, int(4000 / pitch_hz))
    partials = np.sin(2 * np.pi * np.outer(numbers * pitch_hz, time)) / numbers[:, None] ** tilt
    sound: NDArray[np.float32] = (0.1 * partials.sum(axis=0)).astype(np.float32)
    return sound


def pitchgram(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shape (pitches, frames)."""
    power = PowerSpectrum(SpectrumSpec()).process(samples)
    return run("Pitchgram", power[None])[0, ..., 0]


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


def test_digital_silence_has_no_pitch() -> None:
    assert not pitchgram(np.zeros(8000, np.float32)).any()


# FloorSubtraction.


def speech() -> NDArray[np.float32]:
    """Shape (1, frames, bins): loud and quiet by turns, with pauses."""
    random = np.random.default_rng(0)
    power = random.exponential(1.0, (1, FRAMES, BINS)).astype(np.float32)
    power[:, 50:70] = 1e-6
    return power


def test_a_steady_hum_goes_and_speech_stays() -> None:
    noisy = speech()
    noisy[:, :, 5] += 100.0
    cleaned = run("FloorSubtraction", noisy)
    assert np.median(cleaned[0, :, 5]) < 4.0
    others = np.arange(BINS) != 5
    np.testing.assert_allclose(cleaned[:, :, others], speech()[:, :, others], rtol=1e-3, atol=1e-4)


def test_hiss_is_lowered() -> None:
    hiss = np.random.default_rng(1).exponential(1.0, (1, FRAMES, BINS)).astype(np.float32)
    assert run("FloorSubtraction", hiss).mean() < 0.6 * hiss.mean()


@pytest.mark.parametrize("frames", range(8, 25))
def test_the_floor_is_the_least_mean_of_whole_blocks(frames: int) -> None:
    power = np.random.default_rng(frames).random((1, frames, 3), np.float32)
    whole = power[0, : frames // 8 * 8].reshape(-1, 8, 3)
    floor = 1.5 * whole.mean(axis=1).min(axis=0)
    expected = np.maximum(power[0] - floor, 0.03 * power[0])
    np.testing.assert_allclose(run("FloorSubtraction", power)[0], expected, atol=1e-6)


def test_gain_scales_the_result_and_silence_stays_silent() -> None:
    np.testing.assert_allclose(
        run("FloorSubtraction", speech() * 4.0), 4.0 * run("FloorSubtraction", speech()), rtol=1e-6
    )
    assert not run("FloorSubtraction", np.zeros((1, 20, 3), np.float32)).any()
