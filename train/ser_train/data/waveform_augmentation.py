"""Random changes of recordings that leave the emotion as it is.

For networks with a front end that never learns: its outputs are computed once for several changed
copies of each recording, where spectra could be changed at every step.
"""

from collections.abc import Sequence

import numpy as np
import scipy  # loads its parts when they are asked for: they take a second
import soundfile
from numpy.typing import NDArray

from ser_live.model.card import SAMPLE_RATE_HZ
from ser_train.data.acoustics import (
    CODECS,
    Room,
    Samples,
    coloured,
    in_room,
    over_line,
    rms,
    room_response,
    through_codec,
    with_noise,
)
from ser_train.data.spectra import at_speed
from ser_train.models.recipe import WaveformAugmentation

_TELEPHONE_RMS = 0.1
_CODEC_PEAK = 0.3
_BABBLE_SPEEDS = (0.8, 0.9, 1.15, 1.25)
"""Of one's own voice, to make others of it."""
_COMPRESSION = {"MP3": (0.6, 0.98), "OGG": (0.85, 0.99)}
"""Of libsndfile, 0 to 1: from some 64 and 46 kbit/s to 10."""
_QUIETEST = 1e-9


def codecs_there() -> tuple[str, ...]:
    """Return those of the codecs that libsndfile can write."""
    there = soundfile.available_formats()
    return tuple(
        name
        for name, encoding in CODECS.items()
        if name in there and encoding in soundfile.available_subtypes(name)
    )


class WaveformAugmenter:
    """Vary recordings: what a voice, a room, a microphone and a line may change.

    Parameters
    ----------
    settings : WaveformAugmentation
    codecs : tuple of str
        Those to choose from; none: none is heard.
    """

    def __init__(self, settings: WaveformAugmentation, codecs: tuple[str, ...]) -> None:
        self._settings = settings
        self._codecs = codecs

    def process(
        self,
        samples: Samples,
        speech: slice,
        others: Sequence[Samples],
        random: np.random.Generator,
    ) -> Samples:
        """Return a changed copy; a speed changes its length.

        Parameters
        ----------
        samples : ndarray, shape (n,), float32
            Mono at 16 kHz.
        speech : slice
            That the babble and the noise keep a distance to.
        others : sequence of ndarray
            Recordings for the babble behind it.
        random : Generator
            Owns all the randomness.
        """
        settings = self._settings
        if settings.unchanged_share and random.random() < settings.unchanged_share:
            return samples
        if random.random() < settings.speed_probability:
            speed = float(random.uniform(*settings.speed))
            samples = at_speed(samples, speed)
            speech = slice(
                *(min(len(samples), int(i / speed)) for i in (speech.start, speech.stop))
            )
        if random.random() < settings.equaliser_probability:
            samples = self._equalised(samples, random)
        if random.random() < settings.room_probability:
            samples = in_room(samples, room_response(self._room(random), random))
        if random.random() < settings.babble_probability:
            babble = self._babble(len(samples), others, random)
            samples = with_noise(samples, babble, speech, random.uniform(*settings.babble_snr_db))
        if random.random() < settings.noise_probability:
            tilt = random.uniform(*settings.noise_tilt_db_per_octave)
            noise = coloured(_fast_length(samples), tilt, random)[: len(samples)]
            samples = with_noise(samples, noise, speech, random.uniform(*settings.noise_snr_db))
        way = random.random()
        if way < settings.telephone_probability:
            samples = self._telephoned(samples, random)
        elif way < settings.telephone_probability + settings.codec_probability and self._codecs:
            samples = self._packed(samples, random)
        return samples

    def _equalised(self, samples: Samples, random: np.random.Generator) -> Samples:
        settings, length = self._settings, _fast_length(samples)
        frequencies_hz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
        mels = np.log1p(frequencies_hz / 700.0)
        knots_db = random.normal(0.0, settings.equaliser_db, 7)
        tilt_db = random.uniform(-1.0, 1.0) * settings.tilt_db_per_octave
        gain_db = np.interp(mels / mels[-1], np.linspace(0.0, 1.0, 7), knots_db)
        gain_db += tilt_db * np.log2(np.maximum(frequencies_hz, 60.0) / 1000.0)
        spectrum = np.fft.rfft(samples, length) * 10.0 ** (gain_db / 20.0)
        return np.fft.irfft(spectrum, length)[: len(samples)].astype(np.float32)

    def _room(self, random: np.random.Generator) -> Room:
        settings = self._settings
        return Room(
            rt60_seconds=random.uniform(*settings.rt60_seconds),
            direct_to_reverberant_db=random.uniform(*settings.direct_to_reverberant_db),
            damping=random.uniform(0.1, 0.6),
            gap_seconds=random.uniform(0.003, 0.02),
            reflections=int(random.integers(4, 20)),
            arrival_seconds=(0.002, 0.06),
            strength=(1.0, 4.0),
        )

    def _babble(
        self, length: int, others: Sequence[Samples], random: np.random.Generator
    ) -> Samples:
        low, high = self._settings.babble_voices
        babble = np.zeros(length, np.float32)
        for _ in range(int(random.integers(low, high + 1))):
            voice = others[int(random.integers(len(others)))]
            voice = at_speed(voice, float(random.choice(_BABBLE_SPEEDS)))
            said = np.resize(voice / (rms(voice) + _QUIETEST), length)
            babble += np.roll(said, int(random.integers(length)))
        return babble

    def _telephoned(self, samples: Samples, random: np.random.Generator) -> Samples:
        band_hz = random.uniform(150.0, 400.0), random.uniform(2800.0, 3900.0)
        order = int(random.integers(2, 7))
        band = scipy.signal.butter(order, band_hz, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
        gain = _TELEPHONE_RMS / (rms(samples) + _QUIETEST)
        heard = over_line(scipy.signal.sosfilt(band, gain * samples), random.random() < 0.7)
        return (heard / gain).astype(np.float32)

    def _packed(self, samples: Samples, random: np.random.Generator) -> Samples:
        name = self._codecs[int(random.integers(len(self._codecs)))]
        gain = np.float32(_CODEC_PEAK / max(1e-6, float(np.abs(samples).max(initial=0.0))))
        return through_codec(gain * samples, name, random.uniform(*_COMPRESSION[name])) / gain


def _fast_length(samples: NDArray[np.float32]) -> int:
    """Return the next length at which a Fourier transform is quick."""
    return int(scipy.fft.next_fast_len(len(samples), real=True))
