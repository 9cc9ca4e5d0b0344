"""Answers less a voice's own tendency: nothing of the future, and only what is each voice's own."""

import dataclasses

import numpy as np
import pytest

from ser_train.cross_validation.pooling import Pool, normalised_by_speaker
from ser_train.metrics import score

LABELS = ("neutral", "happy", "sad", "angry")


def make_pool(leaning: float, seed: int = 0, voices: int = 6, clips: int = 80) -> Pool:
    """Make one voice a fold; each leans to a label of its own by that much."""
    random = np.random.default_rng(seed)
    truth = np.tile(np.arange(4), voices * clips // 4)
    voice = np.repeat(np.arange(voices), clips)
    logits = random.normal(0.0, 1.0, (len(truth), 4))
    logits[np.arange(len(truth)), truth] += 2.0
    logits[np.arange(len(truth)), voice % 4] += leaning
    shares = np.exp(logits)
    shares /= shares.sum(axis=1, keepdims=True)
    return Pool(
        names=np.array([f"{place:04d}" for place in range(len(truth))]),
        speakers=np.array([f"v{number}" for number in voice]),
        folds=voice,
        truth=truth,
        labels=LABELS,
        heard=("3",),
        probabilities=shares[np.newaxis],
        raw=shares[np.newaxis],
    )


def uar(pool: Pool) -> float:
    return score(pool.probabilities[0], pool.truth).uar


def normalised(pool: Pool, seed: int = 0) -> Pool:
    found = normalised_by_speaker(pool, seed)
    assert found is not None
    return found


def test_a_voice_that_leans_to_a_label_is_heard_nearly_as_one_that_does_not() -> None:
    plain, leaning = make_pool(0.0), make_pool(2.0)
    assert uar(leaning) < uar(plain) - 0.1
    assert uar(normalised(leaning)) > uar(plain) - 0.05
    assert abs(uar(normalised(plain)) - uar(plain)) < 0.03


def test_probabilities_stay_probabilities() -> None:
    pool = make_pool(1.0)
    pool.probabilities[0, :5] = (1.0, 0.0, 0.0, 0.0)
    shares = normalised(pool).probabilities
    assert np.isfinite(shares).all()
    np.testing.assert_allclose(shares.sum(axis=2), 1.0)


def test_later_clips_change_nothing_and_the_first_is_as_it_was() -> None:
    pool = make_pool(1.0)
    order = np.random.default_rng(3).permutation(len(pool.names))
    own = order[pool.speakers[order] == "v2"]
    before = normalised(pool, seed=3).probabilities[0]
    np.testing.assert_allclose(before[own[0]], pool.probabilities[0, own[0]])
    changed = dataclasses.replace(pool, probabilities=pool.probabilities.copy())
    changed.probabilities[0, own[40]] = (0.97, 0.01, 0.01, 0.01)
    after = normalised(changed, seed=3).probabilities[0]
    np.testing.assert_array_equal(after[own[:40]], before[own[:40]])
    assert not np.allclose(after[own[40:]], before[own[40:]])


@pytest.mark.parametrize("seed", [0, 1])
def test_what_a_voice_says_is_its_own(seed: int) -> None:
    """Of other folds only the mean counts, and of the own fold no other speaker."""
    pool = make_pool(1.0)
    pool = dataclasses.replace(pool, folds=pool.folds // 2)
    changed = dataclasses.replace(pool, probabilities=pool.probabilities.copy())
    changed.probabilities[0, pool.speakers == "v1"] = (0.4, 0.2, 0.2, 0.2)
    before, after = (normalised(one, seed).probabilities[0] for one in (pool, changed))
    mate = pool.speakers == "v0"
    np.testing.assert_array_equal(after[mate], before[mate])


def test_a_single_fold_has_no_other_voice_to_compare_with() -> None:
    pool = make_pool(0.0, voices=1)
    assert normalised_by_speaker(pool, 0) is None
