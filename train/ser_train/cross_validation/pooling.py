"""The finished folds of one seed as one table of answers."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_train.corpora import LABELS
from ser_train.cross_validation.ledger import Row
from ser_train.cross_validation.posteriors import Posteriors
from ser_train.metrics import fit_shared_temperature, with_temperature


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


def pool(
    rows: Sequence[Row], folds: Sequence[Posteriors], heard: Sequence[str]
) -> tuple[Pool, dict[int, float]]:
    """Put the folds of one seed together.

    Parameters
    ----------
    rows : sequence of Row
        Of one seed.
    folds : sequence of Posteriors
        Of the same rows.
    heard : sequence of str
        What of each clip to take; all of them have it.

    Returns
    -------
    tuple of Pool and dict
        The temperature of each fold; it is 1 for a single fold without validation speakers.

    Raises
    ------
    SerError
        If a clip is in the test of two folds.
    """
    temperatures = _temperatures(rows, folds)
    every = {label for fold in folds for label in fold.labels}
    labels = tuple(label for label in LABELS if label in every)
    names = np.concatenate([fold.names for fold in folds])
    order = np.argsort(names, kind="stable")
    twice = names[order][1:][names[order][1:] == names[order][:-1]]
    if len(twice):
        raise SerError(
            f"{twice[0]} was tested in two folds of seed {rows[0].seed}: the recordings have "
            "changed between them; give another --report-dir"
        )
    numbers = [np.full(len(fold.names), row.fold) for row, fold in zip(rows, folds, strict=True)]
    raw = [_chosen(fold, heard) for fold in folds]
    tempered = [with_temperature(p, t) for p, t in zip(raw, temperatures, strict=True)]
    return Pool(
        names[order],
        np.concatenate([fold.speakers for fold in folds])[order],
        np.concatenate(numbers)[order],
        np.concatenate([_places(fold, labels)[fold.truth] for fold in folds])[order],
        labels,
        tuple(heard),
        _side_by_side(tempered, folds, labels)[:, order],
        _side_by_side(raw, folds, labels)[:, order],
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
        if row.temperature is not None:
            found.append(row.temperature)
        elif others:
            parts = [(f.probabilities[f.heard.index(row.window)], f.truth) for f in others]
            found.append(round(fit_shared_temperature(parts), 4))
        else:
            found.append(1.0)
    return found


def _places(fold: Posteriors, labels: Sequence[str]) -> NDArray[np.intp]:
    return np.array([labels.index(label) for label in fold.labels], np.intp)


def _chosen(fold: Posteriors, heard: Sequence[str]) -> NDArray[np.float64]:
    return fold.probabilities[[fold.heard.index(name) for name in heard]]


def _side_by_side(
    parts: Sequence[NDArray[np.float64]], folds: Sequence[Posteriors], labels: Sequence[str]
) -> NDArray[np.float64]:
    """Give a column to every label, and put the clips of all folds into one array."""
    wide = []
    for part, fold in zip(parts, folds, strict=True):
        wide.append(np.zeros((*part.shape[:2], len(labels))))
        wide[-1][:, :, _places(fold, labels)] = part
    return np.concatenate(wide, axis=1)
