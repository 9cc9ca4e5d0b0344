"""Real windows of speech, as power spectra, to compare two models on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

import ser_live
from ser_live.engine.spectrum import PowerSpectrum
from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ, ModelCard

LENGTHS_SECONDS = (0.3, 0.5, 1.0, 1.7, 2.4)
"""Compared beside the card's longest window."""
BATCHES = (1, 2, 5)
GOLDEN_SECONDS = 0.5
_LARGEST_FLOAT16 = 60000.0


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
    demo = Path(ser_live.__file__).parent / "data" / "demo.ogg"
    samples = np.concatenate([_read(path) for path in files or [demo]])
    seconds = samples.size / SAMPLE_RATE_HZ
    if seconds < LENGTHS_SECONDS[0] or not np.isfinite(samples).all():
        raise SerError(
            f"the audio to verify with has {seconds:.2g} s, wanted at least "
            f"{LENGTHS_SECONDS[0]} s of finite samples"
        )
    return samples


def batches(samples: NDArray[np.float32], card: ModelCard) -> Iterator[NDArray[np.float32]]:
    """Give windows of several lengths in batches of several sizes, spread over the samples.

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
    """Give half a second of the loudest speech, shape (frames, bins), finite in float16.

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


def _read(path: Path) -> NDArray[np.float32]:
    if not path.is_file():
        raise SerError(f"{path}: no such audio file")
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise SerError(f"{path}: not readable as audio ({error})") from error
    mono: NDArray[np.float32] = soxr.resample(samples.mean(axis=1), rate_hz, SAMPLE_RATE_HZ)
    return mono
