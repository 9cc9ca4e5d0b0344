"""Random changes of spectra: each does what its name says, and nothing where it is off."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ser_live.model.card import SpectrumSpec
from ser_train.data.augmentation import Augmenter
from ser_train.models.recipe import Augmentation

SPEC = SpectrumSpec()
NOTHING = Augmentation(
    warp_probability=0.0,
    room_probability=0.0,
    equaliser_db=0.0,
    tilt_db_per_octave=0.0,
    noise_probability=0.0,
    mel_mask_share=0.0,
    time_mask_seconds=0.0,
)
HZ = np.linspace(0.0, 8000.0, SPEC.bins)


def sound(frames: int = 200) -> NDArray[np.float32]:
    return np.random.default_rng(1).exponential(1.0, (frames, SPEC.bins)).astype(np.float32)


def change(power: NDArray[np.float32], seed: int = 0, **settings: Any) -> NDArray[np.float32]:
    augmenter = Augmenter(dataclasses.replace(NOTHING, **settings), SPEC)
    return augmenter.process(power.copy(), np.random.default_rng(seed))


def test_where_all_is_off_only_the_level_changes() -> None:
    power = sound()
    np.testing.assert_allclose(change(power), power / power.mean(), rtol=1e-5)


def test_the_same_seed_gives_the_same_and_the_input_is_kept() -> None:
    augmenter, power = Augmenter(Augmentation(), SPEC), sound()
    kept = power.copy()
    first, again, other = (augmenter.process(power, np.random.default_rng(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(power, kept)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_noise_has_the_ratio_that_was_asked_for(snr_db: float) -> None:
    clean = change(sound())
    noisy = change(sound(), noise_probability=1.0, noise_snr_db=(snr_db, snr_db))
    measured_db = -10.0 * np.log10((noisy - clean).mean(dtype=np.float64))
    assert measured_db == pytest.approx(snr_db, abs=1.0)


def test_a_channel_keeps_its_band_and_loses_the_rest() -> None:
    narrow = change(
        sound(2000),
        channel_probability=1.0,
        channel_low_hz=(300.0, 300.0),
        channel_high_hz=(3400.0, 3400.0),
        channel_loss_db=(50.0, 50.0),
    )
    wide = change(sound(2000))
    lost_db = 10.0 * np.log10(wide.mean(axis=0) / narrow.mean(axis=0))
    np.testing.assert_allclose(lost_db[(HZ > 300) & (HZ < 3400)], 0.0, atol=0.01)
    np.testing.assert_allclose(lost_db[(HZ < 180) | (HZ > 3910)], 50.0, atol=0.1)


def test_a_room_fills_what_follows_a_sound() -> None:
    click = np.full((100, SPEC.bins), 1e-9, np.float32)
    click[20] = 1.0
    wet = change(click, room_probability=1.0, reverberation_seconds=(0.3, 0.3)).mean(axis=1)
    dry = change(click).mean(axis=1)
    assert wet[30] > 1e3 * dry[30]
    falling_db = 10.0 * np.log10(wet[25:45])
    per_frame_db = 60.0 * SPEC.hop_samples / 16000 / 0.3
    np.testing.assert_allclose(np.diff(falling_db), -per_frame_db, atol=0.1)


def test_a_warp_moves_a_line_along_the_frequencies() -> None:
    line = np.full((50, SPEC.bins), 1e-6, np.float32)
    line[:, 100] = 1.0
    places = [
        int(change(line, seed, warp_probability=1.0).mean(axis=0).argmax()) for seed in range(20)
    ]
    assert min(places) < 98
    assert max(places) > 102
    assert all(100 / 1.085 <= place <= 100 / 0.915 for place in places)


def test_masks_are_no_wider_than_allowed() -> None:
    for seed in range(20):
        masked = change(sound(), seed, mel_mask_share=0.16, time_mask_seconds=0.2)
        quiet = masked < 2e-3 * change(sound())
        assert quiet.all(axis=1).sum() <= 20
        mels = np.log1p(HZ / 700.0)
        hidden = mels[quiet.all(axis=0)] / mels[-1]
        assert hidden.size == 0 or hidden[-1] - hidden[0] <= 0.16


def test_babble_adds_other_windows_at_the_ratio_that_was_asked_for() -> None:
    settings = dataclasses.replace(
        NOTHING, babble_probability=0.5, babble_voices=(2, 2), babble_snr_db=(10.0, 10.0)
    )
    windows = np.zeros((16, 16, 1), np.float32)
    np.fill_diagonal(windows[:, :, 0], 1.0)  # every window sounds in a frame of its own
    mixed = Augmenter(settings, SPEC).babbled(windows, np.random.default_rng(0))[:, :, 0]
    np.testing.assert_array_equal(np.diag(mixed), 1.0)
    added = mixed - np.eye(16)
    changed = added.any(axis=1)
    assert 0 < changed.sum() < 16
    np.testing.assert_allclose(added.sum(axis=1)[changed], 0.1, rtol=1e-6)
    np.testing.assert_array_equal((added > 0).sum(axis=1)[changed], 2)


def test_a_window_alone_has_no_babble() -> None:
    settings = dataclasses.replace(NOTHING, babble_probability=1.0)
    alone = sound()[None]
    same = Augmenter(settings, SPEC).babbled(alone, np.random.default_rng(0))
    np.testing.assert_array_equal(same, alone)
