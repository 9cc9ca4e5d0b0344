"""The live engine under both priors at once."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ser_live import Prediction, StreamRecognizer
from ser_live.engine.inference import Steps, run_batch
from ser_live.model.classifier import Classifier
from ser_live.model.prior import NamedPrior

PRIORS: tuple[NamedPrior, NamedPrior] = ("everyday", "even")
"""As a caller of the live engine names them; the first one is that of the card, its default."""


def hear(
    classifier: Classifier,
    pieces: Iterable[NDArray[np.float32]],
    priors: Sequence[NamedPrior] = PRIORS,
) -> tuple[list[Prediction], ...]:
    """Let new recognizers hear one stream, each under its own prior.

    They ask the same of the networks, since a prior acts on what these answer: it is run once.

    Parameters
    ----------
    classifier : Classifier
    pieces : iterable of ndarray, shape (n,), float32
        The stream, at 16 kHz.
    priors : sequence of NamedPrior

    Returns
    -------
    tuple of list of Prediction
        One list for each prior.
    """
    recognizers = [StreamRecognizer(classifier, prior=prior) for prior in priors]
    heard: tuple[list[Prediction], ...] = tuple([] for _ in priors)
    for piece in pieces:
        _run_together([one.process_steps(piece) for one in recognizers], heard)
    _run_together([one.flush_steps() for one in recognizers], heard)
    return heard


def _run_together(streams: Sequence[Steps], heard: Sequence[list[Prediction]]) -> None:
    """Run streams whose requests are the same, and add what each predicts to its list."""
    result, going = None, True
    while going:
        for steps, predictions in zip(streams, heard, strict=True):
            try:
                request = steps.send(result)
            except StopIteration as end:
                predictions.extend(end.value)
                going = False
        if going:
            (result,) = run_batch([request])
