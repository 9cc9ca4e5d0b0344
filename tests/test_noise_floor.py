"""What is subtracted from a noisy spectrum, and what is not."""

import numpy as np
import pytest
from numpy.typing import NDArray

FRAMES, BINS = 120, 33


def process(power: NDArray[np.float32]) -> NDArray[np.float32]:
    import keras  # noqa: PLC0415

    from ser_train.layers import FloorSubtraction  # noqa: PLC0415

    cleaned: NDArray[np.float32] = keras.ops.convert_to_numpy(FloorSubtraction()(power))
    return cleaned


def speech() -> NDArray[np.float32]:
    """Shape (1, frames, bins): loud and quiet by turns, with pauses."""
    random = np.random.default_rng(0)
    power = random.exponential(1.0, (1, FRAMES, BINS)).astype(np.float32)
    power[:, 50:70] = 1e-6
    return power


def test_a_steady_hum_goes_and_speech_stays() -> None:
    noisy = speech()
    noisy[:, :, 5] += 100.0
    cleaned = process(noisy)
    assert np.median(cleaned[0, :, 5]) < 4.0
    others = np.arange(BINS) != 5
    np.testing.assert_allclose(cleaned[:, :, others], speech()[:, :, others], rtol=1e-3, atol=1e-4)


def test_hiss_is_lowered() -> None:
    hiss = np.random.default_rng(1).exponential(1.0, (1, FRAMES, BINS)).astype(np.float32)
    assert process(hiss).mean() < 0.6 * hiss.mean()


@pytest.mark.parametrize("frames", range(8, 25))
def test_the_floor_is_the_least_mean_of_whole_blocks(frames: int) -> None:
    power = np.random.default_rng(frames).random((1, frames, 3), np.float32)
    whole = power[0, : frames // 8 * 8].reshape(-1, 8, 3)
    floor = 1.5 * whole.mean(axis=1).min(axis=0)
    expected = np.maximum(power[0] - floor, 0.03 * power[0])
    np.testing.assert_allclose(process(power)[0], expected, atol=1e-6)


def test_gain_scales_the_result_and_silence_stays_silent() -> None:
    np.testing.assert_allclose(process(speech() * 4.0), 4.0 * process(speech()), rtol=1e-6)
    assert not process(np.zeros((1, 20, 3), np.float32)).any()
