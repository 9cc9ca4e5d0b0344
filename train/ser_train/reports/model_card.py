"""Cards of trained and of adapted models, and the figures on them."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ser_live.errors import SerError
from ser_live.model.card import LONGEST_NAME, NEUTRAL, RECALL_OF, Corpus, Metric, ModelCard
from ser_train.corpora import LICENCES, Clip, speakers_of
from ser_train.cross_validation.ledger import Ledger
from ser_train.cross_validation.measurement import Figure, measure_ledger
from ser_train.data.prepare import Prepared
from ser_train.data.splits import Split
from ser_train.evaluation.calibration import Calibrated, Measured
from ser_train.metrics import Scores, score
from ser_train.models.keras_file import ModelFile
from ser_train.models.registry import Network
from ser_train.models.training_record import TrainingRecord, join_marks, record_of_roles

_STRICTEST_FIRST = ("CC-BY-NC-ND-4.0", "CC-BY-NC-SA-4.0", "ODbL-1.0", "CC-BY-4.0")

_FOR_STRANGERS = "Its confidence is meant for unknown voices; of those like its own it is too low."


def make_card(
    network: Network,
    clips: Sequence[Clip],
    labels: tuple[str, ...],
    calibrated: Calibrated,
    metrics: tuple[Metric, ...],
) -> ModelCard:
    """Describe a model, under its network's name and the licence of the strictest corpus.

    Parameters
    ----------
    network : Network
    clips : sequence of Clip
        Of the training.
    labels : tuple of str
    calibrated : Calibrated
    metrics : tuple of Metric
    """
    corpora = _corpora_of(clips)
    return ModelCard(
        name=network.name.rpartition(":")[2][:LONGEST_NAME],
        labels=labels,
        licence=strictest_licence([corpus.licence for corpus in corpora]),
        network=network.name,
        spectrum=network.spectrum,
        window=network.window,
        smoothing=calibrated.smoothing,
        calibration=calibrated.calibration,
        corpora=corpora,
        encoder=network.encoder,
        metrics=metrics,
    )


def everyday_card(card: ModelCard, network: Network) -> ModelCard:
    """Add the prior and the limits of a model that tells ordinary talk."""
    head = network.ordinary
    limits = (
        "Talk as in the interviews and conversations of its training is neutral to it until the "
        "voice is clearly not; with an even prior it hears the emotion that actors would mean."
    )
    return dataclasses.replace(
        card, prior=dict(head.prior), ordinary_odds=head.ordinary_odds, limits=limits
    )


def held_out_metrics(
    measured: Measured, labels: tuple[str, ...], conditions: str
) -> tuple[Metric, ...]:
    """Turn the scores of test speakers into metrics; with several corpora, of each one too."""
    corpora = sorted({clip.corpus for clip in measured.clips})
    protocol = _protocol(measured, measured.clips, conditions)
    metrics = _metrics_of(measured.scores, protocol)
    for corpus in corpora if len(corpora) > 1 else ():
        mine = np.array([clip.corpus == corpus for clip in measured.clips])
        probabilities, truth = measured.probabilities[mine], measured.truth[mine]
        clips = [clip for clip in measured.clips if clip.corpus == corpus]
        alone = f"{corpus} alone: {_protocol(measured, clips, conditions)}"
        metrics += _metrics_of(score(probabilities, truth), alone)
        lacking = [place for place in range(len(labels)) if place not in truth]
        if lacking:
            mass = float(probabilities[:, lacking].sum(axis=1).mean())
            name = f"mass on {' and '.join(labels[place] for place in lacking)}"
            metrics += (Metric(name, round(mass, 6), alone, True, len(clips)),)
    names = [f"{RECALL_OF}{label}" for label in labels]
    recalls = zip(names, measured.scores.recalls, strict=True)
    return metrics + _metrics(recalls, protocol, True, measured.scores.count)


def cross_validated_metrics(folder: Path, network: str) -> tuple[Metric, ...]:
    """Compute the pooled figures of a cross-validation for a card.

    Parameters
    ----------
    folder : Path
        Report folder of ``ser-train cross-validate``.
    network : str
        The card's network, which must be the one that was measured.

    Raises
    ------
    SerError
        If the folder holds no finished fold, or one of another network.
    """
    measured = measure_ledger(Ledger(folder))
    configuration = measured.rows[0].configuration
    if configuration.network != network:
        raise SerError(f"{folder}: measured {configuration.network}, wanted {network}")
    if configuration.init_name:
        raise SerError(
            f"{folder}: measured adaptations of {configuration.init_name}, wanted networks that "
            "were trained afresh"
        )
    single, seeds = measured.single, ", ".join(str(seed) for seed in measured.seeds)
    several = len(measured.seeds) > 1
    protocol = (
        f"{measured.words}; {len(measured.per_fold)} folds pooled, "
        f"{configuration.recipe['epochs']} epochs, last epoch, "
        f"{f'mean of the seeds {seeds}' if several else f'seed {seeds}'}; the same network and "
        "recipe trained on each fold, not these very weights"
    )
    independent = measured.protocol.speaker_independent
    figures = tuple(
        Metric(
            name,
            round(figure.mean, 6),
            protocol,
            independent,
            single.clips,
            _spread(figure, folds),
            "seeds" if several else "folds" if len(folds) > 1 else "",
        )
        for name, figure, folds in (
            ("UAR", single.uar, [fold.uar.mean for fold in measured.per_fold]),
            ("WA", single.wa, [fold.wa.mean for fold in measured.per_fold]),
            ("ECE", single.ece, []),
            ("debiased ECE", single.debiased_ece, []),
        )
    )
    recalls = ((f"{RECALL_OF}{label}", recall) for label, recall in single.recalls.items())
    return figures + _metrics(recalls, protocol, independent, single.clips)


def _spread(figure: Figure, folds: Sequence[float]) -> float | None:
    """Return the deviation over seeds, or over the folds of a single seed."""
    if figure.sd is not None:
        return round(figure.sd, 4)
    return round(float(np.std(folds, ddof=1)), 4) if len(folds) > 1 else None


def _protocol(measured: Measured, clips: Sequence[Clip], conditions: str) -> str:
    return (
        f"held-out speakers {', '.join(speakers_of(clips))}, neither in training nor in "
        f"validation; {measured.heard}; {conditions}"
    )


def _metrics_of(
    scores: Scores, protocol: str, speaker_independent: bool = True
) -> tuple[Metric, ...]:
    """Turn scores into metrics of a card."""
    values = (
        ("UAR", scores.uar),
        ("WA", scores.wa),
        ("ECE", scores.ece),
        ("debiased ECE", scores.debiased_ece),
    )
    return _metrics(values, protocol, speaker_independent, scores.count)


def _metrics(
    values: Iterable[tuple[str, float | None]], protocol: str, speaker_independent: bool, count: int
) -> tuple[Metric, ...]:
    return tuple(
        Metric(name, round(value, 6), protocol, speaker_independent, count)
        for name, value in values
        if value is not None
    )


def _corpora_of(clips: Sequence[Clip]) -> tuple[Corpus, ...]:
    """Count the clips and speakers of each corpus."""
    names = sorted({clip.corpus for clip in clips})
    members = [[clip for clip in clips if clip.corpus == name] for name in names]
    return tuple(
        Corpus(name, len(own), len(speakers_of(own)), LICENCES.get(name, "unknown"))
        for name, own in zip(names, members, strict=True)
    )


def strictest_licence(licences: Sequence[str]) -> str:
    """Return the licence that allows least; an unknown one allows nothing.

    Licences that the makers of corpora wrote themselves (LicenseRef-...) all bind at once.
    """
    own = sorted({licence for licence in licences if licence.startswith("LicenseRef-")})
    known = [licence for licence in _STRICTEST_FIRST if licence in licences]
    if "unknown" in licences or "LicenseRef-unknown" in own or not (own or known):
        return "LicenseRef-unknown"
    return " AND ".join(own) or known[0]


def adapted_card(
    first: ModelCard,
    mark: str,
    clips: Sequence[Clip],
    labels: tuple[str, ...],
    calibrated: Calibrated,
    metrics: tuple[Metric, ...],
) -> ModelCard:
    """Describe an adapted model, with the corpora of both trainings.

    Parameters
    ----------
    first : ModelCard
        Of the model that was adapted.
    mark : str
        That model's fingerprint.
    clips : sequence of Clip
        Of the adaptation.
    labels : tuple of str
    calibrated : Calibrated
    metrics : tuple of Metric

    Returns
    -------
    ModelCard
        With the corpora of both trainings and the strictest of their licences, and what of the
        first one's prior the labels allow. What the first one's makers wrote of it stays theirs.
    """
    added = tuple(
        dataclasses.replace(corpus, name=f"{corpus.name} (adapted to)")
        for corpus in _corpora_of(clips)
    )
    count = sum(corpus.clips for corpus in added)
    speakers = sum(corpus.speakers for corpus in added)
    origin = f"Adapted from {first.name} (SHA-256 {mark}) to {count} clips of {speakers} speakers."
    return dataclasses.replace(
        first,
        name=f"{first.name}-adapted"[:LONGEST_NAME],
        labels=labels,
        licence=strictest_licence([first.licence, *(corpus.licence for corpus in added)]),
        description=origin,
        smoothing=calibrated.smoothing,
        calibration=calibrated.calibration,
        corpora=first.corpora + added,
        metrics=metrics,
        golden=None,
        prior={label: odds for label, odds in first.prior.items() if label in labels},
        ordinary_odds=first.ordinary_odds if NEUTRAL in labels else 0.0,
    )


def adapted_metrics(
    measured: Measured, known: str, speaker_independent: bool, conditions: str
) -> tuple[Metric, ...]:
    """Turn the scores of the held-out clips into metrics of the card.

    Parameters
    ----------
    measured : Measured
    known : str
        Line on clips that the first model knows; empty: none.
    speaker_independent : bool
    conditions : str
    """
    speakers = speakers_of(measured.clips)
    kind = "held-out speakers" if speaker_independent else "held-out clips of speakers in training"
    parts = (f"{kind} {', '.join(speakers)}", known, measured.heard, conditions)
    protocol = "; ".join(part for part in parts if part)
    return _metrics_of(measured.scores, protocol, speaker_independent and not known)


def recalibrated_card(file: ModelFile, calibrated: Calibrated, measured: Measured) -> ModelCard:
    """Describe a model that strangers calibrated.

    Calibration errors of the former temperature leave the card.
    """
    card = file.card
    note = "these very weights; the speakers set temperature and threshold, so that ECE flatters"
    added = adapted_metrics(measured, "", True, note)
    threshold = calibrated.smoothing.uncertain_below
    return dataclasses.replace(
        card,
        smoothing=dataclasses.replace(card.smoothing, uncertain_below=threshold),
        calibration=calibrated.calibration,
        metrics=(*(metric for metric in card.metrics if "ECE" not in metric.name), *added),
        limits=f"{card.limits} {_FOR_STRANGERS}".strip(),
    )


def adapted_record(
    first: TrainingRecord | None, prepared: Prepared, split: Split, seed: int
) -> TrainingRecord:
    """Join the speakers heard before and now; one that trained once has trained."""
    before = first or TrainingRecord((), (), (), seed)
    trained, watched, tested = split.speakers(prepared.clips)
    return record_of_roles(
        (*before.training_speakers, *trained),
        (*before.validation_speakers, *watched),
        (*before.test_speakers, *tested),
        seed,
        join_marks(before.recordings, prepared.marks(split)),
    )
