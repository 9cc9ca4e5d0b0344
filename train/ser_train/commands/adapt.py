"""Adapt a trained model to other speakers, recordings or labels."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_live.errors import SerError
from ser_live.model.card import Calibration, Metric
from ser_train.commands.fit import FitJob, describe
from ser_train.corpora import LABELS, labels_of, speakers_of
from ser_train.data.prepare import Prepared, prepare
from ser_train.data.splits import Roles, choose_roles, only_named
from ser_train.evaluation.calibration import Calibrated, Measured, calibrate, measure
from ser_train.evaluation.comparison import Comparison, common_labels, compare, table, worse
from ser_train.models.keras_file import heard_before, save_model
from ser_train.progress import Reporter
from ser_train.reports import markdown as pages
from ser_train.reports import plots as pictures
from ser_train.reports.adapted_card import (
    adapted_card,
    adapted_metrics,
    adapted_record,
)
from ser_train.training.checkpoint import Settings
from ser_train.training.fine_tuning import adapt_network, has_begun
from ser_train.training.loop import Trained
from ser_train.training.pretrained import FirstModel, load_first


@dataclass(frozen=True, slots=True)
class _Task:
    """One adaptation, ready to train."""

    job: FitJob
    first: FirstModel
    prepared: Prepared
    roles: Roles
    labels: tuple[str, ...]
    report: Reporter


def adapt(job: FitJob, init: Path, report: Reporter) -> Comparison | None:
    """Adapt a model and write the result with its card, pictures and figures.

    First a new head learns on the network as it is, then all layers at a small rate.

    Parameters
    ----------
    job : FitJob
        The network is the model's, whatever the job says.
    init : Path
        The ``.keras`` file to begin with.
    report : Reporter

    Returns
    -------
    Comparison or None
        Before and after on the held-out clips, if there are any.

    Raises
    ------
    SerError
        If the model, the recordings, the speakers or the folders do not fit.
    """
    first = load_first(init)
    recordings = dataclasses.replace(job.recordings, own_labels=True)
    clips = only_named(recordings.find(), job.named)
    prepared = prepare(clips, first.network, job.cache_folder, report, job.skip_broken)
    roles = choose_roles(prepared.clips, job.named)
    task = _Task(job, first, prepared, roles, labels_of(prepared.clips), report)
    if not job.resume and has_begun(job.run_folder, first):
        raise SerError(
            f"{job.run_folder} holds the checkpoint of an adaptation; continue it with --resume, "
            "or give another folder with --run-dir"
        )
    _announce(task)
    trained = _train(task)
    return _finish(task, trained, _calibrate(task, trained.model))


def _announce(task: _Task) -> None:
    report, split = task.report, task.roles.split
    report.note(describe(task.prepared.clips, split, task.labels))
    known = ", ".join(common_labels(task.first.card.labels, task.labels)) or "none"
    report.note(f"adapting {task.first.card.name}; of these labels it knows: {known}")
    own = [label for label in task.labels if label not in LABELS]
    if own:
        report.warn(f"no known corpus has the label {', '.join(own)}; if it is a slip, use --map")
    if not split.test:
        report.warn("nothing is held out, so nothing will be measured")
        return
    if not task.roles.speaker_independent:
        report.warn(
            "no speaker is held out, so the figures are of held-out clips of speakers that train "
            "(speaker-dependent): other voices will do worse; give three or more speakers"
        )
    heard = heard_before(task.first.record, speakers_of(task.prepared.chosen(split.test)))
    if heard:
        report.warn(f"{heard}: before and after flatter")


def _train(task: _Task) -> Trained:
    job, own = task.job, task.first.network.recipe
    return adapt_network(
        task.first,
        task.prepared,
        task.roles.split,
        Settings(task.labels, own, job.seed, job.mask_missing_labels),
        job.epochs,
        job.batch_clips,
        job.run_folder,
        task.report,
    )


def _calibrate(task: _Task, model: Any) -> Calibrated:
    """Set the temperature on validation speakers; without any the first model's stays.

    A temperature under 1 sharpens, which new data must have allowed: 1 is then the least.
    """
    card, validation = task.first.card, task.roles.split.validation
    if validation:
        fitted = calibrate(model, task.prepared, validation, task.labels)
        threshold = fitted.smoothing.uncertain_below
        smoothing = dataclasses.replace(card.smoothing, uncertain_below=threshold)
        return Calibrated(fitted.calibration, smoothing)
    temperature = max(1.0, card.calibration.temperature)
    model.get_layer("temperature").temperature.assign(temperature)
    method = f"that of {card.name}, but at least 1: no speaker was left to fit it on"
    return Calibrated(Calibration(temperature, method), card.smoothing)


def _finish(task: _Task, trained: Trained, calibrated: Calibrated) -> Comparison | None:
    job, split, clips = task.job, task.roles.split, task.prepared.clips
    metrics: tuple[Metric, ...] = ()
    comparison = None
    if split.test:
        measured = measure(trained.model, task.prepared, split.test, task.labels, whole=False)
        comparison = compare(_before(task), task.first.card.labels, measured, task.labels)
        metrics = adapted_metrics(
            measured,
            task.first.record,
            task.roles.speaker_independent,
            f"last epoch; seed {job.seed}",
        )
        _show(task, measured, comparison)
    _write_figures(task, trained, calibrated, comparison)
    heard = task.prepared.chosen(split.training)
    first = dataclasses.replace(
        task.first.card,
        description=job.description or task.first.card.description,
        limits=job.limits or task.first.card.limits,
    )
    card = adapted_card(first, task.first.mark, heard, task.labels, calibrated, metrics)
    card = dataclasses.replace(
        card, name=job.name or card.name, licence=job.licence or card.licence
    )
    record = adapted_record(task.first.record, clips, split, job.seed)
    save_model(job.output, trained.model, card, record)
    task.report.note(f"wrote {job.output}; curves and figures are in {job.run_folder}")
    return comparison


def _before(task: _Task) -> Measured | None:
    """Measure the first model on the test clips whose label it knows."""
    known = task.first.card.labels
    chosen = [i for i in task.roles.split.test if task.prepared.clips[i].label in known]
    if not chosen:
        return None
    return measure(task.first.model, task.prepared, chosen, known, whole=False)


def _show(task: _Task, measured: Measured, comparison: Comparison) -> None:
    what = "held-out speakers" if task.roles.speaker_independent else "held-out clips"
    for line in (f"{what}: {', '.join(speakers_of(measured.clips))}", *table(comparison)):
        task.report.note(line)
    losses = worse(comparison)
    if losses:
        task.report.warn(f"on the {what} the adapted model is worse than before: {losses}")
    pictures.draw_measured(
        task.job.run_folder, measured.probabilities, measured.truth, task.labels, what
    )


def _write_figures(
    task: _Task, trained: Trained, calibrated: Calibrated, comparison: Comparison | None
) -> None:
    folder, card = task.job.run_folder, task.first.card
    pictures.draw_curves(folder / "curves.png", trained.history, f"{card.name}, adapted")
    pages.write_json(
        folder / "metrics.json",
        {
            "adapted_from": {"name": card.name, "sha256": task.first.mark},
            "network": card.network,
            "labels": task.labels,
            "speaker_independent": task.roles.speaker_independent,
            "comparison": dataclasses.asdict(comparison) if comparison else None,
            "calibration": dataclasses.asdict(calibrated.calibration),
            "uncertain_below": calibrated.smoothing.uncertain_below,
            "history": [dataclasses.asdict(record) for record in trained.history],
        },
    )
