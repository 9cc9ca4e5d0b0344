"""What a trained model gives for chosen clips, and what held-out speakers decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.card import Calibration, SmoothingSpec
from ser_train.corpora import Clip, speakers_of, truth_of
from ser_train.inference import Inference
from ser_train.learning import part
from ser_train.metrics import Scores, fit_temperature, score, uncertain_threshold, with_temperature
from ser_train.networks import Network
from ser_train.prepare import Prepared


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
    """What the validation speakers decided."""

    calibration: Calibration
    smoothing: SmoothingSpec


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
    """Set the model's temperature, and the threshold of uncertainty, on held-out speakers."""
    if not len(chosen):
        return Calibrated(Calibration(), SmoothingSpec())
    clips = prepared.chosen(chosen)
    probabilities = _predict(model, prepared, chosen, whole=False)
    temperature = round(fit_temperature(probabilities, truth_of(clips, labels)), 4)
    model.get_layer("temperature").temperature.assign(temperature)
    speakers = speakers_of(clips)
    method = f"least NLL on {len(chosen)} clips of the held-out speakers {', '.join(speakers)}"
    threshold = uncertain_threshold(with_temperature(probabilities, temperature))
    return Calibrated(Calibration(temperature, method), SmoothingSpec(uncertain_below=threshold))


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
