"""What a trained model gives for chosen clips, and what held-out speakers decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import Calibration, SmoothingSpec
from ser_train.corpora import Clip, speakers_of, truth_of
from ser_train.cross_validation.ledger import Ledger
from ser_train.data.prepare import Prepared
from ser_train.metrics import (
    Scores,
    fit_shared_temperature,
    score,
    uncertain_threshold,
    with_temperature,
)
from ser_train.models.inference import Inference
from ser_train.models.registry import Network
from ser_train.training.loop import part


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
    """What the network heard of each clip, in words."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What held-out speakers decided."""

    calibration: Calibration
    smoothing: SmoothingSpec


@dataclass(frozen=True, slots=True)
class HeldOutAnswers:
    """What was said of clips that the network in question had not heard."""

    parts: tuple[tuple[NDArray[np.float64], NDArray[np.intp]], ...]
    """(clips, labels) probabilities and the index of each true label, by fold or by speaker."""
    held_out: str
    """What they are, in words."""


def measure(
    model: Any, prepared: Prepared, chosen: Sequence[int], labels: tuple[str, ...], whole: bool
) -> Measured:
    """Predict the chosen clips, hearing their first window or their whole speech."""
    probabilities = _predict(model, prepared, chosen, whole)
    clips = tuple(prepared.chosen(chosen))
    truth = truth_of(clips, labels)
    scores = score(probabilities, truth)
    return Measured(clips, truth, probabilities, scores, heard(prepared.network, whole))


def calibrate(
    model: Any, prepared: Prepared, chosen: Sequence[int], labels: tuple[str, ...]
) -> Calibrated:
    """Set the model's temperature, and the threshold of uncertainty, on held-out speakers.

    Each speaker counts alike, however many recordings they made: the next stranger may be
    anybody.
    """
    clips = prepared.chosen(chosen)
    probabilities = _predict(model, prepared, chosen, whole=False)
    truth = truth_of(clips, labels)
    who = np.array([clip.speaker for clip in clips])
    speakers = speakers_of(clips)
    parts = tuple((probabilities[who == one], truth[who == one]) for one in speakers)
    held_out = f"{len(chosen)} clips of the held-out speakers {', '.join(speakers)}"
    if len(speakers) > 1:
        held_out += ", each counting alike"
    return _calibrated(model, HeldOutAnswers(parts, held_out), each_alike=True)


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


def calibrate_by_folds(model: Any, answers: HeldOutAnswers) -> Calibrated:
    """Do what `calibrate` does by the answers of a cross-validation, so that nobody is held out.

    Parameters
    ----------
    model : keras.Model
        Of the same network and recipe.
    answers : HeldOutAnswers
        Of `answers_of_folds`.
    """
    return _calibrated(model, answers, each_alike=False)


def _calibrated(model: Any, answers: HeldOutAnswers, each_alike: bool) -> Calibrated:
    temperature = round(fit_shared_temperature(answers.parts, each_alike), 4)
    model.get_layer("temperature").temperature.assign(temperature)
    tempered = [with_temperature(probabilities, temperature) for probabilities, _ in answers.parts]
    threshold = uncertain_threshold(tempered, each_alike)
    return Calibrated(
        Calibration(temperature, f"least NLL on {answers.held_out}"),
        SmoothingSpec(uncertain_below=threshold),
    )


def heard(network: Network, whole: bool) -> str:
    """Say what the network heard of each clip."""
    if whole and not network.front_end:
        return "the whole speech of each clip, silence trimmed"
    return f"the first {network.window.seconds:g} s from the speech onset"


def _predict(
    model: Any, prepared: Prepared, chosen: Sequence[int], whole: bool
) -> NDArray[np.float64]:
    inputs = (prepared.test_input(index, whole) for index in chosen)
    return Inference(part(model, prepared, "probabilities")).process(inputs)
