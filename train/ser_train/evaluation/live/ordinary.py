"""What a model says of ordinary talk: how often it is sure of an emotion that is not there."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ser_live import Prediction
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_train.evaluation.clips import Evaluation, begin, describe_speakers, find_voices
from ser_train.evaluation.live.conditions import Condition, make_ways
from ser_train.evaluation.live.hearing import PRIORS, hear
from ser_train.metrics import FEWEST_SPEAKERS, Interval, speaker_intervals
from ser_train.progress import Reporter

NEUTRAL = ("neutral", "calm")
"""Labels that are no emotion."""
UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Share:
    """Part of the heard hops, the mean over speakers."""

    mean: float
    interval: Interval | None
    """95 %, over speakers; None with fewer than three."""


@dataclass(frozen=True, slots=True)
class Said:
    """What was said in one condition under one prior."""

    condition: str
    words: str
    """Description of the condition."""
    prior: str
    speakers: int
    """Speakers of whom something was heard."""
    hops: int
    """Predictions in state ``speech`` or ``uncertain``."""
    emotion: Share
    """State ``speech`` with a label that is neither neutral nor calm."""
    neutral: Share
    """State ``speech`` with one of these."""
    uncertain: Share
    sure: dict[str, float]
    """Share of each label in state ``speech``, the mean over speakers."""


@dataclass(frozen=True, slots=True)
class TalkFigures:
    """All figures."""

    model: str
    protocol: str
    recordings: int
    seconds: float
    said: tuple[Said, ...]
    """Every condition, the clean one first, under each prior."""


def evaluate_talk(job: Evaluation, report: Reporter) -> TalkFigures:
    """Let the live engine hear recordings, each by itself, as they are and in conditions.

    Raises
    ------
    SerError
        If the model, the recordings or the speakers do not fit.
    """
    classifier, clips, _, warning = begin(job)
    if warning:
        report.warn(warning)
    voices = find_voices(clips, "recordings", report, job.skip_broken)
    conditions = make_ways()
    labels = classifier.card.labels
    told: dict[tuple[str, str], dict[str, Counter[str]]] = {}
    length = 0
    with report.counting("talk", len(voices) * len(conditions)) as advance:
        for voice in voices:
            clean, speech = voice.samples(), slice(voice.onset_sample, voice.end_sample)
            length += len(clean)
            for condition in conditions:
                changed = condition.process(clean, speech, voice.clip.path.name)
                for prior, predictions in zip(PRIORS, hear(classifier, [changed]), strict=True):
                    speakers = told.setdefault((condition.name, prior), {})
                    count = speakers.setdefault(voice.clip.speaker, Counter())
                    count.update(_outcomes(predictions))
                advance()
    return TalkFigures(
        classifier.card.name,
        describe_speakers([voice.clip for voice in voices], warning),
        len(voices),
        length / SAMPLE_RATE_HZ,
        tuple(
            sum_up(condition, prior, [*told[condition.name, prior].values()], labels)
            for condition in conditions
            for prior in PRIORS
        ),
    )


def sum_up(
    condition: Condition, prior: str, counts: Iterable[Counter[str]], labels: Sequence[str]
) -> Said:
    """Turn the outcomes of each speaker's heard hops into shares, each speaker counting alike."""
    outcomes = (*labels, UNCERTAIN)
    rows = [[one[outcome] for outcome in outcomes] for one in counts if one.total()]
    hops = np.array(rows, np.int64).reshape(-1, len(outcomes))
    shares = hops / hops.sum(axis=1, keepdims=True)

    def share(*chosen: str) -> Share:
        values = shares[:, [outcomes.index(one) for one in chosen]].sum(axis=1, keepdims=True)
        if len(values) < FEWEST_SPEAKERS:
            return Share(float(values.mean()) if len(values) else 0.0, None)
        _, interval = speaker_intervals(values, np.ones(values.shape, np.int64))
        return Share(float(values.mean()), interval)

    return Said(
        condition=condition.name,
        words=condition.words,
        prior=prior,
        speakers=len(hops),
        hops=int(hops.sum()),
        emotion=share(*(label for label in labels if label not in NEUTRAL)),
        neutral=share(*(label for label in labels if label in NEUTRAL)),
        uncertain=share(UNCERTAIN),
        sure={label: share(label).mean for label in labels},
    )


def _outcomes(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Yield the label of each heard hop, or that it is uncertain."""
    for prediction in predictions:
        if prediction.label is not None:
            yield prediction.label if prediction.state == "speech" else UNCERTAIN
