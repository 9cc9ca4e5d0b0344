"""What is known of a voice from its earlier clips: answers less that voice's own tendency."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ser_train.cross_validation.pooling import Pool

_PRIOR_CLIPS = 8
"""Of other speakers' mean, before the voice's own clips count."""
_LEAST = 1e-9
"""Probabilities are not taken for smaller."""


def normalised_by_speaker(pool: Pool, seed: int) -> Pool | None:
    """Take from each answer what the speaker's earlier answers had above everybody's.

    Each speaker is heard once, in a random order. Of the log-probabilities the running mean of
    the clips before is subtracted and the mean of the other folds' clips added; nothing later is
    known. A voice that always sounds angry is thus heard as itself; the price is that a voice must
    show all labels about equally often, as actors do for a corpus.

    Parameters
    ----------
    pool : Pool
        Of several folds whose test speakers differ.
    seed : int
        Of the order.

    Returns
    -------
    Pool or None
        None where there is a single fold, so that nobody else was heard.
    """
    if len(np.unique(pool.folds)) < 2:
        return None
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pool.names))
    tempered, raw = (
        np.stack([_normalised(p, pool, order) for p in part])
        for part in (pool.probabilities, pool.raw)
    )
    return dataclasses.replace(pool, probabilities=tempered, raw=raw)


def _normalised(
    probabilities: NDArray[np.float64], pool: Pool, order: NDArray[np.intp]
) -> NDArray[np.float64]:
    logarithms = np.log(np.maximum(probabilities, _LEAST))
    result = np.empty_like(logarithms)
    for fold, own in _voices(pool, order):
        everybody = logarithms[pool.folds != fold].mean(axis=0)
        heard = np.arange(len(own))[:, np.newaxis]
        before = np.cumsum(logarithms[own], axis=0) - logarithms[own]
        mean = (_PRIOR_CLIPS * everybody + before) / (_PRIOR_CLIPS + heard)
        result[own] = logarithms[own] - mean + everybody
    shares = np.exp(result - result.max(axis=1, keepdims=True))
    normalised: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return normalised


def _voices(pool: Pool, order: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Give the clips of each speaker in each fold, in that order."""
    for fold, speaker in sorted(set(zip(pool.folds.tolist(), pool.speakers.tolist(), strict=True))):
        is_own = (pool.folds == fold) & (pool.speakers == speaker)
        yield fold, order[is_own[order]]
