"""The card of a freshly trained model."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ser_live.card import Corpus, Metric, ModelCard
from ser_live.errors import SerError
from ser_train.corpora import LICENCES, Clip, speakers_of
from ser_train.measuring import Calibrated, Measured
from ser_train.metrics import Scores, score
from ser_train.networks import Network
from ser_train.summary import SUMMARY

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


def held_out_metrics(measured: Measured, conditions: str) -> tuple[Metric, ...]:
    """Turn the scores of test speakers into metrics; with several corpora, of each one too."""
    corpora = sorted({clip.corpus for clip in measured.clips})
    metrics = _metrics(measured.scores, _protocol(measured, measured.clips, conditions))
    if len(corpora) == 1:
        return metrics
    for corpus in corpora:
        mine = np.array([clip.corpus == corpus for clip in measured.clips])
        scores = score(measured.probabilities[mine], measured.truth[mine])
        clips = [clip for clip in measured.clips if clip.corpus == corpus]
        metrics += _metrics(scores, f"{corpus} alone: {_protocol(measured, clips, conditions)}")
    return metrics


def cross_validated_metrics(folder: Path, network: str) -> tuple[Metric, ...]:
    """Read the pooled figures of a finished cross-validation for a card.

    Parameters
    ----------
    folder : Path
        Report folder of ``ser-train cross-validate``.
    network : str
        The card's network, which must be the one that was measured.

    Raises
    ------
    SerError
        If the folder holds no summary, or one of another network.
    """
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SerError(
            f"{folder}: no finished cross-validation here ({error}); run ser-train "
            "cross-validate with this --report-dir first"
        ) from error
    folds = summary["folds"]
    if any(fold["network"] != network for fold in folds):
        raise SerError(f"{folder}: measured {folds[0]['network']}, wanted {network}")
    protocol = (
        f"{summary['protocol']}; {len(folds)} folds pooled, {folds[0]['epochs']} epochs, last "
        f"epoch, seed {folds[0]['seed']}; the same network and recipe trained on each fold, not "
        "these very weights"
    )
    independent, count = summary["speaker_independent"], summary["window"]["count"]
    return tuple(
        Metric(
            name=name.upper(),
            value=round(summary["window"][name], 6),
            protocol=protocol,
            speaker_independent=independent,
            count=count,
            spread=round(float(np.std([fold["window"][name] for fold in folds], ddof=1)), 4),
            spread_over="folds",
        )
        for name in ("uar", "wa", "ece")
    )


def _protocol(measured: Measured, clips: Sequence[Clip], conditions: str) -> str:
    return (
        f"held-out speakers {', '.join(speakers_of(clips))}, neither in training nor in "
        f"validation; {measured.heard}; {conditions}"
    )


def _metrics(scores: Scores, protocol: str) -> tuple[Metric, ...]:
    values = (("UAR", scores.uar), ("WA", scores.wa), ("ECE", scores.ece))
    return tuple(
        Metric(name, round(value, 6), protocol, True, scores.count) for name, value in values
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
