"""Whether the exported graph computes what the Keras model does."""

from collections.abc import Iterable
from dataclasses import dataclass

import keras
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.classifier import INPUT_NAME, OUTPUT_NAME

TOLERANCE = 1e-5
"""Worst allowed absolute difference of a probability."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What the comparison found."""

    worst_difference: float
    """Largest absolute difference of a probability between Keras and onnxruntime."""
    windows: int
    """So many windows were compared."""
    batch_is_bitwise: bool
    """Whether a batch gave each window's own bits."""


def verify(
    model: keras.Model,
    session: onnxruntime.InferenceSession,
    batches: Iterable[NDArray[np.float32]],
) -> Verification:
    """Compare on batches of windows, each (batch, frames, bins), float32.

    Raises
    ------
    SerError
        If a probability differs by more than `TOLERANCE`, or is not finite.
    """
    worst, windows, bitwise = 0.0, 0, True
    for batch in batches:
        got = run(session, batch)
        wanted = keras.ops.convert_to_numpy(model(batch, training=False))
        worst = max(worst, _difference(got, wanted))
        bitwise = bitwise and np.array_equal(got, _one_by_one(session, batch))
        windows += len(batch)
    if worst > TOLERANCE:
        raise SerError(
            f"the ONNX graph differs from the Keras model by {worst:.2g}, at most {TOLERANCE:g} "
            "is allowed; nothing was written"
        )
    return Verification(worst, windows, bitwise)


def batch_is_bitwise(
    session: onnxruntime.InferenceSession, batches: Iterable[NDArray[np.float32]]
) -> bool:
    """Tell whether batches give each window's own bits."""
    return all(
        np.array_equal(run(session, batch), _one_by_one(session, batch)) for batch in batches
    )


def run(session: onnxruntime.InferenceSession, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the probabilities (batch, labels) of a batch of spectra."""
    probabilities: NDArray[np.float32] = session.run([OUTPUT_NAME], {INPUT_NAME: batch})[0]
    return probabilities


def _one_by_one(
    session: onnxruntime.InferenceSession, batch: NDArray[np.float32]
) -> NDArray[np.float32]:
    return np.concatenate([run(session, one[None]) for one in batch])


def _difference(got: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    difference = float(np.abs(got - wanted).max())
    return difference if np.isfinite(difference) else float("inf")
