"""Figures of merit: unweighted recall, accuracy, calibration, and the part of chance in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # loads its parts when they are asked for: they take a second
from numpy.typing import NDArray

ECE_BINS = 15
FEWEST_SPEAKERS = 3
"""That an interval rests on: two leave their spread unknown."""
_SMALLEST = 1e-12
KEPT_SHARE = 0.8
"""Of the clips, surest first, that a model may choose to answer."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures of merit on a set of clips."""

    count: int
    """Clips."""
    uar: float
    """Unweighted average recall, over the labels that occur."""
    wa: float
    """Weighted accuracy: the share of clips that are right."""
    recalls: tuple[float | None, ...]
    """One for each label; None where no clip has it."""
    nll: float
    """Mean negative log-likelihood, in nats."""
    ece: float
    """Expected calibration error over 15 bins of equal width."""
    debiased_ece: float
    """Less what chance adds; negative: less than chance alone would make."""
    wa_of_surest: float
    """Accuracy of the 80 % of clips with the highest confidence."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Clips of similar confidence."""

    confidence: float
    """Mean."""
    accuracy: float
    count: int


def score(probabilities: NDArray[np.float64], truth: NDArray[np.intp]) -> Scores:
    """Measure predictions.

    Parameters
    ----------
    probabilities : ndarray, shape (clips, labels)
    truth : ndarray of int, shape (clips,)
        Index of the true label.
    """
    right = probabilities.argmax(axis=1) == truth
    recalls = tuple(
        float(right[truth == label].mean()) if (truth == label).any() else None
        for label in range(probabilities.shape[1])
    )
    kept = max(1, round(KEPT_SHARE * len(truth)))
    return Scores(
        count=len(truth),
        uar=float(np.mean([recall for recall in recalls if recall is not None])),
        wa=float(right.mean()),
        recalls=recalls,
        nll=negative_log_likelihood(probabilities, truth),
        ece=calibration_error(probabilities, truth),
        debiased_ece=debiased_calibration_error(probabilities, truth),
        wa_of_surest=float(risk_coverage(probabilities, truth)[kept - 1]),
    )


def negative_log_likelihood(probabilities: NDArray[np.float64], truth: NDArray[np.intp]) -> float:
    """Return the mean negative log of the true label's probability."""
    chosen = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, _SMALLEST)).mean())


def confidence_bins(confidence: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the bin, of 15 of equal width, of each confidence."""
    return np.minimum((confidence * ECE_BINS).astype(np.intp), ECE_BINS - 1)


def reliability(
    probabilities: NDArray[np.float64], truth: NDArray[np.intp]
) -> tuple[ReliabilityBin, ...]:
    """Group clips by confidence into 15 bins of equal width; empty bins are left out."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    places = confidence_bins(confidence)
    members = [(confidence[places == k], right[places == k]) for k in np.unique(places)]
    return tuple(ReliabilityBin(float(c.mean()), float(r.mean()), len(c)) for c, r in members)


def calibration_error(probabilities: NDArray[np.float64], truth: NDArray[np.intp]) -> float:
    """Return the expected calibration error (Naeini et al. 2015; Guo et al. 2017)."""
    bins = reliability(probabilities, truth)
    gaps = sum(b.count * abs(b.accuracy - b.confidence) for b in bins)
    return gaps / len(truth)


def debiased_calibration_error(
    probabilities: NDArray[np.float64], truth: NDArray[np.intp]
) -> float:
    """Return the calibration error without what chance adds to it where clips are few.

    Even honest confidence misses the accuracy of a bin. The square of the gap is too large by the
    variance of that accuracy, which is subtracted; then comes the root of the mean over clips
    (Kumar, Liang and Ma 2019, "Verified uncertainty calibration"). A bin of one clip tells nothing.
    """
    bins = [one for one in reliability(probabilities, truth) if one.count > 1]
    squared = sum(
        b.count * ((b.accuracy - b.confidence) ** 2 - b.accuracy * (1 - b.accuracy) / (b.count - 1))
        for b in bins
    ) / max(1, sum(b.count for b in bins))
    return float(np.copysign(np.sqrt(abs(squared)), squared))


def confusion(probabilities: NDArray[np.float64], truth: NDArray[np.intp]) -> NDArray[np.int64]:
    """Count clips by true label (row) and predicted label (column)."""
    labels = probabilities.shape[1]
    counts = np.zeros((labels, labels), np.int64)
    np.add.at(counts, (truth, probabilities.argmax(axis=1)), 1)
    return counts


def fit_temperature(
    parts: Sequence[tuple[NDArray[np.float64], NDArray[np.intp]]], each_alike: bool = False
) -> float:
    """Find the temperature with the least negative log-likelihood.

    Parameters
    ----------
    parts : sequence of (probabilities, truth)
        One for each model or speaker, at temperature 1; their labels may differ.
    each_alike : bool
        Let each part count as much as any other, however many clips it has.

    Returns
    -------
    float
        From 0.25 to 8.
    """

    def loss(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        losses = [
            (1 if each_alike else len(truth))
            * negative_log_likelihood(with_temperature(probabilities, temperature), truth)
            for probabilities, truth in parts
        ]
        return sum(losses)

    bounds = (float(np.log(0.25)), float(np.log(8.0)))
    return float(np.exp(scipy.optimize.minimize_scalar(loss, bounds=bounds, method="bounded").x))


def with_temperature(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Divide the logits behind probabilities by a temperature."""
    logits = np.log(np.maximum(probabilities, _SMALLEST)) / temperature
    result: NDArray[np.float64] = scipy.special.softmax(logits, axis=-1)
    return result


def risk_coverage(
    probabilities: NDArray[np.float64], truth: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the accuracy of the k clips with the highest confidence, for k from 1 on."""
    right = probabilities.argmax(axis=1) == truth
    surest = np.argsort(-probabilities.max(axis=1), kind="stable")
    accuracy: NDArray[np.float64] = np.cumsum(right[surest]) / np.arange(1, len(truth) + 1)
    return accuracy


def uncertain_threshold(parts: Sequence[NDArray[np.float64]], each_alike: bool = False) -> float:
    """Return the confidence that 80 % of clips reach, within 0.2 to 0.6.

    Parameters
    ----------
    parts : sequence of ndarray, shape (clips, labels)
        One for each model or speaker.
    each_alike : bool
        Let each part count as much as any other, however many clips it has.
    """
    confidence = np.concatenate([probabilities.max(axis=1) for probabilities in parts])
    weights = np.concatenate(
        [np.full(len(part), 1 / len(part) if each_alike else 1.0) for part in parts]
    )
    threshold = float(
        np.quantile(confidence, 1.0 - KEPT_SHARE, weights=weights, method="inverted_cdf")
    )
    return round(min(max(threshold, 0.2), 0.6), 3)


def threshold_of_accuracy(
    parts: Sequence[tuple[NDArray[np.float64], NDArray[np.intp]]], accuracy: float
) -> float:
    """Return the lowest confidence from which on enough answers are right, within 0.2 to 0.6.

    Parameters
    ----------
    parts : sequence of (probabilities, truth)
        One for each speaker; each counts alike.
    accuracy : float
        Share of right ones among the answers at or above the threshold.
    """
    columns = [(p.max(axis=1), p.argmax(axis=1) == t, np.ones(len(t)) / len(t)) for p, t in parts]
    confidence, right, weights = np.concatenate(columns, axis=1)
    surest = np.argsort(-confidence, kind="stable")
    accuracies = np.cumsum((right * weights)[surest]) / np.cumsum(weights[surest])
    enough = confidence[surest][accuracies >= accuracy]
    return round(float(np.clip(enough.min(initial=0.6), 0.2, 0.6)), 3)


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds of 95 % confidence."""

    low: float
    high: float


def speaker_intervals(
    right: NDArray[np.float64], clips: NDArray[np.int64]
) -> tuple[Interval, Interval]:
    """Bound UAR and WA over speakers: the choice of speakers is the largest part of chance.

    The standard error comes from leaving out each speaker in turn (the jackknife; Efron and
    Tibshirani 1993, chapter 11), the width from Student's t.

    Parameters
    ----------
    right : ndarray, shape (speakers, labels)
        Clips that are right; of several networks the mean.
    clips : ndarray of int, shape (speakers, labels)
        Clips that there are.

    Returns
    -------
    tuple of Interval
        Of UAR, the mean recall over the labels that the speakers have, and of WA.
    """
    uars, accuracies = _each_left_out(right, clips)
    return _jackknifed(uars), _jackknifed(accuracies)


def paired_intervals(
    first: NDArray[np.float64], second: NDArray[np.float64], clips: NDArray[np.int64]
) -> tuple[Interval, Interval]:
    """Bound by how much UAR and WA of a second model exceed those of a first one.

    Both answered the same clips, so what makes a speaker hard is the same for both and leaves the
    difference. Parameters, method and order are those of `speaker_intervals`.
    """
    pairs = zip(_each_left_out(first, clips), _each_left_out(second, clips), strict=True)
    uar, wa = (_jackknifed(b - a, lowest=-1.0) for a, b in pairs)
    return uar, wa


def _each_left_out(
    right: NDArray[np.float64], clips: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return UAR and WA of all speakers, which come first, and without each of them."""
    kept_right, kept = (np.vstack((x.sum(axis=0), x.sum(axis=0) - x)) for x in (right, clips))
    recalls = kept_right / np.where(kept > 0, kept, np.nan)
    return np.nanmean(recalls, axis=1), kept_right.sum(axis=1) / kept.sum(axis=1)


def _jackknifed(values: NDArray[np.float64], lowest: float = 0.0) -> Interval:
    """Return the interval of a figure of all speakers, which comes first, and without each one."""
    whole, without, freedom = values[0], values[1:], len(values) - 2
    error = np.sqrt(freedom * without.var())
    half = scipy.special.stdtrit(freedom, 0.975) * error
    return Interval(float(max(lowest, whole - half)), float(min(1.0, whole + half)))
