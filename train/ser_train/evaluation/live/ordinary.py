"""Shares of ordinary talk in which a model is sure of an emotion that is not there."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ser_train.evaluation.clips import Evaluation, begin
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
    """Shares in one condition under one prior."""

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
    said: tuple[Said, ...]
    """Every condition, the clean one first, under each prior."""


def evaluate_talk(job: Evaluation, report: Reporter) -> TalkFigures:
    """Let the live engine hear recordings, each by itself, as they are and in conditions.

    Raises
    ------
    SerError
        If the model, the recordings or the speakers do not fit.
    """
    ready, conditions = begin(job, report), make_ways()
    counts: dict[tuple[str, str], dict[str, Counter[str]]] = defaultdict(
        lambda: defaultdict(Counter)
    )
    with report.counting("talk", len(ready.voices) * len(conditions)) as advance:
        for voice, condition in itertools.product(ready.voices, conditions):
            under = hear(ready.classifier, [condition.voice(voice)])
            for prior, predictions in zip(PRIORS, under, strict=True):
                own = counts[condition.name, prior][voice.clip.speaker]
                own.update(
                    p.label if p.state == "speech" else UNCERTAIN for p in predictions if p.label
                )
            advance()
    card = ready.classifier.card
    said = tuple(
        sum_up(condition, prior, counts[condition.name, prior].values(), card.labels)
        for condition, prior in itertools.product(conditions, PRIORS)
    )
    return TalkFigures(card.name, ready.protocol, len(ready.voices), said)


def sum_up(
    condition: Condition, prior: str, counts: Iterable[Counter[str]], labels: Sequence[str]
) -> Said:
    """Turn the outcomes of each speaker's heard hops into shares, each speaker counting alike."""
    outcomes = [*labels, UNCERTAIN]
    rows = [[one[outcome] for outcome in outcomes] for one in counts if one.total()]
    hops = np.array(rows, np.int64).reshape(-1, len(outcomes))
    shares = hops / hops.sum(axis=1, keepdims=True)

    def share(chosen: Iterable[str]) -> Share:
        values = shares[:, [outcomes.index(one) for one in chosen]].sum(axis=1, keepdims=True)
        mean = float(values.mean()) if len(values) else 0.0
        if len(values) < FEWEST_SPEAKERS:
            return Share(mean, None)
        return Share(mean, speaker_intervals(values, np.ones(values.shape, np.int64))[1])

    return Said(
        condition=condition.name,
        words=condition.words,
        prior=prior,
        speakers=len(hops),
        hops=int(hops.sum()),
        emotion=share(label for label in labels if label not in NEUTRAL),
        neutral=share(label for label in labels if label in NEUTRAL),
        uncertain=share([UNCERTAIN]),
        sure={label: share([label]).mean for label in labels},
    )
