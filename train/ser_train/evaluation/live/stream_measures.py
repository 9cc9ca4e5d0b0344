"""Measures of a stream of predictions about recordings whose onsets and emotions are known."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ser_live.engine.utterances import Utterance, UtteranceTracker
from ser_live.prediction import Prediction
from ser_train.evaluation.clips import Voice
from ser_train.metrics import score


@dataclass(frozen=True, slots=True)
class Span:
    """Place of one recording's speech in the stream, in seconds."""

    voice: Voice
    onset_seconds: float
    end_seconds: float

    def shared_seconds(self, prediction: Prediction) -> float:
        """Return the length of this speech that a prediction rests on; negative if apart."""
        start_seconds = max(self.onset_seconds, prediction.start_seconds)
        return min(self.end_seconds, prediction.end_seconds) - start_seconds


@dataclass(frozen=True, slots=True)
class Heard:
    """Labels of one recording in the stream that rest on it alone."""

    span: Span
    predictions: tuple[Prediction, ...]
    """Those with a label, from its onset to the next one."""
    mixed: int
    """Predictions with a label in that time that still rest on a recording before."""

    @property
    def first_seconds(self) -> float | None:
        """From the true onset to the first label."""
        return self._since_onset(self.predictions[:1])

    @property
    def first_correct_seconds(self) -> float | None:
        """From the true onset to the first correct label."""
        return self._since_onset([p for p in self.predictions if self.is_right(p)][:1])

    @property
    def first_sure_correct_seconds(self) -> float | None:
        """The same, where state ``uncertain`` counts as no label."""
        right = [p for p in self.predictions if self.is_right(p) and p.state == "speech"]
        return self._since_onset(right[:1])

    @property
    def last_change_seconds(self) -> float | None:
        """From the true onset to the label that stays to the end."""
        place = max((k + 1 for k in self._change_places()), default=0)
        return self._since_onset(self.predictions[place : place + 1])

    @property
    def changes(self) -> int:
        """Number of times that one label follows another."""
        return len(self._change_places())

    @property
    def last(self) -> Prediction | None:
        """The last prediction with a label."""
        return self.predictions[-1] if self.predictions else None

    @property
    def named(self) -> str | None:
        """That label."""
        return self.last.label if self.last else None

    def is_right(self, prediction: Prediction) -> bool:
        """Tell whether a label is the recording's."""
        return prediction.label == self.span.voice.clip.label

    def at(self, seconds: float) -> Prediction | None:
        """Return the prediction in force so long after the true onset, if it has a label."""
        moment = self.span.onset_seconds + seconds
        before = [p for p in self.predictions if p.end_seconds <= moment]
        return before[-1] if before else None

    def _change_places(self) -> list[int]:
        labels = [prediction.label for prediction in self.predictions]
        return [k for k in range(len(labels) - 1) if labels[k] != labels[k + 1]]

    def _since_onset(self, predictions: Sequence[Prediction]) -> float | None:
        return predictions[0].end_seconds - self.span.onset_seconds if predictions else None


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds over the recordings where it happened at all."""

    count: int
    of: int
    median: float | None
    p90: float | None


@dataclass(frozen=True, slots=True)
class Recall:
    """Share of recordings with the right label; no label counts as wrong."""

    count: int
    uar: float
    wa: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Honesty of probabilities."""

    count: int
    ece: float
    """Over 15 bins."""
    debiased_ece: float
    """Less what chance adds where predictions are few."""
    nll: float


@dataclass(frozen=True, slots=True)
class FalseEmotion:
    """Emotions that the stream named in a minute of a sound without speech."""

    sound: str
    emotion_seconds: float
    """In state ``speech``."""
    uncertain_seconds: float


@dataclass(frozen=True, slots=True)
class OfCorpus:
    """The recordings of one corpus, or of all."""

    name: str
    named: Recall
    """The last stable label of each."""
    utterance: Recall
    """The best guess of the utterance that each is heard as."""
    offline: Recall
    """The first window of each, without stream and smoothing."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """Honesty of the smoothed probabilities."""

    at_the_end: Calibration
    """Of the last label of each recording."""
    throughout: Calibration
    """Of every label."""


@dataclass(frozen=True, slots=True)
class UnderPrior:
    """Figures of the same stream under one prior."""

    prior: str
    named: Recall
    """The last stable label of each recording."""
    coverage: float
    """Share of the predictions with a label that are sure: in state ``speech``."""
    sure_right_share: float
    """Share of the sure ones that are right."""
    confidence: Confidence | None
    """None where no recording got a label."""


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """All figures of one stream."""

    model: str
    protocol: str
    seconds: float
    hop_seconds: float
    recordings: int
    accuracy: tuple[OfCorpus, ...]
    """All recordings come first."""
    unnamed: int
    """Recordings without any label."""
    mixed: int
    """Predictions that still hear a recording before."""
    right_share: float
    """Of all predictions with a label."""
    first: Times
    first_correct: Times
    first_sure_correct: Times
    last_change: Times
    changes_per_minute: float
    uncertain_share: float
    priors: tuple[UnderPrior, ...]
    """Everyday first, which all figures beside these rest on."""
    utterances: tuple[UnderPrior, ...]
    """The same of the utterances, as if each were the one prediction about its recording."""
    cost_points: float
    """UAR of the last stable label under the even prior less the one under the everyday prior."""
    confidence: Confidence | None
    """None where no recording got a label."""
    gains: tuple[tuple[float, float], ...]
    """Gain in dB, and the share of predictions whose state or label differs."""
    false_emotions: tuple[FalseEmotion, ...]


@dataclass(frozen=True, slots=True)
class StreamResult:
    """Figures, and what they were counted on."""

    figures: StreamFigures
    heard: tuple[Heard, ...]
    predictions: tuple[Prediction, ...]


def listen_to(spans: Sequence[Span], predictions: Sequence[Prediction]) -> tuple[Heard, ...]:
    """Assign to each recording the predictions that are about it."""
    heard, before_end = [], 0.0
    labelled = [p for p in predictions if p.label is not None]
    onsets = [*(span.onset_seconds for span in spans), float("inf")]
    for span, (onset, next_onset) in zip(spans, itertools.pairwise(onsets), strict=True):
        inside = [p for p in labelled if onset < p.end_seconds <= next_onset]
        own = tuple(p for p in inside if p.start_seconds >= before_end)
        heard.append(Heard(span, own, len(inside) - len(own)))
        before_end = span.end_seconds
    return tuple(heard)


def listen_to_utterances(
    spans: Sequence[Span], predictions: Sequence[Prediction], uncertain_below: float
) -> tuple[Heard, ...]:
    """Assign to each recording the utterance that shares most time with it, as one prediction."""
    tracker = UtteranceTracker()
    found = [one for prediction in predictions for one in tracker.process(prediction)]
    told = [_as_prediction(one, uncertain_below) for one in (*found, *tracker.flush())]
    told = [one for one in told if one.label is not None]
    heard = []
    for span in spans:
        inside = [one for one in told if span.shared_seconds(one) > 0.0]
        best = sorted(inside, key=span.shared_seconds)[-1:]
        heard.append(Heard(span, tuple(best), mixed=0))
    return tuple(heard)


def _as_prediction(utterance: Utterance, uncertain_below: float) -> Prediction:
    is_sure = utterance.confidence >= uncertain_below
    return Prediction(
        index=0,
        start_seconds=utterance.start_seconds,
        end_seconds=utterance.end_seconds,
        state="speech" if is_sure else "uncertain",
        label=utterance.label if utterance.probabilities else None,
        confidence=utterance.confidence,
        probabilities=utterance.probabilities,
        raw_probabilities=None,
        changed=False,
    )


def times(values: Iterable[float | None]) -> Times:
    """Return median and 90th percentile of what is not None."""
    every = list(values)
    there = [value for value in every if value is not None]
    if not there:
        return Times(0, len(every), None, None)
    return Times(len(there), len(every), float(np.median(there)), float(np.quantile(there, 0.9)))


def recall(truth: Sequence[str], named: Sequence[str | None]) -> Recall:
    """Return unweighted and weighted recall of labels; None is wrong."""
    right = np.array([a == b for a, b in zip(truth, named, strict=True)])
    labels = np.array(truth)
    each = [float(right[labels == label].mean()) for label in sorted(set(truth))]
    return Recall(len(truth), float(np.mean(each)), float(right.mean()))


def recall_of_last(heard: Sequence[Heard]) -> Recall:
    """Return the recall of the last stable labels."""
    return recall([one.span.voice.clip.label for one in heard], [one.named for one in heard])


def under_prior(prior: str, heard: Sequence[Heard], labels: Sequence[str]) -> UnderPrior:
    """Measure what a stream named under one prior, and how sure it was."""
    every = [(one, prediction) for one in heard for prediction in one.predictions]
    sure = [one.is_right(prediction) for one, prediction in every if prediction.state == "speech"]
    ends = [(one, one.last) for one in heard if one.last]
    return UnderPrior(
        prior=prior,
        named=recall_of_last(heard),
        coverage=len(sure) / max(1, len(every)),
        sure_right_share=float(np.mean(sure)) if sure else 0.0,
        confidence=Confidence(calibration(ends, labels), calibration(every, labels))
        if every
        else None,
    )


def changes_per_minute(heard: Sequence[Heard], hop_seconds: float) -> float:
    """Return the changes of the label inside recordings, by the time in which there is one."""
    minutes = sum(len(one.predictions) for one in heard) * hop_seconds / 60.0
    return sum(one.changes for one in heard) / minutes if minutes else 0.0


def right_share(heard: Sequence[Heard]) -> float:
    """Return the share of predictions with a label that are right."""
    right = [one.is_right(prediction) for one in heard for prediction in one.predictions]
    return float(np.mean(right)) if right else 0.0


def calibration(pairs: Iterable[tuple[Heard, Prediction]], labels: Sequence[str]) -> Calibration:
    """Measure the smoothed probabilities of predictions that have some."""
    shares, truth = [], []
    for one, prediction in pairs:
        if prediction.probabilities is not None:
            shares.append([prediction.probabilities[label] for label in labels])
            truth.append(labels.index(one.span.voice.clip.label))
    scores = score(np.array(shares, np.float64), np.array(truth, np.intp))
    return Calibration(scores.count, scores.ece, scores.debiased_ece, scores.nll)


def differing_share(one: Sequence[Prediction], other: Sequence[Prediction]) -> float:
    """Return the share of predictions whose state or label differs between two runs."""
    pairs = list(zip(one, other, strict=True))
    return float(np.mean([(a.state, a.label) != (b.state, b.label) for a, b in pairs]))
