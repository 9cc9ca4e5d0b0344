"""Sounds without any speech, in which a stream should find no emotion."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_live.model.card import SAMPLE_RATE_HZ
from ser_train.evaluation.live.conditions import coloured, hum

_RMS = 0.05
_CHORDS_HZ = (
    (261.6, 329.6, 392.0),
    (196.0, 246.9, 293.7),
    (220.0, 261.6, 329.6),
    (174.6, 220.0, 261.6),
)
_TONES_HZ = (110.0, 220.0, 440.0, 1000.0, 3000.0)


@dataclass(frozen=True, slots=True)
class Sound:
    """One sound that is no speech."""

    name: str
    samples: NDArray[np.float32]
    """Mono at 16 kHz."""


def make_sounds(seconds: float, seed: int) -> tuple[Sound, ...]:
    """Make every sound that is no speech, at an RMS of 0.05; silence is digital."""
    length = round(seconds * SAMPLE_RATE_HZ)
    random = np.random.default_rng((seed, 1))
    times = np.arange(length) / SAMPLE_RATE_HZ
    made: dict[str, NDArray[np.floating]] = {
        "silence": np.zeros(length),
        "white noise": random.standard_normal(length),
        "pink noise": coloured(length, -3.0, random),
        "mains hum": hum(length, random),
        "tones": _tones(times),
        "sawtooth of 150 Hz, swelling 4 times a second": _swelling_sawtooth(times),
        "chords": _chords(times),
    }
    return tuple(Sound(name, _levelled(samples)) for name, samples in made.items())


def _tones(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pure tones of four seconds, one after another."""
    which = (times // 4).astype(int) % len(_TONES_HZ)
    return np.asarray(np.sin(2 * np.pi * np.array(_TONES_HZ)[which] * times))


def _swelling_sawtooth(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Harmonics that come and go like syllables: the hardest sound for a speech detector."""
    sawtooth = 2.0 * ((150.0 * times) % 1.0) - 1.0
    return np.asarray(sawtooth * (0.5 - 0.5 * np.cos(2 * np.pi * 4.0 * times)))


def _chords(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Four chords of plucked harmonics, each half a second long."""
    which, since = (times // 0.5).astype(int) % len(_CHORDS_HZ), times % 0.5
    pitches = np.array(_CHORDS_HZ)[which]
    notes = sum(
        np.sin(2 * np.pi * k * pitches[:, note] * times) * np.exp(-k * since * 3.0) / k
        for note in range(3)
        for k in range(1, 7)
    )
    return np.asarray(notes)


def _levelled(samples: NDArray[np.floating]) -> NDArray[np.float32]:
    rms = float(np.sqrt(np.square(samples).mean()))
    levelled: NDArray[np.float32] = (samples * (_RMS / rms if rms else 0.0)).astype(np.float32)
    return levelled
