"""Figures of merit of several seeds together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_train.cross_validation.pooling import Pool
from ser_train.evaluation.resampling import Interval, excess_calibration_error, speaker_intervals
from ser_train.metrics import Scores, score


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of several seeds."""

    mean: float
    sd: float | None
    """Over seeds; None for a single one."""
    seeds: tuple[float, ...]
    interval: Interval | None = None
    """95 %, over speakers; None where it is not computed or there is one speaker."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured, pooled over the folds of each seed."""

    clips: int
    uar: Figure
    """Unweighted average recall, over the labels that are tested."""
    wa: Figure
    """Accuracy."""
    ece: Figure
    """Calibration error, 15 bins."""
    excess_ece: Figure
    """Less what a perfectly calibrated model would show on as many clips."""
    nll: Figure
    """Mean negative log-likelihood, in nats."""
    wa_of_surest: Figure
    """Accuracy of the 80 % of clips with the highest confidence."""
    recalls: dict[str, float]
    """Mean over seeds, for each label that is tested."""


def figures_of(pools: Sequence[Pool], heard: int, tempered: bool = True) -> Figures:
    """Measure each seed, and what the seeds have in common."""
    answers = [(one.probabilities if tempered else one.raw)[heard] for one in pools]
    scores = [score(p, one.truth) for p, one in zip(answers, pools, strict=True)]
    excess = [excess_calibration_error(p, one.truth) for p, one in zip(answers, pools, strict=True)]
    uar, wa = _intervals(pools, heard)
    return Figures(
        clips=scores[0].count,
        uar=figure_of([s.uar for s in scores], uar),
        wa=figure_of([s.wa for s in scores], wa),
        ece=figure_of([s.ece for s in scores]),
        excess_ece=figure_of(excess),
        nll=figure_of([s.nll for s in scores]),
        wa_of_surest=figure_of([s.wa_of_surest for s in scores]),
        recalls=_recalls(scores, pools[0].labels),
    )


def figure_of(values: Sequence[float], interval: Interval | None = None) -> Figure:
    """Sum up one value for each seed."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Figure(float(np.mean(values)), sd, tuple(values), interval)


def right_answers(one: Pool, heard: int) -> NDArray[np.bool_]:
    """Say of each clip whether the most probable label is the true one."""
    right: NDArray[np.bool_] = one.probabilities[heard].argmax(axis=1) == one.truth
    return right


def _intervals(pools: Sequence[Pool], heard: int) -> tuple[Interval | None, Interval | None]:
    first = pools[0]
    speakers, place = np.unique(first.speakers, return_inverse=True)
    if len(speakers) < 2:
        return None, None
    clips = np.zeros((len(speakers), len(first.labels)), np.int64)
    right = np.zeros(clips.shape)
    np.add.at(clips, (place, first.truth), 1)
    np.add.at(
        right, (place, first.truth), np.mean([right_answers(p, heard) for p in pools], axis=0)
    )
    return speaker_intervals(right, clips)


def _recalls(scores: Sequence[Scores], labels: Sequence[str]) -> dict[str, float]:
    columns = zip(labels, zip(*(s.recalls for s in scores), strict=True), strict=True)
    return {
        label: float(np.mean([value for value in column if value is not None]))
        for label, column in columns
        if None not in column
    }
