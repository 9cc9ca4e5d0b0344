"""Changes of recordings by rooms, noise, telephone lines and codecs; of a length that stays."""

import io
from dataclasses import dataclass

import numpy as np
import scipy  # loads scipy.signal when it is asked for: that takes a second
import soundfile
import soxr
from numpy.typing import NDArray

from ser_live.model.card import SAMPLE_RATE_HZ

CODECS = {"MP3": "MPEG_LAYER_III", "OGG": "OPUS"}
"""Formats of libsndfile and their encodings."""
_MU = 255.0
_TELEPHONE_RATE_HZ = 8000
_MP3_DELAY_SAMPLES = 576 + 529
"""Of LAME and of a decoder."""

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Room:
    """A room between a talker and a microphone."""

    rt60_seconds: float
    """In which its sound falls by 60 dB."""
    direct_to_reverberant_db: float
    damping: float = 0.4
    """Pole of a low-pass, 0 to 1: walls eat treble."""
    gap_seconds: float = 0.02
    """From the direct sound to the tail."""
    reflections: int = 12
    arrival_seconds: tuple[float, float] = (0.003, 0.05)
    """Of the early reflections."""
    strength: tuple[float, float] = (2.0, 4.0)
    """Of these, relative to the tail at its start."""


def room_response(room: Room, random: np.random.Generator) -> Samples:
    """Make a room: the direct sound, early reflections, a tail that decays evenly."""
    times = np.arange(round(1.5 * room.rt60_seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    white, count = random.standard_normal(len(times)), room.reflections
    tail = scipy.signal.lfilter([1.0 - room.damping], [1.0, -room.damping], white)
    tail[times < room.gap_seconds] = 0.0
    arrivals = (random.uniform(*room.arrival_seconds, count) * SAMPLE_RATE_HZ).astype(int)
    tail[arrivals] += random.choice((-1.0, 1.0), count) * random.uniform(*room.strength, count)
    tail *= 10.0 ** (-3.0 * times / room.rt60_seconds)
    energy = 10.0 ** (-room.direct_to_reverberant_db / 10.0)
    response = tail * np.sqrt(energy / np.square(tail).sum())
    response[0] = 1.0
    result: Samples = (response / np.sqrt(1.0 + energy)).astype(np.float32)
    return result


def in_room(samples: Samples, response: Samples) -> Samples:
    """Let a room answer; the direct sound stays where it is."""
    result: Samples = scipy.signal.fftconvolve(samples, response)[: len(samples)].astype(np.float32)
    return result


def with_noise(samples: Samples, noise: Samples, speech: slice, snr_db: float) -> Samples:
    """Add noise of the same length, scaled so that the speech has this ratio over it."""
    gain = rms(samples[speech]) / (rms(noise[speech]) + 1e-12) * 10.0 ** (-snr_db / 20.0)
    result: Samples = (samples + gain * noise).astype(np.float32)
    return result


def coloured(length: int, db_per_octave: float, random: np.random.Generator) -> Samples:
    """Make noise of power 1 whose spectrum falls or rises above 40 Hz."""
    frequencies_hz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
    octaves = np.log2(np.maximum(frequencies_hz, 40.0) / 40.0)
    spectrum = np.fft.rfft(random.standard_normal(length)) * 10 ** (db_per_octave * octaves / 20)
    noise = np.fft.irfft(spectrum, length)
    result: Samples = (noise / (rms(noise) + 1e-12)).astype(np.float32)
    return result


def over_line(samples: NDArray[np.floating], mu_law: bool = True) -> NDArray[np.floating]:
    """Send samples of -1 to 1 at 8 kHz, by mu-law in 8 bits, and resample them back."""
    received = soxr.resample(samples, SAMPLE_RATE_HZ, _TELEPHONE_RATE_HZ).clip(-1.0, 1.0)
    if mu_law:
        compressed = np.sign(received) * np.log1p(_MU * np.abs(received)) / np.log1p(_MU)
        levels = np.round(compressed * 127.0) / 127.0
        received = np.sign(levels) * np.expm1(np.abs(levels) * np.log1p(_MU)) / _MU
    return _of_length(soxr.resample(received, _TELEPHONE_RATE_HZ, SAMPLE_RATE_HZ), len(samples))


def through_codec(samples: Samples, name: str, compression: float) -> Samples:
    """Encode a recording, decode it again, and take out the delay of both.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32
        What is above 1 is not cut off.
    name : str
        One of `CODECS`.
    compression : float
        From 0, the highest rate, to 1, the lowest.
    """
    peak = max(1.0, float(np.abs(samples).max(initial=0.0)))
    packed = io.BytesIO()
    soundfile.write(
        packed,
        samples / peak,
        SAMPLE_RATE_HZ,
        CODECS[name],
        format=name,
        compression_level=compression,
        **({"bitrate_mode": "CONSTANT"} if name == "MP3" else {}),
    )
    packed.seek(0)
    decoded = soundfile.read(packed, dtype="float32")[0]
    if name == "MP3" and len(decoded) > len(samples):  # no room for the header that tells it
        decoded = decoded[_MP3_DELAY_SAMPLES:]
    result: Samples = (peak * _of_length(decoded, len(samples))).astype(np.float32)
    return result


def rms(samples: NDArray[np.floating]) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.square(samples, dtype=np.float64).mean()))


def _of_length(samples: NDArray[np.floating], length: int) -> NDArray[np.floating]:
    return np.pad(samples, (0, max(0, length - len(samples))))[:length]
