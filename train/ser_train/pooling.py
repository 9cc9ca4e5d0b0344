"""The finished folds of one seed as one table of answers."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_train.corpora import LABELS
from ser_train.ledger import Ledger, Row
from ser_train.metrics import fit_shared_temperature, with_temperature
from ser_train.posteriors import Posteriors


@dataclass(frozen=True, slots=True)
class Pool:
    """Test clips of several folds, sorted by name."""

    names: NDArray[np.str_]
    speakers: NDArray[np.str_]
    folds: NDArray[np.intp]
    truth: NDArray[np.intp]
    """Indices into ``labels``."""
    labels: tuple[str, ...]
    """Of all folds, in the order of `LABELS`; one that a fold's network lacks has probability 0."""
    heard: tuple[str, ...]
    probabilities: NDArray[np.float64]
    """(heard, clips, labels), tempered."""
    raw: NDArray[np.float64]
    """The same at temperature 1."""

    def only(self, chosen: NDArray[np.bool_]) -> "Pool":
        """Keep some of the clips."""
        return Pool(
            self.names[chosen],
            self.speakers[chosen],
            self.folds[chosen],
            self.truth[chosen],
            self.labels,
            self.heard,
            self.probabilities[:, chosen],
            self.raw[:, chosen],
        )

    def restricted(self, labels: Sequence[str]) -> "Pool":
        """Let the network answer with some of its labels only, which all clips must have."""
        places = [self.labels.index(label) for label in labels]
        parts = [p[:, :, places] for p in (self.probabilities, self.raw)]
        shares = [part / part.sum(axis=2, keepdims=True) for part in parts]
        truth = np.array([places.index(true) for true in self.truth], np.intp)
        return dataclasses.replace(
            self, truth=truth, labels=tuple(labels), probabilities=shares[0], raw=shares[1]
        )


def pool(ledger: Ledger, rows: Sequence[Row]) -> tuple[Pool, dict[int, float]]:
    """Put the folds of one seed together.

    Parameters
    ----------
    ledger : Ledger
    rows : sequence of Row
        Of one seed.

    Returns
    -------
    tuple of Pool and dict
        The temperature of each fold; it is 1 for a single fold without validation speakers.

    Raises
    ------
    SerError
        If a clip is in the test of two folds.
    """
    folds = [ledger.posteriors(row) for row in rows]
    temperatures = _temperatures(rows, folds)
    every = {label for fold in folds for label in fold.labels}
    labels = tuple(label for label in LABELS if label in every)
    names = np.concatenate([fold.names for fold in folds])
    order = np.argsort(names, kind="stable")
    twice = names[order][1:][names[order][1:] == names[order][:-1]]
    if len(twice):
        raise SerError(f"{ledger.folder}: {twice[0]} was tested in two folds of one seed")
    tempered = [
        with_temperature(f.probabilities, t) for f, t in zip(folds, temperatures, strict=True)
    ]
    return Pool(
        names[order],
        np.concatenate([fold.speakers for fold in folds])[order],
        np.concatenate([[row.fold] * len(f.names) for row, f in zip(rows, folds, strict=True)])[
            order
        ],
        np.concatenate([_places(fold, labels)[fold.truth] for fold in folds])[order],
        labels,
        folds[0].heard,
        np.concatenate(
            [_spread(p, f, labels) for p, f in zip(tempered, folds, strict=True)], axis=1
        )[:, order],
        np.concatenate([_spread(f.probabilities, f, labels) for f in folds], axis=1)[:, order],
    ), dict(zip((row.fold for row in rows), temperatures, strict=True))


def ensemble(pools: Sequence[Pool]) -> Pool:
    """Average the tempered probabilities of several seeds, as one graph of the networks does.

    Raises
    ------
    SerError
        If the seeds were tested on different clips.
    """
    first = pools[0]
    if any(not np.array_equal(first.names, other.names) for other in pools):
        raise SerError("the seeds were tested on different clips; the recordings have changed")
    return dataclasses.replace(
        first,
        probabilities=np.mean([one.probabilities for one in pools], axis=0),
        raw=np.mean([one.raw for one in pools], axis=0),
    )


def _temperatures(rows: Sequence[Row], folds: Sequence[Posteriors]) -> list[float]:
    """Where nobody was held out, the other folds decide."""
    found = []
    for index, row in enumerate(rows):
        others = [fold for other, fold in enumerate(folds) if other != index]
        heard = f"{row.configuration.window_seconds:g}"
        if row.temperature is not None:
            found.append(row.temperature)
        elif others:
            parts = [(f.probabilities[f.heard.index(heard)], f.truth) for f in others]
            found.append(round(fit_shared_temperature(parts), 4))
        else:
            found.append(1.0)
    return found


def _places(fold: Posteriors, labels: Sequence[str]) -> NDArray[np.intp]:
    return np.array([labels.index(label) for label in fold.labels], np.intp)


def _spread(
    probabilities: NDArray[np.float64], fold: Posteriors, labels: Sequence[str]
) -> NDArray[np.float64]:
    """Give a column to every label."""
    wide = np.zeros((*probabilities.shape[:2], len(labels)))
    wide[:, :, _places(fold, labels)] = probabilities
    return wide
