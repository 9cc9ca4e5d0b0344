"""Train one model, make its confidence honest, measure it, save it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.card import Calibration, Corpus, Metric, ModelCard, SmoothingSpec
from ser_live.errors import SerError
from ser_train import report as pictures
from ser_train.corpora import LICENCES, Clip, labels_of, speakers_of
from ser_train.inference import Inference
from ser_train.keras_file import TrainingRecord, save_model
from ser_train.metrics import (
    Scores,
    fit_temperature,
    score,
    uncertain_threshold,
    with_temperature,
)
from ser_train.networks import Network, find_network
from ser_train.prepare import Prepared, prepare
from ser_train.progress import Reporter
from ser_train.selection import Recordings, Split, choose_validation_speakers, split_by_speakers
from ser_train.training import CHECKPOINT, Settings, Trained, part, train, truth_of


@dataclass(frozen=True, slots=True)
class FitJob:
    """Everything that ``ser-train fit`` is told."""

    recordings: Recordings
    network: str
    output: Path
    run_folder: Path
    cache_folder: Path
    epochs: int | None = None
    """None: the network's own."""
    batch_clips: int | None = None
    """None: the network's own."""
    seed: int = 0
    validation_speakers: tuple[str, ...] | None = None
    """None: one of twelve of each corpus."""
    test_speakers: tuple[str, ...] = ()
    mask_missing_labels: bool = False
    skip_broken: bool = False
    resume: bool = False
    name: str | None = None
    """None: the network's name."""
    licence: str | None = None
    """None: that of the strictest corpus."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What the validation speakers decided."""

    calibration: Calibration
    smoothing: SmoothingSpec


def fit(job: FitJob, report: Reporter) -> Scores | None:
    """Train as told and write the model file, the pictures and the figures.

    Returns
    -------
    Scores or None
        Of the test speakers, if there are any.

    Raises
    ------
    SerError
        If the recordings, the speakers or the folders do not fit.
    """
    if (job.run_folder / CHECKPOINT).is_file() and not job.resume:
        raise SerError(
            f"{job.run_folder} holds the checkpoint of a training; continue it with --resume, "
            "or give another folder with --run-dir"
        )
    network = find_network(job.network)
    prepared = prepare(job.recordings.find(), network, job.cache_folder, report, job.skip_broken)
    labels = labels_of(prepared.clips)
    split = _split(job, prepared.clips)
    report.note(_describe(prepared.clips, split, labels))
    settings = Settings(
        labels,
        override(network, job.epochs, job.batch_clips).recipe,
        job.seed,
        job.mask_missing_labels,
    )
    trained = train(prepared, split.training, split.validation, settings, job.run_folder, report)
    calibrated = calibrate(trained.model, prepared, split.validation, labels)
    return _finish(job, prepared, split, labels, trained, calibrated, report)


def override(network: Network, epochs: int | None, batch_clips: int | None) -> Network:
    """Give the network with other numbers of epochs and clips in a batch; None keeps one."""
    recipe = dataclasses.replace(
        network.recipe,
        epochs=epochs or network.recipe.epochs,
        batch_clips=batch_clips or network.recipe.batch_clips,
    )
    return dataclasses.replace(network, recipe=recipe)


def calibrate(
    model: Any, prepared: Prepared, chosen: Sequence[int], labels: tuple[str, ...]
) -> Calibrated:
    """Set the model's temperature, and the threshold of uncertainty, on held-out speakers."""
    if not len(chosen):
        return Calibrated(Calibration(), SmoothingSpec())
    probabilities = predict_clips(model, prepared, chosen, whole=False)
    temperature = round(fit_temperature(probabilities, truth_of(prepared, chosen, labels)), 4)
    model.get_layer("temperature").temperature.assign(temperature)
    speakers = speakers_of(prepared.clips[index] for index in chosen)
    method = f"least NLL on {len(chosen)} clips of the held-out speakers {', '.join(speakers)}"
    threshold = uncertain_threshold(with_temperature(probabilities, temperature))
    return Calibrated(Calibration(temperature, method), SmoothingSpec(uncertain_below=threshold))


def predict_clips(
    model: Any, prepared: Prepared, chosen: Sequence[int], whole: bool
) -> NDArray[np.float64]:
    """Give probabilities (clips, labels) of the chosen clips."""
    inputs = (prepared.test_input(index, whole) for index in chosen)
    return Inference(part(model, prepared, "probabilities")).process(inputs)


def heard(network: Network, whole: bool) -> str:
    """Say what the network heard of each clip."""
    if network.front_end:
        return "whole clips"
    if whole:
        return "the whole speech of each clip, silence trimmed"
    return f"the first {network.window.seconds:g} s from the speech onset"


def _split(job: FitJob, clips: Sequence[Clip]) -> Split:
    held = job.validation_speakers
    if held is None:
        held = choose_validation_speakers(clips, job.test_speakers)
    return split_by_speakers(clips, held, job.test_speakers)


def _describe(clips: Sequence[Clip], split: Split, labels: tuple[str, ...]) -> str:
    parts = [
        f"{name}: {len(role)} clips of {len(speakers_of(clips[i] for i in role))} speakers"
        for name, role in (
            ("training", split.training),
            ("validation", split.validation),
            ("test", split.test),
        )
    ]
    return f"{', '.join(parts)}; labels: {', '.join(labels)}"


def _finish(
    job: FitJob,
    prepared: Prepared,
    split: Split,
    labels: tuple[str, ...],
    trained: Trained,
    calibrated: Calibrated,
    report: Reporter,
) -> Scores | None:
    scores: Scores | None = None
    metrics: tuple[Metric, ...] = ()
    if split.test:
        scores = _measure(job, prepared, split, labels, trained, report)
        metrics = _metrics(scores, _protocol(job, prepared, split))
    pictures.draw_curves(job.run_folder / "curves.png", trained.history, job.network)
    _write_metrics(job, labels, trained, calibrated, scores, metrics)
    card = _card(job, prepared, split, labels, calibrated, metrics)
    save_model(job.output, trained.model, card, _record(job, prepared, split))
    report.note(f"wrote {job.output}; curves and figures are in {job.run_folder}")
    return scores


def _measure(
    job: FitJob,
    prepared: Prepared,
    split: Split,
    labels: tuple[str, ...],
    trained: Trained,
    report: Reporter,
) -> Scores:
    probabilities = predict_clips(trained.model, prepared, split.test, whole=False)
    truth = truth_of(prepared, split.test, labels)
    scores = score(probabilities, truth)
    pictures.draw_measured(job.run_folder, probabilities, truth, labels, "held-out speakers")
    for line in (_protocol(job, prepared, split), *pictures.score_lines(scores, labels)):
        report.note(line)
    return scores


def _metrics(scores: Scores, protocol: str) -> tuple[Metric, ...]:
    values = (("UAR", scores.uar), ("WA", scores.wa), ("ECE", scores.ece))
    return tuple(
        Metric(name, round(value, 4), protocol, True, scores.count) for name, value in values
    )


def _protocol(job: FitJob, prepared: Prepared, split: Split) -> str:
    speakers = speakers_of(prepared.clips[index] for index in split.test)
    return (
        f"held-out speakers {', '.join(speakers)}, neither in training nor in validation; "
        f"{heard(prepared.network, whole=False)}; last epoch; seed {job.seed}"
    )


def _write_metrics(
    job: FitJob,
    labels: tuple[str, ...],
    trained: Trained,
    calibrated: Calibrated,
    scores: Scores | None,
    metrics: tuple[Metric, ...],
) -> None:
    pictures.write_json(
        job.run_folder / "metrics.json",
        {
            "network": job.network,
            "labels": labels,
            "test": dataclasses.asdict(scores) if scores else None,
            "metrics": [dataclasses.asdict(metric) for metric in metrics],
            "calibration": dataclasses.asdict(calibrated.calibration),
            "uncertain_below": calibrated.smoothing.uncertain_below,
            "history": [dataclasses.asdict(record) for record in trained.history],
        },
    )


def _record(job: FitJob, prepared: Prepared, split: Split) -> TrainingRecord:
    roles = [
        speakers_of(prepared.clips[index] for index in role)
        for role in (split.training, split.validation, split.test)
    ]
    return TrainingRecord(roles[0], roles[1], roles[2], job.seed)


def _card(
    job: FitJob,
    prepared: Prepared,
    split: Split,
    labels: tuple[str, ...],
    calibrated: Calibrated,
    metrics: tuple[Metric, ...],
) -> ModelCard:
    network = prepared.network
    corpora = _corpora([prepared.clips[index] for index in split.training])
    return ModelCard(
        name=job.name or network.name,
        labels=labels,
        licence=job.licence or _strictest([corpus.licence for corpus in corpora]),
        network=network.name,
        spectrum=network.spectrum,
        window=network.window,
        smoothing=calibrated.smoothing,
        calibration=calibrated.calibration,
        corpora=corpora,
        metrics=metrics,
    )


def _corpora(clips: Sequence[Clip]) -> tuple[Corpus, ...]:
    names = sorted({clip.corpus for clip in clips})
    members = [[clip for clip in clips if clip.corpus == name] for name in names]
    return tuple(
        Corpus(name, len(own), len(speakers_of(own)), LICENCES.get(name, "unknown"))
        for name, own in zip(names, members, strict=True)
    )


def _strictest(licences: Sequence[str]) -> str:
    for licence in ("unknown", "CC-BY-NC-SA-4.0", "CC-BY-4.0"):
        if licence in licences:
            return "LicenseRef-unknown" if licence == "unknown" else licence
    return "LicenseRef-unknown"
