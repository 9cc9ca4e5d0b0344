"""Made-up sounds: noises that disturb speech, and sounds without speech, which name no emotion.

Each figure rests on the families, numbers and seeds of this module and of `conditions`. Training
augmentation must never draw from them (`SEED`), nor imitate them sample by sample: a model that
has heard the very noises and rooms of the test would be measured on what it knows by heart.
"""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ser_live.model.card import SAMPLE_RATE_HZ
from ser_train.data.acoustics import Samples, coloured, rms

SEED = 4_071_995
"""First number of every seed of a condition."""
BABBLE, STREET, HUM, ROOM, TELEPHONE, MP3, CLEAN = range(7)
"""Families of conditions: second number of their seeds."""
TALKERS = 8
"""Of the babble."""

_RMS = 0.05
_CHORDS_HZ = (
    (261.6, 329.6, 392.0),
    (196.0, 246.9, 293.7),
    (220.0, 261.6, 329.6),
    (174.6, 220.0, 261.6),
)
_TONES_HZ = (110.0, 220.0, 440.0, 1000.0, 3000.0)


def make_sounds(seconds: float, seed: int) -> dict[str, Samples]:
    """Make every sound that is no speech, by name, at an RMS of 0.05; silence is digital."""
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
    return {name: _levelled(samples) for name, samples in made.items()}


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


def _levelled(samples: NDArray[np.floating]) -> Samples:
    level = float(np.sqrt(np.square(samples).mean()))
    levelled: Samples = (samples * (_RMS / level if level else 0.0)).astype(np.float32)
    return levelled


def hum(length: int, random: np.random.Generator) -> Samples:
    """Make mains hum: 50 Hz and 19 harmonics, the odd ones stronger."""
    times = np.arange(length) / SAMPLE_RATE_HZ
    total = np.zeros(length)
    for k in range(1, 21):
        amplitude = 10.0 ** (random.uniform(-6.0, 6.0) / 20.0) / k * (1.0 if k % 2 else 0.4)
        total += amplitude * np.sin(2 * np.pi * 50.0 * k * times + random.uniform(0, 2 * np.pi))
    noise: Samples = total.astype(np.float32)
    return noise


@functools.cache
def street_bed(seconds: float) -> Samples:
    """Make far traffic that swells, and cars that pass every five seconds or so."""
    random = np.random.default_rng((SEED, STREET))
    length = round(seconds * SAMPLE_RATE_HZ)
    times = np.arange(length) / SAMPLE_RATE_HZ
    knots = random.normal(0.0, 3.0, int(seconds / 4) + 2)
    swell_db = np.interp(times, 4.0 * np.arange(len(knots)), knots)
    street = coloured(length, -6.0, random) * 10.0 ** (swell_db / 20.0)
    tyres = coloured(length, -3.0, random)
    for _ in range(round(seconds / 5)):
        at, width = random.uniform(0, seconds), random.uniform(0.5, 1.5)
        near = slice(*np.searchsorted(times, (at - 4 * width, at + 4 * width)))
        passing = (times[near] - at) / width
        pitch_hz = random.uniform(60.0, 140.0) * (1.0 - 0.06 * np.tanh(passing))
        phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
        engine = sum(np.sin(k * phase) / k for k in range(1, 9))
        gain = 10.0 ** (random.uniform(3.0, 12.0) / 20.0)
        street[near] += gain * np.exp(-(passing**2)) * (tyres[near] + 0.3 * engine)
    bed: Samples = street.astype(np.float32)
    bed.setflags(write=False)
    return bed


def babble_bed(voices: Sequence[Samples], seconds: float) -> Samples:
    """Let `TALKERS` talk at once, without pauses and equally loud.

    Parameters
    ----------
    voices : sequence of ndarray, shape (n,), float32
        Speech without the silence around it, in an order that is random already.
    seconds : float
    """
    length = round(seconds * SAMPLE_RATE_HZ)
    level = [voice / (rms(voice) + 1e-12) for voice in voices]
    talkers = [level[k % len(level) :: TALKERS] for k in range(TALKERS)]
    # Few voices say the same again, each talker somewhere else.
    lines = [
        np.roll(np.resize(np.concatenate(talker), length), k * length // TALKERS)
        for k, talker in enumerate(talkers)
    ]
    bed: Samples = (np.sum(lines, axis=0) / np.sqrt(TALKERS)).astype(np.float32)
    return bed
