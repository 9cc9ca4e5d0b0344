"""Measure a trained model on chosen clips, compare it with another one, and calibrate it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.model.card import Calibration, SmoothingSpec
from ser_live.model.classifier import OUTPUT_NAME
from ser_live.model.prior import ORDINARY_NAME, Outputs, Prior, join_prior
from ser_train.corpora import Clip, speakers_of, truth_of
from ser_train.data.prepare import Prepared
from ser_train.metrics import (
    Scores,
    fit_temperature,
    score,
    threshold_of_accuracy,
    uncertain_threshold,
    with_temperature,
)
from ser_train.models.registry import Network

_DOUBT_SPEAKERS = 0.5
"""Held-out speakers that a temperature of 1 counts for."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Predictions of clips and their scores."""

    clips: tuple[Clip, ...]
    truth: NDArray[np.intp]
    """Index of each true label."""
    probabilities: NDArray[np.float64]
    """(clips, labels)."""
    scores: Scores
    heard: str
    """The part of each clip that the network heard, in words."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Temperature and threshold, as held-out speakers decided them."""

    calibration: Calibration
    smoothing: SmoothingSpec


@dataclass(frozen=True, slots=True)
class HeldOutAnswers:
    """Answers to clips that the network in question had not heard."""

    parts: tuple[tuple[NDArray[np.float64], NDArray[np.intp]], ...]
    """(clips, labels) probabilities and the index of each true label, by fold or by speaker."""
    held_out: str
    """Their description, in words."""
    each_alike: bool = False
    """Each part counts as much as any other, however many clips it has."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Change on held-out clips by an adaptation."""

    common: tuple[str, ...]
    """Labels that both models know; fewer than two: nothing can be compared."""
    before: Scores | None
    """Of the first model, over the common labels alone."""
    after: Scores | None
    """Of the adapted model, on the same clips over the same labels."""
    whole: Scores
    """Of the adapted model on all clips, over all of its labels."""


def predict(
    model: Any,
    prepared: Prepared,
    chosen: Sequence[int],
    seconds: float | None,
    outputs: Sequence[str] = (OUTPUT_NAME,),
) -> NDArray[np.float64]:
    """Return the probabilities of the chosen clips, shape (clips, labels).

    Parameters
    ----------
    model : keras.Model
    prepared : Prepared
    chosen : sequence of int
        Indices of clips.
    seconds : float or None
        From the speech onset on; None: the whole speech.
    outputs : sequence of str
        More of them give further columns.
    """
    from ser_train.models.inference import Inference, after_front_end  # noqa: PLC0415 - TensorFlow takes seconds

    inputs = (prepared.speech(index, seconds) for index in chosen)
    return Inference(after_front_end(model, prepared.network, *outputs)).process(inputs)


def measure(
    model: Any, prepared: Prepared, chosen: Sequence[int], labels: tuple[str, ...], whole: bool
) -> Measured:
    """Predict the chosen clips, hearing their first window or their whole speech."""
    seconds = None if whole else prepared.network.window.seconds
    probabilities = predict(model, prepared, chosen, seconds)
    clips = tuple(prepared.chosen(chosen))
    truth = truth_of(clips, labels)
    scores = score(probabilities, truth)
    return Measured(clips, truth, probabilities, scores, heard(prepared.network, whole))


def compare(
    before: Measured | None, old: Sequence[str], after: Measured, new: Sequence[str]
) -> Comparison:
    """Restrict both models to the labels in common, and score them.

    Parameters
    ----------
    before : Measured or None
        Of the first model, on those of the clips whose label it knows; None: there are none.
    old : sequence of str
        Labels of the first model.
    after : Measured
        Of the adapted model on all clips.
    new : sequence of str
        Labels of the adapted model.
    """
    common = common_labels(old, new)
    if before is None or len(common) < 2:
        return Comparison(common, None, None, after.scores)
    known = np.isin(after.truth, [new.index(label) for label in common])
    return Comparison(
        common,
        _over(before.probabilities, before.truth, old, common),
        _over(after.probabilities[known], after.truth[known], new, common),
        after.scores,
    )


def common_labels(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of both, in the order of ``new``."""
    return tuple(label for label in new if label in old)


def answers_of_speakers(
    model: Any, prepared: Prepared, chosen: Sequence[int], labels: tuple[str, ...]
) -> HeldOutAnswers:
    """Predict the clips of held-out speakers, for `calibrate`.

    Each speaker counts alike, however many recordings they made: the next stranger may resemble
    any of them.
    """
    clips = prepared.chosen(chosen)
    probabilities = predict(model, prepared, chosen, prepared.network.window.seconds)
    truth = truth_of(clips, labels)
    speaker = np.array([clip.speaker for clip in clips])
    speakers = speakers_of(clips)
    parts = tuple((probabilities[speaker == one], truth[speaker == one]) for one in speakers)
    held_out = f"{len(chosen)} clips of the held-out speakers {', '.join(speakers)}"
    if len(speakers) > 1:
        held_out += ", each counting alike"
    return HeldOutAnswers(parts, held_out, each_alike=True)


def calibrate(
    model: Any, answers: HeldOutAnswers, right_of_sure: float | None = None
) -> Calibrated:
    """Set the model's temperature, and the threshold of uncertainty, by held-out answers.

    The temperature of a few speakers is drawn towards 1: their voices decide too much of it.

    Parameters
    ----------
    model : keras.Model
    answers : HeldOutAnswers
        Of `answers_of_speakers`, or of `ser_train.cross_validation.pooling.answers_of_folds` from
        networks of the same recipe, so that no speaker need be held out.
    right_of_sure : float or None
        Share of the sure answers that must be right; None: four of five answers are sure.
    """
    temperature = fit_temperature(answers.parts, answers.each_alike)
    if answers.each_alike:
        temperature **= len(answers.parts) / (len(answers.parts) + _DOUBT_SPEAKERS)
    temperature = round(temperature, 4)
    model.get_layer("temperature").temperature.assign(temperature)
    tempered = [with_temperature(probabilities, temperature) for probabilities, _ in answers.parts]
    threshold = uncertain_threshold(tempered, answers.each_alike)
    if right_of_sure is not None:
        parts = zip(tempered, (truth for _, truth in answers.parts), strict=True)
        threshold = threshold_of_accuracy(tuple(parts), right_of_sure)
    return Calibrated(
        Calibration(temperature, f"least NLL on {answers.held_out}"),
        SmoothingSpec(uncertain_below=threshold),
    )


def everyday_threshold(
    model: Any,
    acted: Prepared,
    acted_chosen: Sequence[int],
    talk: Prepared,
    talk_chosen: Sequence[int],
    labels: tuple[str, ...],
) -> float:
    """Choose the threshold of uncertainty under the everyday prior.

    Held-out acted clips together count as much as held-out talk.

    Parameters
    ----------
    model : keras.Model
        With its temperature and the output "ordinary".
    acted, talk : Prepared
    acted_chosen, talk_chosen : sequence of int
        Indices of clips of held-out speakers.
    labels : tuple of str
    """
    head, parts = acted.network.ordinary, []
    for prepared, chosen in ((acted, acted_chosen), (talk, talk_chosen)):
        seconds = prepared.network.window.seconds
        columns = predict(model, prepared, chosen, seconds, (OUTPUT_NAME, ORDINARY_NAME))
        outputs = Outputs(*np.split(columns.astype(np.float32), [len(labels)], axis=1))
        joined = join_prior(outputs, labels, Prior(dict(head.prior), head.ordinary_odds))
        parts.append(joined.astype(np.float64))
    return uncertain_threshold(parts, each_alike=True)


def heard(network: Network, whole: bool) -> str:
    """Describe what the network heard of each clip."""
    if whole and not network.front_end:
        return "the whole speech of each clip, silence trimmed, even prior"
    return f"the first {network.window.seconds:g} s from the speech onset, even prior"


def _over(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.intp],
    labels: Sequence[str],
    kept: Sequence[str],
) -> Scores:
    """Score as if the model had the kept labels alone."""
    columns = [labels.index(label) for label in kept]
    shares = probabilities[:, columns]
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return score(shares, np.array([columns.index(index) for index in truth], np.intp))
