"""The card of a freshly trained model."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ser_live.errors import SerError
from ser_live.model.card import RECALL_OF, Corpus, Metric, ModelCard
from ser_train.corpora import LICENCES, Clip, speakers_of
from ser_train.cross_validation.figures import Figure
from ser_train.cross_validation.ledger import Ledger
from ser_train.cross_validation.measurement import measure_ledger
from ser_train.evaluation.calibration import Calibrated, Measured
from ser_train.metrics import Scores, score
from ser_train.models.registry import Network

_STRICTEST_FIRST = ("CC-BY-NC-ND-4.0", "CC-BY-NC-SA-4.0", "ODbL-1.0", "CC-BY-4.0")


def make_card(
    network: Network,
    clips: Sequence[Clip],
    labels: tuple[str, ...],
    calibrated: Calibrated,
    metrics: tuple[Metric, ...],
    name: str | None,
    licence: str | None,
) -> ModelCard:
    """Describe a model.

    Parameters
    ----------
    network : Network
    clips : sequence of Clip
        What the weights were trained on.
    labels : tuple of str
    calibrated : Calibrated
    metrics : tuple of Metric
    name : str or None
        None: the network's.
    licence : str or None
        None: that of the strictest corpus.
    """
    corpora = corpora_of(clips)
    return ModelCard(
        name=name or network.name,
        labels=labels,
        licence=licence or strictest_licence([corpus.licence for corpus in corpora]),
        network=network.name,
        spectrum=network.spectrum,
        window=network.window,
        smoothing=calibrated.smoothing,
        calibration=calibrated.calibration,
        corpora=corpora,
        metrics=metrics,
    )


def held_out_metrics(
    measured: Measured, labels: tuple[str, ...], conditions: str
) -> tuple[Metric, ...]:
    """Turn the scores of test speakers into metrics; with several corpora, of each one too."""
    corpora = sorted({clip.corpus for clip in measured.clips})
    protocol = _protocol(measured, measured.clips, conditions)
    metrics = metrics_of(measured.scores, protocol)
    for corpus in corpora if len(corpora) > 1 else ():
        mine = np.array([clip.corpus == corpus for clip in measured.clips])
        probabilities, truth = measured.probabilities[mine], measured.truth[mine]
        clips = [clip for clip in measured.clips if clip.corpus == corpus]
        alone = f"{corpus} alone: {_protocol(measured, clips, conditions)}"
        metrics += metrics_of(score(probabilities, truth), alone)
        lacking = [place for place in range(len(labels)) if place not in truth]
        if lacking:
            mass = float(probabilities[:, lacking].sum(axis=1).mean())
            name = f"mass on {' and '.join(labels[place] for place in lacking)}"
            metrics += (Metric(name, round(mass, 6), alone, True, len(clips)),)
    recalls = zip(labels, measured.scores.recalls, strict=True)
    return metrics + _recalls(recalls, measured.scores.count, protocol, True)


def _recalls(
    recalls: Iterable[tuple[str, float | None]],
    count: int,
    protocol: str,
    speaker_independent: bool,
) -> tuple[Metric, ...]:
    return tuple(
        Metric(f"{RECALL_OF}{label}", round(recall, 6), protocol, speaker_independent, count)
        for label, recall in recalls
        if recall is not None
    )


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
    seeds = ", ".join(str(seed) for seed in measured.seeds)
    several = len(measured.seeds) > 1
    protocol = (
        f"{measured.protocol.words}; {len(measured.per_fold)} folds pooled, "
        f"{configuration.recipe['epochs']} epochs, last epoch, "
        f"{f'mean of the seeds {seeds}' if several else f'seed {seeds}'}; the same network and "
        "recipe trained on each fold, not these very weights"
    )
    uar = [fold.uar.mean for fold in measured.per_fold]
    wa = [fold.wa.mean for fold in measured.per_fold]
    independent = measured.protocol.speaker_independent
    figures = tuple(
        Metric(
            name=name,
            value=round(figure.mean, 6),
            protocol=protocol,
            speaker_independent=independent,
            count=measured.single.clips,
            spread=_spread(figure, folds),
            spread_over="seeds" if several else "folds" if len(folds) > 1 else "",
        )
        for name, figure, folds in (
            ("UAR", measured.single.uar, uar),
            ("WA", measured.single.wa, wa),
            ("ECE", measured.single.ece, []),
        )
    )
    single = measured.single
    return figures + _recalls(single.recalls.items(), single.clips, protocol, independent)


def _spread(figure: Figure, folds: Sequence[float]) -> float | None:
    """Over seeds, or over the folds of a single seed."""
    if figure.sd is not None:
        return round(figure.sd, 4)
    return round(float(np.std(folds, ddof=1)), 4) if len(folds) > 1 else None


def _protocol(measured: Measured, clips: Sequence[Clip], conditions: str) -> str:
    return (
        f"held-out speakers {', '.join(speakers_of(clips))}, neither in training nor in "
        f"validation; {measured.heard}; {conditions}"
    )


def metrics_of(
    scores: Scores, protocol: str, speaker_independent: bool = True
) -> tuple[Metric, ...]:
    """Turn scores into metrics of a card."""
    values = (("UAR", scores.uar), ("WA", scores.wa), ("ECE", scores.ece))
    return tuple(
        Metric(name, round(value, 6), protocol, speaker_independent, scores.count)
        for name, value in values
    )


def corpora_of(clips: Sequence[Clip]) -> tuple[Corpus, ...]:
    """Count the clips and speakers of each corpus."""
    names = sorted({clip.corpus for clip in clips})
    members = [[clip for clip in clips if clip.corpus == name] for name in names]
    return tuple(
        Corpus(name, len(own), len(speakers_of(own)), LICENCES.get(name, "unknown"))
        for name, own in zip(names, members, strict=True)
    )


def strictest_licence(licences: Sequence[str]) -> str:
    """Give the licence that allows least; an unknown one allows nothing.

    Licences that the makers of corpora wrote themselves (LicenseRef-...) all bind at once.
    """
    own = sorted({licence for licence in licences if licence.startswith("LicenseRef-")})
    known = [licence for licence in _STRICTEST_FIRST if licence in licences]
    if "unknown" in licences or "LicenseRef-unknown" in own or not (own or known):
        return "LicenseRef-unknown"
    return " AND ".join(own) or known[0]
