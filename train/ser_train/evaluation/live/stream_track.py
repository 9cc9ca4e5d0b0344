"""Recordings one after another, as one stream whose truth is known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_live.model.card import SAMPLE_RATE_HZ
from ser_train.evaluation.live.clips import Voice
from ser_train.evaluation.live.conditions import coloured

PAUSE_SECONDS = 1.0
SPEAKER_DBFS = -26.0
"""Median level of each speaker's speech: corpora were recorded up to 30 dB apart."""
ROOM_DBFS = -75.0
"""Pink noise under the whole stream: a room is never digitally silent, and never switches."""
_HALF_PAUSE = round(PAUSE_SECONDS * SAMPLE_RATE_HZ / 2)
_KEPT = SAMPLE_RATE_HZ // 5
"""Of the recording's own background, before the onset and after the end."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where one recording's speech lies in the stream, in seconds."""

    voice: Voice
    onset_seconds: float
    end_seconds: float


class Track:
    """Recordings in a random order, with one second from each end of speech to the next onset.

    Each speaker gets one gain, as a microphone that is set once; how loud and soft one speaker's
    recordings are beside each other stays.

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
        self._gains = _gains(voices)

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
            samples = self._gains[voice.clip.speaker] * voice.samples()
            yield _with_pauses(samples, voice.onset_sample, voice.end_sample, random)


def _gains(voices: Sequence[Voice]) -> dict[str, np.float32]:
    levels: dict[str, list[float]] = {}
    for voice in voices:
        levels.setdefault(voice.clip.speaker, []).append(voice.level_dbfs)
    return {
        speaker: np.float32(10.0 ** ((SPEAKER_DBFS - np.median(own)) / 20.0))
        for speaker, own in levels.items()
    }


def _with_pauses(
    samples: NDArray[np.float32], onset: int, end: int, random: np.random.Generator
) -> NDArray[np.float32]:
    start, stop = max(0, onset - _KEPT), min(len(samples), end + _KEPT)
    own = samples[start:stop].copy()
    own[: onset - start] *= np.linspace(0.0, 1.0, onset - start, dtype=np.float32)
    own[end - start :] *= np.linspace(1.0, 0.0, stop - end, dtype=np.float32)
    piece = np.pad(own, (_HALF_PAUSE - (onset - start), _HALF_PAUSE - (stop - end)))
    room = np.float32(10.0 ** (ROOM_DBFS / 20.0)) * coloured(piece.size, -3.0, random)
    result: NDArray[np.float32] = piece + room
    return result
