"""Adapt a trained model to other speakers, recordings or labels."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_live.errors import SerError
from ser_live.model.card import NEUTRAL, Calibration, Metric
from ser_train.commands.fit import FitJob, describe, training_figures
from ser_train.corpora import labels_of, speakers_of
from ser_train.data.prepare import Prepared, prepare
from ser_train.data.splits import Split, choose_roles, only_named
from ser_train.evaluation.calibration import (
    Calibrated,
    Comparison,
    Measured,
    answers_of_speakers,
    calibrate,
    common_labels,
    compare,
    measure,
)
from ser_train.models.keras_file import save_model
from ser_train.models.registry import find_network
from ser_train.models.training_record import heard_before
from ser_train.progress import Reporter
from ser_train.reports.markdown import comparison_lines, worse, write_json
from ser_train.reports.model_card import adapted_card, adapted_metrics, adapted_record
from ser_train.reports.plots import draw_curves, draw_measured
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
    split: Split
    labels: tuple[str, ...]
    known: str
    """Warning of tested recordings that the first model knows; empty: none."""
    report: Reporter

    @property
    def is_fair(self) -> bool:
        """True if the figures are of voices that neither training heard."""
        return self.split.speaker_independent and not self.known

    @property
    def held_out(self) -> str:
        """Kind of the test clips, in words."""
        return "held-out speakers" if self.split.speaker_independent else "held-out clips"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Scores of the adapted model on the held-out clips, and their comparison with before."""

    measured: Measured
    comparison: Comparison


def adapt(job: FitJob, init: Path, report: Reporter) -> Comparison | None:
    """Adapt a model and write the result with its card, plots and figures.

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
    if job.ordinary:
        raise SerError("--ordinary wants a new model (--network); with --init the head stays")
    if job.network:
        find_network(job.network)  # imports the layers of the file
    first = load_first(init)
    first = dataclasses.replace(first, network=first.network.with_settings(job.settings))
    task = _prepare(job, first, report)
    _announce(task)
    trained = _train(task)
    calibrated = _calibrate(task, trained.model)
    outcome = _measure(task, trained)
    _save(task, trained, calibrated, outcome)
    return outcome.comparison if outcome else None


def _prepare(job: FitJob, first: FirstModel, report: Reporter) -> _Task:
    clips = only_named(job.recordings.find(), job.named)
    prepared = prepare(clips, first.network, job.cache_folder, report, job.skip_broken)
    split = choose_roles(prepared.clips, job.named)
    if not job.resume and has_begun(job.run_folder, first):
        raise SerError(
            f"{job.run_folder} holds the checkpoint of an adaptation; continue it with --resume, "
            "or give another folder with --run-dir"
        )
    test = split.test
    known = heard_before(first.record, prepared.chosen(test), prepared.contents(test))
    return _Task(job, first, prepared, split, labels_of(prepared.clips), known, report)


def _announce(task: _Task) -> None:
    report, split = task.report, task.split
    report.note(describe(task.prepared.clips, split, task.labels))
    known = ", ".join(common_labels(task.first.card.labels, task.labels)) or "none"
    report.note(f"adapting {task.first.card.name}; of these labels it knows: {known}")
    if task.first.card.ordinary_odds and NEUTRAL not in task.labels:
        report.warn(f"without the label {NEUTRAL!r} the model will not tell ordinary talk")
    if not split.test:
        report.warn("nothing is held out, so nothing will be measured")
        return
    if not task.split.speaker_independent:
        report.warn(
            "no speaker is held out, so the figures are of held-out clips of speakers that train "
            "(speaker-dependent): other voices will do worse; give three or more speakers"
        )
    if task.known:
        report.warn(f"{task.known}: before and after flatter")


def _train(task: _Task) -> Trained:
    job, recipe = task.job, task.first.network.recipe
    settings = Settings(task.labels, recipe, job.seed, job.mask_missing_labels)
    lengths = (job.epochs, job.batch_clips)
    split, folder = task.split, job.run_folder
    return adapt_network(task.first, task.prepared, split, settings, *lengths, folder, task.report)


def _calibrate(task: _Task, model: Any) -> Calibrated:
    """Set the temperature on validation speakers; without any the first model's stays.

    A temperature under 1 sharpens, which new data must have allowed: 1 is then the least.
    """
    card, validation = task.first.card, task.split.validation
    if validation:
        answers = answers_of_speakers(model, task.prepared, validation, task.labels)
        fitted = calibrate(model, answers)
        threshold = fitted.smoothing.uncertain_below
        smoothing = dataclasses.replace(card.smoothing, uncertain_below=threshold)
        return Calibrated(fitted.calibration, smoothing)
    temperature = max(1.0, card.calibration.temperature)
    model.get_layer("temperature").temperature.assign(temperature)
    method = f"that of {card.name}, but at least 1: no speaker was left to fit it on"
    return Calibrated(Calibration(temperature, method), card.smoothing)


def _measure(task: _Task, trained: Trained) -> _Outcome | None:
    """Measure the adapted model on the test clips, and the first one on those that it knows."""
    test, known = task.split.test, task.first.card.labels
    if not test:
        return None
    measured = measure(trained.model, task.prepared, test, task.labels, whole=False)
    chosen = [index for index in test if task.prepared.clips[index].label in known]
    before = None
    if chosen:
        before = measure(task.first.model, task.prepared, chosen, known, whole=False)
    comparison = compare(before, known, measured, task.labels)
    for line in (
        f"{task.held_out}: {', '.join(speakers_of(measured.clips))}",
        *comparison_lines(comparison),
    ):
        task.report.note(line)
    losses = worse(comparison)
    if losses:
        task.report.warn(f"on the {task.held_out} the adapted model is worse than before: {losses}")
    return _Outcome(measured, comparison)


def _save(task: _Task, trained: Trained, calibrated: Calibrated, outcome: _Outcome | None) -> None:
    job, first, split = task.job, task.first, task.split
    metrics: tuple[Metric, ...] = ()
    if outcome:
        draw_measured(job.run_folder, outcome.measured, task.labels, task.held_out)
        independent, conditions = task.split.speaker_independent, f"last epoch; seed {job.seed}"
        metrics = adapted_metrics(outcome.measured, task.known, independent, conditions)
    draw_curves(job.run_folder / "curves.png", trained.history, f"{first.card.name}, adapted")
    write_json(
        job.run_folder / "metrics.json",
        {
            "adapted_from": {"name": first.card.name, "sha256": first.mark},
            "network": first.card.network,
            "labels": task.labels,
            "speaker_independent": task.is_fair,
            "comparison": dataclasses.asdict(outcome.comparison) if outcome else None,
            **training_figures(job, trained, calibrated),
        },
    )
    heard = task.prepared.chosen(split.training)
    card = adapted_card(first.card, first.mark, heard, task.labels, calibrated, metrics)
    description = job.described(f"{job.description} {card.description}".strip())
    card = dataclasses.replace(job.on_card(card), description=description)
    record = adapted_record(first.record, task.prepared, split, job.seed)
    save_model(job.output, trained.model, card, record)
    task.report.note(f"wrote {job.output}; curves and figures are in {job.run_folder}")
