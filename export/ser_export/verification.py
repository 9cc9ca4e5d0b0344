"""The exported graph beside the Keras model, on real windows of speech."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ser_live.engine.spectrum import PowerSpectrum
from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ, ModelCard
from ser_live.model.classifier import INPUT_NAME, OUTPUT_NAME
from ser_live.sources.files import DEMO_PATH
from ser_train.data.for_export import read_audio
from ser_train.models.conversion import with_outputs

TOLERANCE = 1e-5
"""Worst allowed absolute difference of a probability."""
LENGTHS_SECONDS = (0.3, 0.5, 1.0, 1.7, 2.4)
"""Compared beside the card's longest window."""
BATCHES = (1, 2, 5)
GOLDEN_SECONDS = 0.5
_LARGEST_FLOAT16 = 60000.0


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of the comparison."""

    worst_difference: float
    """Largest absolute difference of a probability between Keras and onnxruntime."""
    windows: int
    """So many windows were compared."""


def verify(
    model: keras.Model,
    session: onnxruntime.InferenceSession,
    batches: Iterable[NDArray[np.float32]],
) -> Verification:
    """Compare on batches of windows, each (batch, frames, bins), float32.

    Raises
    ------
    SerError
        If a number of an output differs by more than `TOLERANCE`, or is not finite.
    """
    worst, windows = 0.0, 0
    names = [output.name for output in session.get_outputs()]
    named = with_outputs(model, names)
    for batch in batches:
        got = run_all(session, batch)
        answers = named(batch, training=False)
        wanted = np.concatenate([np.asarray(answers[name]) for name in names], axis=1)
        worst = float(np.maximum(worst, np.abs(got - wanted).max()))  # NaN stays NaN
        windows += len(batch)
    if not worst <= TOLERANCE:
        raise SerError(
            f"the ONNX graph differs from the Keras model by {worst:.2g}, at most {TOLERANCE:g} "
            "is allowed; nothing was written"
        )
    return Verification(worst, windows)


def greatest_difference(
    before: onnxruntime.InferenceSession,
    after: onnxruntime.InferenceSession,
    batches: Iterable[NDArray[np.float32]],
) -> float:
    """Return how far a probability of one graph is from that of another, at most."""
    return max(float(np.abs(run_all(before, b) - run_all(after, b)).max()) for b in batches)


def batch_is_bitwise(
    session: onnxruntime.InferenceSession, batches: Iterable[NDArray[np.float32]]
) -> bool:
    """Return True if batches give each window's own bits."""
    for batch in batches:
        singles = np.concatenate([run_all(session, window[None].copy()) for window in batch])
        if not np.array_equal(run_all(session, batch), singles):
            return False
    return True


def run(session: onnxruntime.InferenceSession, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities (batch, labels) of a batch of spectra."""
    probabilities: NDArray[np.float32] = session.run([OUTPUT_NAME], {INPUT_NAME: batch})[0]
    return probabilities


def run_all(
    session: onnxruntime.InferenceSession, batch: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return all outputs of a batch of spectra side by side."""
    return np.concatenate(session.run(None, {INPUT_NAME: batch}), axis=1)


def read_speech(files: Sequence[Path]) -> NDArray[np.float32]:
    """Read recordings, one after the other; the demo voice if there are none.

    Returns
    -------
    ndarray, shape (n,), float32
        Mono samples at 16 kHz.

    Raises
    ------
    SerError
        If a file is missing or no audio, or all are too short for a window.
    """
    samples = np.concatenate([read_audio(path) for path in files or [DEMO_PATH]])
    seconds = samples.size / SAMPLE_RATE_HZ
    if seconds < LENGTHS_SECONDS[0]:
        raise SerError(
            f"the audio to verify with has {seconds:.2g} s, wanted at least {LENGTHS_SECONDS[0]} s"
        )
    return samples


def batches(samples: NDArray[np.float32], card: ModelCard) -> Iterator[NDArray[np.float32]]:
    """Yield windows of several lengths in batches of several sizes, spread over the samples.

    Yields
    ------
    ndarray, shape (batch, frames, bins), float32
        Power spectra.
    """
    for seconds in (*LENGTHS_SECONDS, card.window.seconds):
        wanted = max(round(seconds * SAMPLE_RATE_HZ), card.spectrum.fft_samples)
        length = min(wanted, samples.size)
        for batch in BATCHES:
            starts = np.linspace(0, samples.size - length, batch + 1, dtype=int)[:batch]
            yield np.stack([_spectrum(samples[s : s + length], card) for s in starts])


def golden_spectrum(samples: NDArray[np.float32], card: ModelCard) -> NDArray[np.float16]:
    """Return half a second of the loudest speech, shape (frames, bins), finite in float16.

    Power over float16's range is scaled down as a whole: the golden test's input need not be
    at the level of its recording.
    """
    length = max(round(GOLDEN_SECONDS * SAMPLE_RATE_HZ), card.spectrum.fft_samples)
    energy = np.cumsum(np.square(np.pad(samples, (1, 0)), dtype=np.float64))
    loudest = int(np.argmax(energy[length:] - energy[:-length])) if samples.size >= length else 0
    power = _spectrum(samples[loudest : loudest + length], card)
    scale = _LARGEST_FLOAT16 / max(_LARGEST_FLOAT16, float(power.max()))
    return (power * np.float32(scale)).astype(np.float16)


def _spectrum(samples: NDArray[np.float32], card: ModelCard) -> NDArray[np.float32]:
    missing = max(0, card.spectrum.fft_samples - samples.size)
    return PowerSpectrum(card.spectrum).process(np.pad(samples, (0, missing)))
