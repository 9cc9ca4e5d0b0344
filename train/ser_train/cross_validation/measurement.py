"""A cross-validation as far as it is finished, measured from its ledger alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser_live.errors import SerError
from ser_train.cross_validation.figures import Figure, Figures, figure_of, figures_of, right_answers
from ser_train.cross_validation.ledger import Ledger, Row
from ser_train.cross_validation.pooling import Pool, ensemble, pool
from ser_train.cross_validation.posteriors import WHOLE
from ser_train.cross_validation.protocol import Protocol
from ser_train.cross_validation.protocols import find_protocol
from ser_train.cross_validation.speaker_normalisation import normalised_by_speaker
from ser_train.metrics import score


@dataclass(frozen=True, slots=True)
class FoldFigures:
    """One fold, over all seeds."""

    fold: int
    name: str
    validation_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]
    training_clips: int
    test_clips: int
    uar: Figure
    wa: Figure
    temperatures: tuple[float, ...]
    """One for each seed."""
    among_tested: Figure | None = None
    """UAR where the network chooses among the tested labels only."""
    untested_mass: float | None = None
    """Mean probability of labels that are not tested."""
    missing_mass: float | None = None
    """Mean probability of labels that the tested corpus lacks."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A cross-validation as far as it is finished."""

    rows: tuple[Row, ...]
    """Of the seeds that count, by seed and fold."""
    protocol: Protocol
    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    folds: int
    """Of the protocol."""
    left_out: tuple[int, ...]
    """Seeds that are not finished."""
    pools: tuple[Pool, ...]
    """One for each seed."""
    ensemble: Pool | None
    """None for a single seed."""
    headline: int
    """Index of the window among ``heard``."""
    single: Figures
    together: Figures | None
    """Of the ensemble."""
    untempered: Figures
    among_tested: Figures | None
    """Where the network chooses among the tested labels only; None where all are tested."""
    together_among_tested: Figures | None
    """The same of the ensemble."""
    normalised: Figures | None
    """Where each voice's earlier clips count; None where that says nothing."""
    per_fold: tuple[FoldFigures, ...]

    @property
    def heard(self) -> str:
        """What of each clip the headline figures rest on, in words."""
        seconds = self.pools[0].heard[self.headline]
        if seconds == WHOLE:
            return "the whole speech of each clip, silence trimmed"
        return f"the first {seconds} s from the speech onset"

    def mean_over_folds(self) -> dict[str, float] | None:
        """Give mean UARs in which each unseen corpus counts alike; None where all are tested."""
        among = [fold.among_tested.mean for fold in self.per_fold if fold.among_tested]
        if not among:
            return None
        uar = [fold.uar.mean for fold in self.per_fold]
        return {"uar": float(np.mean(uar)), "uar_among_tested": float(np.mean(among))}

    def speakers(self) -> dict[str, float]:
        """Give the accuracy for each test speaker, mean over seeds."""
        names = self.pools[0].speakers
        right = np.mean([right_answers(one, self.headline) for one in self.pools], axis=0)
        return {name: float(right[names == name].mean()) for name in np.unique(names).tolist()}

    def heard_figures(self) -> dict[str, tuple[float, float]]:
        """Give mean UAR and WA for each length of speech that was heard."""
        found = {}
        for index, name in enumerate(self.pools[0].heard):
            scores = [score(one.probabilities[index], one.truth) for one in self.pools]
            uar, wa = np.mean([s.uar for s in scores]), np.mean([s.wa for s in scores])
            found[name] = (float(uar), float(wa))
        return found


def measure_ledger(ledger: Ledger) -> Measurement:
    """Compute all figures of the seeds that are finished; of the first if none is.

    Raises
    ------
    SerError
        If the ledger is empty or does not fit its posteriors.
    """
    rows = ledger.rows()
    if not rows:
        raise SerError(
            f"{ledger.folder} holds no finished fold; run ser-train cross-validate with this "
            "--report-dir first"
        )
    ledger.require(rows[0].configuration)
    of_seed = {row.seed: [r for r in rows if r.seed == row.seed] for row in rows}
    complete = [seed for seed, own in of_seed.items() if len(own) == rows[0].folds]
    seeds = tuple(complete or list(of_seed)[:1])
    pooled = _pooled(ledger, [of_seed[seed] for seed in seeds])
    pools = tuple(one for one, _ in pooled)
    protocol = find_protocol(rows[0].configuration.protocol)
    headline = pools[0].heard.index(rows[0].window)
    together = ensemble(pools) if len(pools) > 1 else None
    among = [one.restricted(protocol.tested) for one in pools] if protocol.tested else []
    return Measurement(
        rows=tuple(row for seed in seeds for row in of_seed[seed]),
        protocol=protocol,
        labels=pools[0].labels,
        seeds=seeds,
        folds=rows[0].folds,
        left_out=tuple(seed for seed in of_seed if seed not in seeds),
        pools=pools,
        ensemble=together,
        headline=headline,
        single=figures_of(pools, headline),
        together=figures_of([together], headline) if together else None,
        untempered=figures_of(pools, headline, tempered=False),
        among_tested=figures_of(among, headline) if among else None,
        together_among_tested=figures_of([together.restricted(protocol.tested)], headline)
        if together and among
        else None,
        normalised=_normalised(pools, seeds, headline, protocol),
        per_fold=_per_fold(of_seed, seeds, pooled, headline, protocol),
    )


def _normalised(
    pools: Sequence[Pool], seeds: Sequence[int], headline: int, protocol: Protocol
) -> Figures | None:
    """Nothing of known voices, nor where labels are missing that the network can give."""
    if not protocol.speaker_independent or protocol.tested:
        return None
    found = [normalised_by_speaker(one, seed) for one, seed in zip(pools, seeds, strict=True)]
    known = [one for one in found if one is not None]
    return figures_of(known, headline) if known else None


def _pooled(
    ledger: Ledger, of_seeds: Sequence[Sequence[Row]]
) -> list[tuple[Pool, dict[int, float]]]:
    """Pool each seed, with what all of their folds heard."""
    folds = [[ledger.posteriors(row) for row in rows] for rows in of_seeds]
    every = [set(fold.heard) for of_seed in folds for fold in of_seed]
    heard = [name for name in folds[0][0].heard if all(name in names for names in every)]
    return [pool(rows, own, heard) for rows, own in zip(of_seeds, folds, strict=True)]


def _per_fold(
    of_seed: dict[int, list[Row]],
    seeds: Sequence[int],
    pooled: Sequence[tuple[Pool, dict[int, float]]],
    heard: int,
    protocol: Protocol,
) -> tuple[FoldFigures, ...]:
    return tuple(
        _fold(row, [one for one, _ in pooled], [t[row.fold] for _, t in pooled], heard, protocol)
        for row in of_seed[seeds[0]]
    )


def _fold(
    row: Row,
    pools: Sequence[Pool],
    temperatures: Sequence[float],
    heard: int,
    protocol: Protocol,
) -> FoldFigures:
    own = [one.only(one.folds == row.fold) for one in pools]
    scores = [score(one.probabilities[heard], one.truth) for one in own]
    lacking = [label for label in own[0].labels if label not in row.corpus_labels]
    among = [one.restricted(protocol.tested) for one in own] if protocol.tested else []
    untested = [label for label in own[0].labels if label not in protocol.tested]
    return FoldFigures(
        fold=row.fold,
        name=row.fold_name,
        validation_speakers=row.validation_speakers,
        test_speakers=row.test_speakers,
        training_clips=row.training_clips,
        test_clips=row.test_clips,
        uar=figure_of([s.uar for s in scores]),
        wa=figure_of([s.wa for s in scores]),
        temperatures=tuple(temperatures),
        among_tested=figure_of([score(o.probabilities[heard], o.truth).uar for o in among])
        if among
        else None,
        untested_mass=_mass(own, heard, untested) if among else None,
        missing_mass=_mass(own, heard, lacking) if among else None,
    )


def _mass(pools: Sequence[Pool], heard: int, labels: Sequence[str]) -> float:
    """Mean probability that some labels get together."""
    places = [pools[0].labels.index(label) for label in labels]
    return float(np.mean([one.probabilities[heard][:, places].sum(axis=1) for one in pools]))
