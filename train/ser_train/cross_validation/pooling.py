"""Answers of the finished folds of one seed as one table, and ways to read that table."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy  # loads scipy.special when it is asked for
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_train.corpora import in_order
from ser_train.cross_validation.ledger import Ledger, Posteriors, Row
from ser_train.evaluation.calibration import HeldOutAnswers
from ser_train.metrics import fit_temperature, with_temperature

_PRIOR_CLIPS = 8
"""Of other speakers' mean, before the voice's own clips count."""
_COLUMNS = ("names", "speakers", "folds", "truth")
"""Of a pool: what it holds of each clip beside probabilities."""
_LEAST = 1e-9
"""Probabilities are not taken for smaller."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Test clips of several folds, sorted by name."""

    names: NDArray[np.str_]
    speakers: NDArray[np.str_]
    folds: NDArray[np.intp]
    truth: NDArray[np.intp]
    """Indices into ``labels``."""
    labels: tuple[str, ...]
    """Of all folds, in the order of `in_order`; one that a fold lacks has probability 0."""
    heard: tuple[str, ...]
    probabilities: NDArray[np.float64]
    """(heard, clips, labels), tempered."""
    raw: NDArray[np.float64]
    """The same at temperature 1."""
    temperatures: dict[int, float] = dataclasses.field(default_factory=dict)
    """Of each fold; 1 for a single fold without validation speakers."""

    @property
    def untempered(self) -> "Pool":
        """The same at temperature 1."""
        return dataclasses.replace(self, probabilities=self.raw)

    def only(self, chosen: NDArray[np.bool_ | np.intp]) -> "Pool":
        """Keep some of the clips, by a mask or in the order of indices."""
        return dataclasses.replace(
            self,
            **{name: getattr(self, name)[chosen] for name in _COLUMNS},
            probabilities=self.probabilities[:, chosen],
            raw=self.raw[:, chosen],
        )

    def restricted(self, labels: Sequence[str]) -> "Pool":
        """Restrict the network to some of its labels, which all clips must have."""
        places = [self.labels.index(label) for label in labels]
        parts = [p[:, :, places] for p in (self.probabilities, self.raw)]
        shares = [part / part.sum(axis=2, keepdims=True) for part in parts]
        truth = np.array([places.index(true) for true in self.truth], np.intp)
        return dataclasses.replace(
            self, truth=truth, labels=tuple(labels), probabilities=shares[0], raw=shares[1]
        )


def pool(rows: Sequence[Row], folds: Sequence[Posteriors], heard: Sequence[str]) -> Pool:
    """Put the folds of one seed together.

    Parameters
    ----------
    rows : sequence of Row
        Of one seed.
    folds : sequence of Posteriors
        Of the same rows.
    heard : sequence of str
        Lengths of speech to take; all folds have them.

    Raises
    ------
    SerError
        If a clip is in the test of two folds.
    """
    labels = in_order(label for fold in folds for label in fold.labels)
    parts = [
        pool_of_fold(row.fold, fold, labels, heard) for row, fold in zip(rows, folds, strict=True)
    ]

    def joined(column: str, axis: int = 0) -> Any:
        return np.concatenate([getattr(part, column) for part in parts], axis=axis)

    pooled = dataclasses.replace(
        parts[0],
        **{column: joined(column) for column in _COLUMNS},
        probabilities=joined("probabilities", axis=1),
        raw=joined("raw", axis=1),
    )
    pooled = pooled.only(np.argsort(pooled.names, kind="stable"))
    twice = pooled.names[1:][pooled.names[1:] == pooled.names[:-1]]
    if len(twice):
        raise SerError(
            f"{twice[0]} was tested in two folds of seed {rows[0].seed}: the recordings have "
            "changed between them; give another --report-dir"
        )
    return _tempered(pooled, heard.index(rows[0].window), rows[0].temperature or 1.0)


def ensemble(pools: Sequence[Pool], heard: int) -> Pool:
    """Average the probabilities of several seeds, as one graph of the networks does, then temper.

    Parameters
    ----------
    pools : sequence of Pool
    heard : int
        Length of speech that decides the temperatures.

    Raises
    ------
    SerError
        If the seeds were tested on different clips.
    """
    first = pools[0]
    if any(not np.array_equal(first.names, other.names) for other in pools):
        raise SerError("the seeds were tested on different clips; the recordings have changed")
    mean = np.mean([one.raw for one in pools], axis=0)
    return _tempered(dataclasses.replace(first, raw=mean), heard, alone=1.0)


def normalised_by_speaker(pool: Pool, seed: int) -> Pool | None:
    """Take from each answer what the speaker's earlier answers had above those of all voices.

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
        None where there is a single fold, so that no other speaker was heard.
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


def answers_of_folds(folder: Path, labels: tuple[str, ...]) -> HeldOutAnswers:
    """Read the answers of a cross-validation to the clips held out from each of its networks.

    Every clip was answered by a network that had not heard it, trained on a few speakers less
    than a model of all of them.

    Parameters
    ----------
    folder : Path
        Report folder of ``ser-train cross-validate``.
    labels : tuple of str
        Of the model that they shall calibrate.

    Raises
    ------
    SerError
        If it was of other labels, or answers are missing or damaged.
    """
    ledger = Ledger(folder)
    parts = []
    rows = ledger.rows()
    for row in rows:
        if row.labels != labels:
            raise SerError(
                f"{folder}: measured the labels {', '.join(row.labels)}, and the model has "
                f"{', '.join(labels)}; hold speakers out with --validation-speakers"
            )
        answers = ledger.posteriors(row)
        parts.append((answers.probabilities[answers.heard.index(row.window)], answers.truth))
    clips = sum(len(truth) for _, truth in parts)
    protocol = rows[0].configuration.protocol
    return HeldOutAnswers(
        tuple(parts), f"{clips} answers of the networks of {protocol} to clips held out from them"
    )


def _tempered(one: Pool, heard: int, alone: float) -> Pool:
    """Temper each fold so that the answers to the clips of all other folds fit best.

    Two speakers who are held out for it tell less: their voices decide. A fold that is alone gets
    the temperature ``alone``.
    """
    probabilities, temperatures = np.zeros_like(one.raw), {}
    for fold in np.unique(one.folds).tolist():
        own = one.folds == fold
        others = [(one.raw[heard, ~own], one.truth[~own])]
        temperatures[fold] = alone if own.all() else round(fit_temperature(others), 4)
        probabilities[:, own] = with_temperature(one.raw[:, own], temperatures[fold])
    probabilities[one.raw == 0] = 0.0
    probabilities /= probabilities.sum(axis=2, keepdims=True)
    return dataclasses.replace(one, probabilities=probabilities, temperatures=temperatures)


def pool_of_fold(
    number: int, fold: Posteriors, labels: tuple[str, ...], heard: Sequence[str]
) -> Pool:
    """Return the clips of one fold, with a column for each label of all folds."""
    places = np.array([labels.index(label) for label in fold.labels], np.intp)
    raw = fold.probabilities[[fold.heard.index(name) for name in heard]]
    wide = np.zeros((*raw.shape[:2], len(labels)))
    wide[..., places] = raw
    numbers = np.full(len(fold.names), number)
    return Pool(
        fold.names, fold.speakers, numbers, places[fold.truth], labels, tuple(heard), wide, wide
    )


def _normalised(
    probabilities: NDArray[np.float64], pool: Pool, order: NDArray[np.intp]
) -> NDArray[np.float64]:
    logarithms = np.log(np.maximum(probabilities, _LEAST))
    result = np.empty_like(logarithms)
    for fold, speaker in sorted(set(zip(pool.folds.tolist(), pool.speakers.tolist(), strict=True))):
        is_own = (pool.folds == fold) & (pool.speakers == speaker)
        own = order[is_own[order]]
        everyone = logarithms[pool.folds != fold].mean(axis=0)
        heard = np.arange(len(own))[:, np.newaxis]
        before = np.cumsum(logarithms[own], axis=0) - logarithms[own]
        mean = (_PRIOR_CLIPS * everyone + before) / (_PRIOR_CLIPS + heard)
        result[own] = logarithms[own] - mean + everyone
    normalised: NDArray[np.float64] = scipy.special.softmax(result, axis=1)
    return normalised
