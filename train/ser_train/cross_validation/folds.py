"""One fold of a cross-validation: train a network, then ask it about the test clips."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser_train.corpora import truth_of
from ser_train.cross_validation.posteriors import WHOLE, Posteriors
from ser_train.data.prepare import Prepared
from ser_train.data.splits import Split
from ser_train.metrics import fit_temperature
from ser_train.models.inference import Inference
from ser_train.models.registry import Network
from ser_train.progress import EpochRecord, Reporter
from ser_train.training.checkpoint import Settings
from ser_train.training.fine_tuning import adapt_network
from ser_train.training.loop import part
from ser_train.training.members import train
from ser_train.training.pretrained import FirstModel

_HEARD_SECONDS = (1.0, 1.5, 2.0, 3.0)
_DIGITS = 5


@dataclass(frozen=True, slots=True)
class Tested:
    """What a fold's training and test gave."""

    posteriors: Posteriors
    temperature: float | None
    """Fitted on the validation clips; None without."""
    training_seconds: float
    history: tuple[EpochRecord, ...]


@dataclass(frozen=True, slots=True)
class Beginning:
    """What every fold adapts instead of training afresh."""

    first: FirstModel
    epochs: int | None
    batch_clips: int | None
    """None: by the number of clips, as the epochs."""


def train_and_test(
    prepared: Prepared,
    split: Split,
    settings: Settings,
    run_folder: Path,
    report: Reporter,
    beginning: Beginning | None = None,
) -> Tested:
    """Train on a fold's training clips, or go on from the checkpoint, and ask about the others.

    Parameters
    ----------
    prepared : Prepared
    split : Split
    settings : Settings
    run_folder : Path
        For the checkpoint.
    report : Reporter
    beginning : Beginning or None
        None: train afresh.
    """
    start = time.monotonic()
    if beginning:
        first, epochs, batch_clips = beginning.first, beginning.epochs, beginning.batch_clips
        trained = adapt_network(
            first, prepared, split, settings, epochs, batch_clips, run_folder, report
        )
    else:
        parts = (split.training, split.validation)
        trained = train(prepared, *parts, settings, run_folder, report)
    seconds = time.monotonic() - start
    inference = Inference(part(trained.model, prepared, "probabilities"))
    temperature = None
    if split.validation:
        held_out = _ask(inference, prepared, split.validation, prepared.network.window.seconds)
        truth = truth_of(prepared.chosen(split.validation), settings.labels)
        temperature = round(fit_temperature(held_out, truth), 4)
    history = tuple(epoch.rounded(_DIGITS) for epoch in trained.history)
    posteriors = _posteriors(inference, prepared, split.test, settings.labels)
    return Tested(posteriors, temperature, round(seconds, 1), history)


def heard_seconds(network: Network) -> tuple[float | None, ...]:
    """Give how much of each clip a network is tested with, ascending; None is all of it.

    A front end's output is computed once per clip, for the window alone.
    """
    window = network.window.seconds
    if network.front_end:
        return (window,)
    return (*(s for s in _HEARD_SECONDS if s < window), window, None)


def _posteriors(
    inference: Inference, prepared: Prepared, chosen: Sequence[int], labels: tuple[str, ...]
) -> Posteriors:
    clips = prepared.chosen(chosen)
    heard = heard_seconds(prepared.network)
    return Posteriors(
        np.array([f"{clip.corpus}/{clip.path.name}" for clip in clips]),
        np.array([clip.speaker for clip in clips]),
        truth_of(clips, labels),
        labels,
        tuple(WHOLE if seconds is None else f"{seconds:g}" for seconds in heard),
        np.stack([_ask(inference, prepared, chosen, seconds) for seconds in heard]),
    )


def _ask(
    inference: Inference, prepared: Prepared, chosen: Sequence[int], seconds: float | None
) -> NDArray[np.float64]:
    return inference.process(prepared.speech(index, seconds) for index in chosen)
