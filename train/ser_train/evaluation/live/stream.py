"""Measure a model in the way it is used: on a stream, through the live engine."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ser_live import Prediction, StreamRecognizer
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_live.model.classifier import Classifier
from ser_live.model.prior import NamedPrior
from ser_train.data.acoustics import coloured
from ser_train.evaluation.clips import Evaluation, Voice, begin, window_probabilities
from ser_train.evaluation.live import stream_measures as measures
from ser_train.evaluation.live.hearing import PRIORS, hear
from ser_train.evaluation.live.sounds import make_sounds
from ser_train.evaluation.live.stream_measures import Heard, Span, StreamFigures, StreamResult
from ser_train.progress import Reporter

SOUND_SECONDS = 60.0
GAINS_DB = (-20.0, 20.0)
PAUSE_SECONDS = 1.0
SPEAKER_DBFS = -26.0
"""Median level of each speaker's speech: corpora were recorded up to 30 dB apart."""
ROOM_DBFS = -75.0
"""Pink noise under the whole stream: a room is never digitally silent, and never switches."""
_HALF_PAUSE = round(PAUSE_SECONDS * SAMPLE_RATE_HZ / 2)
_KEPT = SAMPLE_RATE_HZ // 5
"""Of the recording's own background, before the onset and after the end."""


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
        """Speech of each recording."""
        spans, position = [], 0
        for voice in self.voices:
            onset = position + _HALF_PAUSE
            end = onset + voice.end_sample - voice.onset_sample
            spans.append(Span(voice, onset / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ))
            position = end + _HALF_PAUSE
        return tuple(spans)

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """Return the stream, one recording after another, with half a pause on either side."""
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


def evaluate_stream(job: Evaluation, report: Reporter) -> StreamResult:
    """Play recordings through the live engine and measure what it says, and when.

    Raises
    ------
    SerError
        If the model, the recordings, their labels or the speakers do not fit.
    """
    ready = begin(job, report)
    return measure_stream(ready.classifier, Track(ready.voices, job.seed), ready.protocol, report)


def measure_stream(
    classifier: Classifier, track: Track, protocol: str, report: Reporter
) -> StreamResult:
    """Play a track, and measure everything."""
    labels, spans = classifier.card.labels, track.spans
    with report.counting("stream", (2 + len(GAINS_DB)) * len(spans)) as advance:
        offline = []
        for voice in track.voices:
            (shares,) = window_probabilities(classifier, voice, voice.samples())
            offline.append(labels[shares.argmax()])
            advance()
        under = play(classifier, track, 0.0, advance)
        everyday = PRIORS[:1]
        louder = [play(classifier, track, gain_db, advance, everyday) for gain_db in GAINS_DB]
    predictions, heard = under[0], measures.listen_to(spans, under[0])
    priors = tuple(
        measures.under_prior(prior, measures.listen_to(spans, own), labels)
        for prior, own in zip(PRIORS, under, strict=True)
    )
    recognizer = StreamRecognizer(classifier)
    hop_seconds, below = recognizer.hop_seconds, recognizer.uncertain_below
    spoken = [measures.listen_to_utterances(spans, own, below) for own in under]
    gains = [measures.differing_share(predictions, other) for (other,) in louder]
    figures = StreamFigures(
        model=classifier.card.name,
        protocol=protocol,
        seconds=track.seconds,
        hop_seconds=hop_seconds,
        recordings=len(spans),
        accuracy=_accuracy(heard, spoken[0], offline),
        unnamed=[one.named for one in heard].count(None),
        mixed=sum(one.mixed for one in heard),
        right_share=measures.right_share(heard),
        first=measures.times(one.first_seconds for one in heard),
        first_correct=measures.times(one.first_correct_seconds for one in heard),
        first_sure_correct=measures.times(one.first_sure_correct_seconds for one in heard),
        last_change=measures.times(one.last_change_seconds for one in heard),
        changes_per_minute=measures.changes_per_minute(heard, hop_seconds),
        uncertain_share=1.0 - priors[0].coverage,
        priors=priors,
        utterances=tuple(
            measures.under_prior(prior, own, labels)
            for prior, own in zip(PRIORS, spoken, strict=True)
        ),
        cost_points=100.0 * (priors[1].named.uar - priors[0].named.uar),
        confidence=priors[0].confidence,
        gains=tuple(zip(GAINS_DB, gains, strict=True)),
        false_emotions=_false_emotions(classifier),
    )
    return StreamResult(figures, heard, tuple(predictions))


def play(
    classifier: Classifier,
    track: Track,
    gain_db: float,
    advance: Callable[[], None],
    priors: Sequence[NamedPrior] = PRIORS,
) -> tuple[list[Prediction], ...]:
    """Let new live engines, one for each prior, hear a track at some level."""
    gain = np.float32(10.0 ** (gain_db / 20.0))

    def pieces() -> Iterator[NDArray[np.float32]]:
        for piece in track.pieces():
            yield gain * piece
            advance()

    return hear(classifier, pieces(), priors)


def _accuracy(
    heard: Sequence[Heard], spoken: Sequence[Heard], offline: Sequence[str]
) -> tuple[measures.OfCorpus, ...]:
    clips = [one.span.voice.clip for one in heard]
    corpora = sorted({clip.corpus for clip in clips})
    accuracy = []
    for name in ["all", *(corpora if len(corpora) > 1 else ())]:
        mine = [k for k, clip in enumerate(clips) if name in ("all", clip.corpus)]
        first = measures.recall([clips[k].label for k in mine], [offline[k] for k in mine])
        named, pooled = (measures.recall_of_last([one[k] for k in mine]) for one in (heard, spoken))
        accuracy.append(measures.OfCorpus(name, named, pooled, first))
    return tuple(accuracy)


def _false_emotions(classifier: Classifier) -> tuple[measures.FalseEmotion, ...]:
    found = []
    for name, samples in make_sounds(SOUND_SECONDS, seed=0).items():
        recognizer = StreamRecognizer(classifier)
        predictions = recognizer.process(samples) + recognizer.flush()
        states = [prediction.state for prediction in predictions]
        per_minute = recognizer.hop_seconds * 60.0 * SAMPLE_RATE_HZ / samples.size
        emotion, unsure = (states.count(state) * per_minute for state in ("speech", "uncertain"))
        found.append(measures.FalseEmotion(name, emotion, unsure))
    return tuple(found)
