"""The log-mel layer against librosa, and what it promises."""

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture(name="power")
def noisy_power() -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    levels = 10.0 ** random.uniform(-9, 2, (1, 60, 257))
    return (levels * random.exponential(size=levels.shape)).astype(np.float32)


def decibels(power: NDArray[np.float32], floor_db: float = -70.0) -> NDArray[np.float32]:
    from ser_train.layers import LogMel  # noqa: PLC0415 - Keras takes seconds

    output = np.asarray(LogMel(mels=64, fmin_hz=50.0, floor_db=floor_db)(power))
    assert output.shape == (power.shape[0], 64, power.shape[1], 1)
    return output[..., 0] * np.float32(10.0 / np.log(10.0)) + np.float32(floor_db)


@pytest.mark.integration
@pytest.mark.parametrize("floor_db", [-70.0, -40.0])
def test_it_agrees_with_librosa(power: NDArray[np.float32], floor_db: float) -> None:
    import librosa  # noqa: PLC0415

    mel = librosa.feature.melspectrogram(
        S=power[0].T.astype(np.float64), sr=16000, n_mels=64, fmin=50.0
    )
    with_floor = mel / mel.mean() + 10.0 ** (floor_db / 10.0)
    expected = librosa.power_to_db(with_floor, amin=1e-20, top_db=None)
    np.testing.assert_allclose(decibels(power, floor_db)[0], expected, atol=1e-4)


def test_gain_changes_nothing(power: NDArray[np.float32]) -> None:
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
