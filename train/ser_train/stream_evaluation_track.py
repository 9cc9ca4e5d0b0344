"""Recordings one after another, as one stream whose truth is known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from ser_live.card import SAMPLE_RATE_HZ, SpectrumSpec
from ser_live.spectrum import PowerSpectrum
from ser_train.evaluation_clips import Voice

PAUSE_SECONDS = 1.0
PAUSES = (
    "their own quiet background, and where a recording has too little of it, noise with the "
    "level and spectrum of its quietest tenth"
)
FLOOR_DBFS = -90.0
"""Noise under everything: a microphone is never digitally silent."""
_SPEC = SpectrumSpec()
_HALF_PAUSE = round(PAUSE_SECONDS * SAMPLE_RATE_HZ / 2)


@dataclass(frozen=True, slots=True)
class Span:
    """Where one recording's speech lies in the stream, in seconds."""

    voice: Voice
    onset_seconds: float
    end_seconds: float


class Track:
    """Recordings in a random order, with one second from each end of speech to the next onset.

    Parameters
    ----------
    voices : sequence of Voice
    seed : int
        Of the order and of the noise.
    """

    def __init__(self, voices: Sequence[Voice], seed: int) -> None:
        self._seed = seed
        order = np.random.default_rng(seed).permutation(len(voices))
        self.voices = tuple(voices[index] for index in order)

    @property
    def seconds(self) -> float:
        """Length of the stream."""
        return self.spans[-1].end_seconds + PAUSE_SECONDS / 2.0

    @property
    def spans(self) -> tuple[Span, ...]:
        """Where each recording's speech lies."""
        spans, position = [], 0
        for voice in self.voices:
            onset = position + _HALF_PAUSE
            end = onset + voice.end_sample - voice.onset_sample
            spans.append(Span(voice, onset / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ))
            position = end + _HALF_PAUSE
        return tuple(spans)

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """Give the stream, one recording after another, with half a pause on either side."""
        for number, voice in enumerate(self.voices):
            random = np.random.default_rng((self._seed, number))
            yield _with_pauses(voice.samples(), voice.onset_sample, voice.end_sample, random)


def background(
    samples: NDArray[np.float32], length: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """Make noise with the level and spectrum of the quietest tenth of a recording."""
    power = PowerSpectrum(_SPEC).process(samples)
    loudness = power.sum(axis=1)
    quiet = power[loudness <= np.quantile(loudness, 0.1)].mean(axis=0)
    of_white = 0.375 * _SPEC.fft_samples  # power of white noise under a Hann window
    taps = np.fft.irfft(np.sqrt(quiet / of_white))
    taps = np.roll(taps, _SPEC.fft_samples // 2) * np.hanning(_SPEC.fft_samples)
    white = random.standard_normal(length + _SPEC.fft_samples)
    noise: NDArray[np.float32] = fftconvolve(white, taps, "same")[:length].astype(np.float32)
    return noise


def _with_pauses(
    samples: NDArray[np.float32], onset: int, end: int, random: np.random.Generator
) -> NDArray[np.float32]:
    before = samples[max(0, onset - _HALF_PAUSE) : onset]
    after = samples[end : end + _HALF_PAUSE]
    speech = samples[onset:end]
    noise = background(samples, 2 * _HALF_PAUSE, random)
    piece = np.concatenate(
        (noise[before.size : _HALF_PAUSE], before, speech, after, noise[_HALF_PAUSE + after.size :])
    )
    floor = 10.0 ** (FLOOR_DBFS / 20.0) * random.standard_normal(piece.size)
    result: NDArray[np.float32] = (piece + floor).astype(np.float32)
    return result
