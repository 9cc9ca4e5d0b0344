"""What an adapted model says of itself: where it comes from and what it was measured on."""

import dataclasses
from collections.abc import Sequence

from ser_live.model.card import LONGEST_NAME, Corpus, Metric, ModelCard
from ser_train.corpora import Clip, speakers_of
from ser_train.data.splits import Split
from ser_train.evaluation.calibration import Calibrated, Measured
from ser_train.models.keras_file import TrainingRecord, heard_before
from ser_train.reports.model_card import corpora_of, metrics_of, strictest_licence


def adapted_card(
    first: ModelCard,
    mark: str,
    clips: Sequence[Clip],
    labels: tuple[str, ...],
    calibrated: Calibrated,
    metrics: tuple[Metric, ...],
) -> ModelCard:
    """Describe an adapted model.

    Parameters
    ----------
    first : ModelCard
        Of the model that was adapted.
    mark : str
        That model's fingerprint.
    clips : sequence of Clip
        What it was adapted to.
    labels : tuple of str
    calibrated : Calibrated
    metrics : tuple of Metric

    Returns
    -------
    ModelCard
        With the corpora of both trainings and the strictest of their licences.
    """
    added = tuple(
        dataclasses.replace(corpus, name=f"{corpus.name} (adapted to)")
        for corpus in corpora_of(clips)
    )
    return dataclasses.replace(
        first,
        name=f"{first.name}-adapted"[:LONGEST_NAME],
        labels=labels,
        licence=strictest_licence([first.licence, *(corpus.licence for corpus in added)]),
        description=f"{first.description} {_origin(first, mark, added)}".strip(),
        smoothing=calibrated.smoothing,
        calibration=calibrated.calibration,
        corpora=first.corpora + added,
        metrics=metrics,
        golden=None,
    )


def adapted_metrics(
    measured: Measured,
    first: TrainingRecord | None,
    speaker_independent: bool,
    conditions: str,
) -> tuple[Metric, ...]:
    """Turn the scores of the held-out clips into metrics of the card."""
    speakers = speakers_of(measured.clips)
    known = heard_before(first, speakers)
    who = "held-out speakers" if speaker_independent else "held-out clips of speakers in training"
    protocol = "; ".join(
        part for part in (f"{who} {', '.join(speakers)}", known, measured.heard, conditions) if part
    )
    return metrics_of(measured.scores, protocol, speaker_independent and not known)


def adapted_record(
    first: TrainingRecord | None, clips: Sequence[Clip], split: Split, seed: int
) -> TrainingRecord:
    """Join who was heard before and who was heard now; whoever trained once has trained."""
    before = first or TrainingRecord((), (), (), seed)
    now = split.speakers(clips)
    training = {*before.training_speakers, *now[0]}
    validation = {*before.validation_speakers, *now[1]} - training
    test = {*before.test_speakers, *now[2]} - training - validation
    return TrainingRecord(
        tuple(sorted(training)), tuple(sorted(validation)), tuple(sorted(test)), seed
    )


def _origin(first: ModelCard, mark: str, added: Sequence[Corpus]) -> str:
    clips = sum(corpus.clips for corpus in added)
    speakers = sum(corpus.speakers for corpus in added)
    return f"Adapted from {first.name} (SHA-256 {mark}) to {clips} clips of {speakers} speakers."
