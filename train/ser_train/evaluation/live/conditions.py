"""Bad conditions, made at waveform level, and what they take from a model.

A noise, a room, a telephone line, an MP3 file: each is made from the recording's own samples.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # loads scipy.signal when it is asked for: that takes a second

from ser_live.model.card import SAMPLE_RATE_HZ
from ser_train.corpora import Clip, speakers_of, truth_of
from ser_train.data import acoustics
from ser_train.data.acoustics import (
    Room,
    Samples,
    in_room,
    over_line,
    rms,
    through_codec,
    with_noise,
)
from ser_train.evaluation.clips import Evaluation, Voice, begin, find_voices, window_probabilities
from ser_train.evaluation.live import sounds
from ser_train.evaluation.live.sounds import SEED
from ser_train.metrics import Scores, score
from ser_train.progress import Reporter

SNR_DB = 10.0
"""Of the speech over each noise, from the speech's onset to its end."""
RT60_SECONDS = 0.6
"""In which the room's sound falls by 60 dB."""
DIRECT_TO_REVERBERANT_DB = -3.0
"""As about a metre from the talker."""
BED_SECONDS = 120.0
"""Of babble and of traffic; every recording gets another part."""
TELEPHONE_BAND_HZ = (300.0, 3400.0)
MP3_KBITS_PER_SECOND = 32

_MOST_TALKERS = 400
"""Recordings behind the babble."""
_ROOMS = 8
_TELEPHONE_RMS = 0.1
_MP3_KBITS_PER_SECOND = (8, 160)
"""Least and most that the format has at this rate."""

Change = Callable[[Samples, slice, np.random.Generator], Samples]
"""(recording, its speech, randomness of this recording) to the recording in a condition."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One bad condition."""

    name: str
    words: str
    """Description for a report."""
    number: int
    """Of the family, part of the seed."""
    change: Change

    def voice(self, voice: Voice) -> Samples:
        """Return a recording whose speech has been found in this condition."""
        speech = slice(voice.onset_sample, voice.end_sample)
        return self.process(voice.samples(), speech, voice.clip.path.name)

    def process(self, samples: Samples, speech: slice, name: str) -> Samples:
        """Return a recording in this condition, of the same length.

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


CLEAN = Condition("clean", "the recordings as they are", sounds.CLEAN, lambda x, *_: x)


def make_conditions(babble: Samples) -> tuple[Condition, ...]:
    """Make all conditions out of a bed of babble, shape (n,); the clean one comes first."""
    noise, street = f"at {SNR_DB:g} dB SNR", sounds.street_bed(BED_SECONDS)
    talkers = f"{sounds.TALKERS} other talkers at once {noise}"
    cars = f"synthetic traffic with cars that pass {noise}"
    clean, *ways = make_ways()
    return (
        clean,
        Condition("babble", talkers, sounds.BABBLE, _over(babble)),
        Condition("street", cars, sounds.STREET, _over(street)),
        Condition("hum", f"50 Hz mains hum with harmonics {noise}", sounds.HUM, _over_hum),
        *ways,
    )


def make_ways() -> tuple[Condition, ...]:
    """Make the conditions that add no noise: clean, from afar, by telephone, as an MP3 file."""
    rooms = [room_response(number) for number in range(_ROOMS)]
    room = (
        f"{_ROOMS} synthetic rooms with an RT60 of {RT60_SECONDS:g} s, direct to reverberant "
        f"{DIRECT_TO_REVERBERANT_DB:g} dB"
    )
    low_hz, high_hz = TELEPHONE_BAND_HZ
    telephone = f"{low_hz:g} to {high_hz:g} Hz, 8 kHz, mu-law of 8 bits"
    mp3 = f"MP3 at {MP3_KBITS_PER_SECOND} kbit/s and {SAMPLE_RATE_HZ // 1000} kHz, by LAME"

    def in_some_room(samples: Samples, speech: slice, random: np.random.Generator) -> Samples:
        return in_room(samples, rooms[random.integers(_ROOMS)])

    return (
        CLEAN,
        Condition("room", room, sounds.ROOM, in_some_room),
        Condition("telephone", telephone, sounds.TELEPHONE, lambda x, at, _: over_telephone(x, at)),
        Condition("mp3", mp3, sounds.MP3, lambda x, *_: as_mp3(x)),
    )


def room_response(number: int) -> Samples:
    """Make one of the rooms."""
    random = np.random.default_rng((SEED, sounds.ROOM, 0, number))
    return acoustics.room_response(Room(RT60_SECONDS, DIRECT_TO_REVERBERANT_DB), random)


def over_telephone(samples: Samples, speech: slice) -> Samples:
    """Send a recording over a line, at the level of ordinary speech, and give its level back."""
    band = scipy.signal.butter(6, TELEPHONE_BAND_HZ, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    gain = _TELEPHONE_RMS / (rms(samples[speech]) + 1e-12)
    wide = over_line(scipy.signal.sosfiltfilt(band, gain * samples))
    result: Samples = (scipy.signal.sosfiltfilt(band, wide) / gain).astype(np.float32)
    return result


def as_mp3(samples: Samples) -> Samples:
    """Encode a recording as MP3 and decode it again."""
    least, most = _MP3_KBITS_PER_SECOND
    return through_codec(samples, "MP3", (most - MP3_KBITS_PER_SECOND) / (most - least))


def _over(bed: Samples) -> Change:
    def change(samples: Samples, speech: slice, random: np.random.Generator) -> Samples:
        places = random.integers(len(bed)) + np.arange(len(samples))
        return with_noise(samples, bed.take(places, mode="wrap"), speech, SNR_DB)

    return change


def _over_hum(samples: Samples, speech: slice, random: np.random.Generator) -> Samples:
    return with_noise(samples, sounds.hum(len(samples), random), speech, SNR_DB)


@dataclass(frozen=True, slots=True)
class InCondition:
    """One condition and what was measured in it."""

    name: str
    words: str
    scores: Scores
    lost_points: float
    """UAR when clean less UAR here, in points."""


@dataclass(frozen=True, slots=True)
class ConditionsFigures:
    """All figures."""

    model: str
    protocol: str
    seed: int
    measured: tuple[InCondition, ...]
    """The clean one comes first."""


def evaluate_conditions(job: Evaluation, report: Reporter) -> ConditionsFigures:
    """Measure recordings as they are, and the same ones in each bad condition.

    Raises
    ------
    SerError
        If the model, the recordings, their labels or the speakers do not fit, or if no speaker
        is left for the babble.
    """
    ready = begin(job, report, babble=True)
    classifier, voices, others = ready.classifier, ready.voices, ready.others
    conditions = make_conditions(_babble(others, report, job.skip_broken))
    protocol = (
        f"{ready.protocol}; the first {classifier.card.window.seconds:g} s from the speech onset "
        f"of the clean recording, even prior; babble of {len(speakers_of(others))} other speakers"
    )
    rows = []
    with report.counting("conditions", len(voices)) as advance:
        for voice in voices:
            heard = [condition.voice(voice) for condition in conditions]
            rows.append(window_probabilities(classifier, voice, *heard))
            advance()
    truth = truth_of((voice.clip for voice in voices), classifier.card.labels)
    scores = [score(probabilities, truth) for probabilities in np.stack(rows, axis=1)]
    measured = tuple(
        InCondition(condition.name, condition.words, one, 100.0 * (scores[0].uar - one.uar))
        for condition, one in zip(conditions, scores, strict=True)
    )
    return ConditionsFigures(classifier.card.name, protocol, SEED, measured)


def _babble(clips: Sequence[Clip], report: Reporter, skip: bool) -> Samples:
    order = np.random.default_rng(SEED).permutation(len(clips))[:_MOST_TALKERS]
    voices = find_voices([clips[index] for index in order], "babble", report, skip)
    return sounds.babble_bed([voice.speech() for voice in voices], BED_SECONDS)
