"""Figures of a cross-validation as far as it is finished, measured from its ledger alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_train.cross_validation.ledger import Ledger, Row
from ser_train.cross_validation.pooling import Pool, ensemble, normalised_by_speaker, pool
from ser_train.cross_validation.protocols import Protocol, find_protocol
from ser_train.metrics import (
    FEWEST_SPEAKERS,
    Interval,
    Scores,
    score,
    speaker_intervals,
    uncertain_threshold,
)
from ser_train.models.registry import NETWORKS


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of several seeds."""

    mean: float
    sd: float | None
    """Over seeds; None for a single one."""
    seeds: tuple[float, ...]
    interval: Interval | None = None
    """95 %, over speakers; None where it is not computed or there are fewer than three."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of merit, pooled over the folds of each seed."""

    clips: int
    uar: Figure
    """Unweighted average recall, over the labels that are tested."""
    wa: Figure
    """Accuracy."""
    ece: Figure
    """Calibration error, 15 bins."""
    debiased_ece: Figure
    """Less what chance adds where clips are few."""
    nll: Figure
    """Mean negative log-likelihood, in nats."""
    wa_of_surest: Figure
    """Accuracy of the 80 % of clips with the highest confidence."""
    coverage: Figure
    """Share of the clips with a sure answer."""
    wa_of_sure: Figure
    """Accuracy of these."""
    recalls: dict[str, float]
    """Mean over seeds, for each label that is tested."""


@dataclass(frozen=True, slots=True)
class SpeakerFigures:
    """Figures of one speaker, over all seeds."""

    speaker: str
    clips: int
    uar: float
    """Over the labels that the speaker has."""
    wa: float


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
    coverage: Figure
    """As of `Figures`."""
    wa_of_sure: Figure
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
    seeds: tuple[int, ...]
    left_out: tuple[int, ...]
    """Seeds that are not finished."""
    pools: tuple[Pool, ...]
    """One for each seed."""
    ensemble: Pool | None
    """None for a single seed."""
    single: Figures
    together: Figures | None
    """Of the ensemble."""
    untempered: Figures
    among_tested: Figures | None
    """Of networks that choose among the tested labels only; None where all are tested."""
    together_among_tested: Figures | None
    """The same of the ensemble."""
    normalised: Figures | None
    """With each voice's earlier clips in mind; None where that says nothing."""
    per_fold: tuple[FoldFigures, ...]

    @property
    def headline(self) -> int:
        """Index of the network's window among what was heard."""
        return self.pools[0].heard.index(self.rows[0].window)

    @property
    def words(self) -> str:
        """Everything that a reader must know to believe a figure."""
        known = NETWORKS.get(self.rows[0].configuration.network.split("+")[0])
        chosen_on, words = known.chosen_on if known else "", self.protocol.words
        return f"{words}; the recipe was chosen on {chosen_on}" if chosen_on else words

    @property
    def heard(self) -> str:
        """The part of each clip that the headline figures rest on, in words."""
        return f"the first {self.rows[0].window} s from the speech onset"

    def mean_over_folds(self) -> dict[str, float] | None:
        """Return mean UARs in which each unseen corpus counts alike; None where all are tested."""
        among = [fold.among_tested.mean for fold in self.per_fold if fold.among_tested]
        if not among:
            return None
        return {
            "uar": float(np.mean([fold.uar.mean for fold in self.per_fold])),
            "uar_among_tested": float(np.mean(among)),
            "coverage": float(np.mean([fold.coverage.mean for fold in self.per_fold])),
            "wa_of_sure": float(np.mean([fold.wa_of_sure.mean for fold in self.per_fold])),
        }

    def speakers(self) -> tuple[SpeakerFigures, ...]:
        """Return the figures of each test speaker, mean over seeds."""
        return speaker_figures(self.pools, self.headline)

    def heard_figures(self) -> dict[str, tuple[float, float]]:
        """Return mean UAR and WA for each length of speech that was heard."""
        found = {}
        for index, name in enumerate(self.pools[0].heard):
            scores = _scores(self.pools, index)
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
    pools = _pooled(ledger, [of_seed[seed] for seed in seeds])
    protocol = find_protocol(rows[0].configuration.protocol)
    headline = pools[0].heard.index(rows[0].window)
    together = (ensemble(pools, headline),) if len(pools) > 1 else ()
    return Measurement(
        rows=tuple(row for seed in seeds for row in of_seed[seed]),
        protocol=protocol,
        seeds=seeds,
        left_out=tuple(seed for seed in of_seed if seed not in seeds),
        pools=pools,
        ensemble=together[0] if together else None,
        single=figures_of(pools, headline),
        together=_optional(together, headline),
        untempered=figures_of([one.untempered for one in pools], headline),
        among_tested=_optional(_among(pools, protocol), headline),
        together_among_tested=_optional(_among(together, protocol), headline),
        normalised=_optional(_normalised(pools, seeds, protocol), headline),
        per_fold=tuple(_fold(row, pools, headline, protocol) for row in of_seed[seeds[0]]),
    )


def figures_of(pools: Sequence[Pool], heard: int) -> Figures:
    """Measure each seed, and what the seeds have in common."""
    scores = _scores(pools, heard)
    speakers, right, clips = count_by_speaker(pools, heard)
    uar = wa = None
    if len(speakers) >= FEWEST_SPEAKERS:
        uar, wa = speaker_intervals(right, clips)
    recalls = zip(*(s.recalls for s in scores), strict=True)
    coverage, wa_of_sure = _of_sure(pools, heard)
    return Figures(
        clips=scores[0].count,
        uar=_figure([s.uar for s in scores], uar),
        wa=_figure([s.wa for s in scores], wa),
        ece=_figure([s.ece for s in scores]),
        debiased_ece=_figure([s.debiased_ece for s in scores]),
        nll=_figure([s.nll for s in scores]),
        wa_of_surest=_figure([s.wa_of_surest for s in scores]),
        coverage=coverage,
        wa_of_sure=wa_of_sure,
        recalls={
            label: float(np.mean([value for value in own if value is not None]))
            for label, own in zip(pools[0].labels, recalls, strict=True)
            if None not in own
        },
    )


def count_by_speaker(
    pools: Sequence[Pool], heard: int, like: Pool | None = None
) -> tuple[list[str], NDArray[np.float64], NDArray[np.int64]]:
    """Count the right answers of one or several seeds.

    Parameters
    ----------
    pools : sequence of Pool
    heard : int
    like : Pool, optional
        Of the same clips, whose labels are the columns.

    Returns
    -------
    list of str
        Speakers.
    ndarray, shape (speakers, labels)
        Right answers, mean over seeds.
    ndarray of int, shape (speakers, labels)
        Clips.
    """
    first = like or pools[0]
    speakers, place = np.unique(first.speakers, return_inverse=True)
    clips = np.zeros((len(speakers), len(first.labels)), np.int64)
    right = np.zeros(clips.shape)
    np.add.at(clips, (place, first.truth), 1)
    answers = [one.probabilities[heard].argmax(axis=1) == one.truth for one in pools]
    np.add.at(right, (place, first.truth), np.mean(answers, axis=0))
    return speakers.tolist(), right, clips


def speaker_figures(pools: Sequence[Pool], heard: int) -> tuple[SpeakerFigures, ...]:
    """Measure each speaker."""
    found = []
    for speaker, right, clips in zip(*count_by_speaker(pools, heard), strict=True):
        uar, count = (right[clips > 0] / clips[clips > 0]).mean(), int(clips.sum())
        found.append(SpeakerFigures(speaker, count, float(uar), float(right.sum() / count)))
    return tuple(found)


def _of_sure(pools: Sequence[Pool], heard: int, fold: int | None = None) -> tuple[Figure, Figure]:
    """Return coverage and accuracy of the sure answers, of one fold or of all.

    Those reach the threshold that the answers to the clips of all other folds set, as they do the
    temperature: no network had heard them. A fold that is alone sets its own.
    """
    found = []
    for one in pools:
        shares, is_sure = one.probabilities[heard], np.zeros(len(one.truth), bool)
        for number in np.unique(one.folds).tolist():
            own = one.folds == number
            threshold = uncertain_threshold([shares[own if own.all() else ~own]])
            is_sure |= own & (shares.max(axis=1) >= threshold)
        chosen = one.folds == fold if fold is not None else np.ones(len(shares), bool)
        right = (shares.argmax(axis=1) == one.truth)[chosen & is_sure]
        found.append((len(right) / chosen.sum(), right.mean() if len(right) else 0.0))
    return _figure([float(c) for c, _ in found]), _figure([float(wa) for _, wa in found])


def _optional(pools: Sequence[Pool], heard: int) -> Figures | None:
    return figures_of(pools, heard) if pools else None


def _figure(values: Sequence[float], interval: Interval | None = None) -> Figure:
    """Sum up one value for each seed."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Figure(float(np.mean(values)), sd, tuple(values), interval)


def _scores(pools: Sequence[Pool], heard: int) -> list[Scores]:
    return [score(one.probabilities[heard], one.truth) for one in pools]


def _among(pools: Sequence[Pool], protocol: Protocol) -> list[Pool]:
    """Let the networks choose among the tested labels only; empty where all are tested."""
    return [one.restricted(protocol.tested) for one in pools] if protocol.tested else []


def _normalised(pools: Sequence[Pool], seeds: Sequence[int], protocol: Protocol) -> list[Pool]:
    """Skip known voices, and protocols that do not test every label that a network can give."""
    if not protocol.speaker_independent or protocol.tested:
        return []
    found = [normalised_by_speaker(one, seed) for one, seed in zip(pools, seeds, strict=True)]
    return [one for one in found if one is not None]


def _pooled(ledger: Ledger, of_seeds: Sequence[Sequence[Row]]) -> tuple[Pool, ...]:
    """Pool each seed, with what all of their folds heard."""
    folds = [[ledger.posteriors(row) for row in rows] for rows in of_seeds]
    every = [set(fold.heard) for of_seed in folds for fold in of_seed]
    heard = [name for name in folds[0][0].heard if all(name in names for names in every)]
    return tuple(pool(rows, own, heard) for rows, own in zip(of_seeds, folds, strict=True))


def _fold(row: Row, pools: Sequence[Pool], heard: int, protocol: Protocol) -> FoldFigures:
    own = [one.only(one.folds == row.fold) for one in pools]
    scores, among = _scores(own, heard), _scores(_among(own, protocol), heard)
    coverage, wa_of_sure = _of_sure(pools, heard, row.fold)
    lacking = [label for label in own[0].labels if label not in row.corpus_labels]
    untested = [label for label in own[0].labels if label not in protocol.tested]
    return FoldFigures(
        fold=row.fold,
        name=row.fold_name,
        validation_speakers=row.validation_speakers,
        test_speakers=row.test_speakers,
        training_clips=row.training_clips,
        test_clips=row.test_clips,
        uar=_figure([s.uar for s in scores]),
        wa=_figure([s.wa for s in scores]),
        temperatures=tuple(one.temperatures[row.fold] for one in pools),
        coverage=coverage,
        wa_of_sure=wa_of_sure,
        among_tested=_figure([s.uar for s in among]) if among else None,
        untested_mass=_mass(own, heard, untested) if among else None,
        missing_mass=_mass(own, heard, lacking) if among else None,
    )


def _mass(pools: Sequence[Pool], heard: int, labels: Sequence[str]) -> float:
    """Return the mean probability that some labels get together."""
    places = [pools[0].labels.index(label) for label in labels]
    return float(np.mean([one.probabilities[heard][:, places].sum(axis=1) for one in pools]))
