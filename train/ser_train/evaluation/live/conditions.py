"""Bad conditions in which a model is measured, at waveform level: noises, a room, a telephone.

Each figure rests on the families, numbers and seeds of this module. Training augmentation must
never draw from them (`SEED`), nor imitate them sample by sample: a model that has heard the very
noises and rooms of the test would be measured on what it knows by heart.
"""

import functools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, lfilter, sosfiltfilt

from ser_live.model.card import SAMPLE_RATE_HZ

SEED = 4_071_995
"""First number of every seed here."""
SNR_DB = 10.0
"""Of the speech over each noise, from the speech's onset to its end."""
RT60_SECONDS = 0.6
"""In which the room's sound falls by 60 dB."""
DIRECT_TO_REVERBERANT_DB = -3.0
"""As about a metre from the talker."""
TELEPHONE_BAND_HZ = (300.0, 3400.0)
TALKERS = 8
"""Of the babble."""
BED_SECONDS = 120.0
"""Noise that every recording gets another part of."""

_BABBLE, _STREET, _HUM, _ROOM = range(4)
_ROOMS = 8
_MU = 255.0
_TELEPHONE_RATE_HZ = 8000
_TELEPHONE_RMS = 0.1

Samples = NDArray[np.float32]
Change = Callable[[Samples, slice, np.random.Generator], Samples]
"""(recording, its speech, randomness of this recording) to the recording in a condition."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One bad condition."""

    name: str
    words: str
    """What it is, for a report."""
    number: int
    """Of the family, part of the seed."""
    change: Change

    def process(self, samples: Samples, speech: slice, name: str) -> Samples:
        """Give a recording in this condition, of the same length.

        Parameters
        ----------
        samples : ndarray, shape (n,), float32
            Mono at 16 kHz.
        speech : slice
            Where the speech is.
        name : str
            Of the recording: it gets the same noise whatever else is measured.
        """
        random = np.random.default_rng((SEED, self.number, 1, zlib.crc32(name.encode())))
        return self.change(samples, speech, random)


def make_conditions(babble: Samples) -> tuple[Condition, ...]:
    """Make all conditions out of a bed of babble, shape (n,)."""
    noise = f"at {SNR_DB:g} dB SNR"
    street, rooms = street_bed(BED_SECONDS), [room_response(number) for number in range(_ROOMS)]

    def in_some_room(samples: Samples, speech: slice, random: np.random.Generator) -> Samples:
        return in_room(samples, rooms[random.integers(_ROOMS)])

    return (
        Condition("babble", f"{TALKERS} other talkers at once {noise}", _BABBLE, _over(babble)),
        Condition(
            "street", f"synthetic traffic with cars that pass {noise}", _STREET, _over(street)
        ),
        Condition("hum", f"50 Hz mains hum with harmonics {noise}", _HUM, _over_hum),
        Condition(
            "room",
            f"{_ROOMS} synthetic rooms with an RT60 of {RT60_SECONDS:g} s, direct to reverberant "
            f"{DIRECT_TO_REVERBERANT_DB:g} dB",
            _ROOM,
            in_some_room,
        ),
        Condition(
            "telephone",
            f"{TELEPHONE_BAND_HZ[0]:g} to {TELEPHONE_BAND_HZ[1]:g} Hz, 8 kHz, mu-law of 8 bits",
            _ROOM + 1,
            lambda samples, speech, random: over_telephone(samples, speech),
        ),
    )


def with_noise(samples: Samples, noise: Samples, speech: slice, snr_db: float = SNR_DB) -> Samples:
    """Add noise of the same length, scaled so that the speech has this ratio over it."""
    gain = _rms(samples[speech]) / (_rms(noise[speech]) + 1e-12) * 10.0 ** (-snr_db / 20.0)
    result: Samples = (samples + gain * noise).astype(np.float32)
    return result


def babble_bed(voices: Sequence[Samples], seconds: float = BED_SECONDS) -> Samples:
    """Let `TALKERS` talk at once, without pauses and equally loud.

    Parameters
    ----------
    voices : sequence of ndarray, shape (n,), float32
        Speech without the silence around it, in an order that is random already.
    seconds : float
    """
    length = round(seconds * SAMPLE_RATE_HZ)
    level = [voice / (_rms(voice) + 1e-12) for voice in voices]
    talkers = [level[k % len(level) :: TALKERS] for k in range(TALKERS)]
    # Few voices say the same again, each talker somewhere else.
    lines = [
        np.roll(np.resize(np.concatenate(talker), length), k * length // TALKERS)
        for k, talker in enumerate(talkers)
    ]
    bed: Samples = (np.sum(lines, axis=0) / np.sqrt(TALKERS)).astype(np.float32)
    return bed


@functools.cache
def street_bed(seconds: float) -> Samples:
    """Make far traffic that swells, and cars that pass every five seconds or so."""
    random = np.random.default_rng((SEED, _STREET))
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


def hum(length: int, random: np.random.Generator) -> Samples:
    """Make mains hum: 50 Hz and 19 harmonics, the odd ones stronger."""
    times = np.arange(length) / SAMPLE_RATE_HZ
    total = np.zeros(length)
    for k in range(1, 21):
        amplitude = 10.0 ** (random.uniform(-6.0, 6.0) / 20.0) / k * (1.0 if k % 2 else 0.4)
        total += amplitude * np.sin(2 * np.pi * 50.0 * k * times + random.uniform(0, 2 * np.pi))
    noise: Samples = total.astype(np.float32)
    return noise


def coloured(length: int, db_per_octave: float, random: np.random.Generator) -> Samples:
    """Make noise of power 1 whose spectrum falls or rises above 40 Hz."""
    frequencies_hz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
    octaves = np.log2(np.maximum(frequencies_hz, 40.0) / 40.0)
    spectrum = np.fft.rfft(random.standard_normal(length)) * 10 ** (db_per_octave * octaves / 20)
    noise = np.fft.irfft(spectrum, length)
    result: Samples = (noise / (_rms(noise) + 1e-12)).astype(np.float32)
    return result


def room_response(number: int) -> Samples:
    """Make a room: the direct sound, twelve early reflections, a tail that decays evenly."""
    random = np.random.default_rng((SEED, _ROOM, 0, number))
    times = np.arange(round(1.5 * RT60_SECONDS * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = lfilter([0.6], [1.0, -0.4], random.standard_normal(len(times)))  # walls eat treble
    tail[times < 0.02] = 0.0
    arrivals = (random.uniform(0.003, 0.05, 12) * SAMPLE_RATE_HZ).astype(int)
    tail[arrivals] += random.choice((-1.0, 1.0), 12) * random.uniform(2.0, 4.0, 12)
    tail *= 10.0 ** (-3.0 * times / RT60_SECONDS)
    energy = 10.0 ** (-DIRECT_TO_REVERBERANT_DB / 10.0)
    response = tail * np.sqrt(energy / np.square(tail).sum())
    response[0] = 1.0
    result: Samples = (response / np.sqrt(1.0 + energy)).astype(np.float32)
    return result


def in_room(samples: Samples, response: Samples) -> Samples:
    """Let a room answer; the direct sound stays where it is."""
    result: Samples = fftconvolve(samples, response)[: len(samples)].astype(np.float32)
    return result


def over_telephone(samples: Samples, speech: slice) -> Samples:
    """Send a recording over a line, at the level of ordinary speech, and give its level back."""
    band = butter(6, TELEPHONE_BAND_HZ, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    gain = _TELEPHONE_RMS / (_rms(samples[speech]) + 1e-12)
    narrow = soxr.resample(
        sosfiltfilt(band, gain * samples), SAMPLE_RATE_HZ, _TELEPHONE_RATE_HZ
    ).clip(-1.0, 1.0)
    compressed = np.sign(narrow) * np.log1p(_MU * np.abs(narrow)) / np.log1p(_MU)
    levels = np.round(compressed * 127.0) / 127.0
    received = np.sign(levels) * np.expm1(np.abs(levels) * np.log1p(_MU)) / _MU
    wide = soxr.resample(received, _TELEPHONE_RATE_HZ, SAMPLE_RATE_HZ)
    wide = np.pad(wide, (0, max(0, len(samples) - len(wide))))[: len(samples)]
    result: Samples = (sosfiltfilt(band, wide) / gain).astype(np.float32)
    return result


def _over(bed: Samples) -> Change:
    def change(samples: Samples, speech: slice, random: np.random.Generator) -> Samples:
        places = random.integers(len(bed)) + np.arange(len(samples))
        return with_noise(samples, bed.take(places, mode="wrap"), speech)

    return change


def _over_hum(samples: Samples, speech: slice, random: np.random.Generator) -> Samples:
    return with_noise(samples, hum(len(samples), random), speech)


def _rms(samples: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.square(samples, dtype=np.float64).mean()))
