"""Chance in figures: how far other speakers or other labels would move them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_train.metrics import ECE_BINS, calibration_error, confidence_bins

SPEAKER_DRAWS = 2000
LABEL_DRAWS = 200
_SEED = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """The middle 95 % of repeated draws."""

    low: float
    high: float


def speaker_intervals(
    right: NDArray[np.float64], clips: NDArray[np.int64]
) -> tuple[Interval, Interval]:
    """Bootstrap UAR and WA over speakers: the choice of speakers is the largest part of chance.

    Parameters
    ----------
    right : ndarray, shape (speakers, labels)
        Clips that are right; of several networks the mean.
    clips : ndarray of int, shape (speakers, labels)
        Clips that there are.

    Returns
    -------
    tuple of Interval
        Of UAR, the mean recall over the labels that a draw has, and of WA.
    """
    speakers = len(clips)
    random = np.random.default_rng(_SEED)
    weights = random.multinomial(speakers, np.full(speakers, 1.0 / speakers), SPEAKER_DRAWS)
    drawn_right, drawn = weights @ right, weights @ clips
    recalls = drawn_right / np.where(drawn > 0, drawn, np.nan)
    accuracies = drawn_right.sum(axis=1) / drawn.sum(axis=1)
    return _middle(np.nanmean(recalls, axis=1)), _middle(accuracies)


def excess_calibration_error(probabilities: NDArray[np.float64], truth: NDArray[np.intp]) -> float:
    """Return the calibration error less the one that a perfectly calibrated model would show.

    With finitely many clips even honest confidence misses the accuracy of a bin. The mean error
    over labels that are drawn from the model's own probabilities is that part; whether a drawn
    label is the predicted one depends on the confidence alone.
    """
    confidence = probabilities.max(axis=1)
    member = np.eye(ECE_BINS)[confidence_bins(confidence)]
    random = np.random.default_rng(_SEED)
    right = random.random((LABEL_DRAWS, len(truth))) < confidence
    gaps = np.abs(right @ member - confidence @ member)
    by_chance = float(gaps.sum(axis=1).mean()) / len(truth)
    return calibration_error(probabilities, truth) - by_chance


def _middle(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, (0.025, 0.975))
    return Interval(float(low), float(high))
