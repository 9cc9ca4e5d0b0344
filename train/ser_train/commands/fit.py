"""Train one model, make its confidence honest, measure it, save it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_live.errors import SerError
from ser_live.model.card import Calibration, Metric, SmoothingSpec
from ser_train.corpora import Clip, labels_of
from ser_train.data.prepare import Prepared, prepare
from ser_train.data.recordings import Recordings
from ser_train.data.splits import (
    Named,
    Split,
    choose_validation_speakers,
    only_named,
    split_by_speakers,
)
from ser_train.evaluation.calibration import (
    Calibrated,
    HeldOutAnswers,
    Measured,
    answers_of_folds,
    calibrate,
    calibrate_by_folds,
    measure,
)
from ser_train.metrics import Scores
from ser_train.models.keras_file import TrainingRecord, save_model
from ser_train.models.registry import find_network
from ser_train.progress import Reporter
from ser_train.reports import markdown as pages
from ser_train.reports import plots as pictures
from ser_train.reports.model_card import cross_validated_metrics, held_out_metrics, make_card
from ser_train.training.checkpoint import CHECKPOINT, Settings
from ser_train.training.loop import Trained
from ser_train.training.members import train


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
    test_speakers: tuple[str, ...] | None = None
    """None: nobody; in an adaptation one of four."""
    training_speakers: tuple[str, ...] | None = None
    """None: all others."""
    mask_missing_labels: bool = False
    skip_broken: bool = False
    resume: bool = False
    name: str | None = None
    """None: the network's name."""
    licence: str | None = None
    """None: that of the strictest corpus."""
    description: str = ""
    limits: str = ""
    cross_validations: tuple[Path, ...] = ()
    """Report folders whose figures go into the card."""

    @property
    def named(self) -> Named:
        """Give the speakers whose role is named."""
        return Named(self.training_speakers, self.validation_speakers, self.test_speakers)


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
    published = tuple(
        metric
        for folder in job.cross_validations
        for metric in cross_validated_metrics(folder, network.name)
    )
    clips = only_named(job.recordings.find(), job.named)
    prepared = prepare(clips, network, job.cache_folder, report, job.skip_broken)
    labels = labels_of(prepared.clips)
    split = _split(job, prepared.clips)
    answers = _held_out_answers(job, split, labels)
    report.note(describe(prepared.clips, split, labels))
    settings = Settings(
        labels,
        network.with_length(job.epochs, job.batch_clips).recipe,
        job.seed,
        job.mask_missing_labels,
    )
    trained = train(prepared, split.training, split.validation, settings, job.run_folder, report)
    if split.validation:
        calibrated = calibrate(trained.model, prepared, split.validation, labels)
    elif answers:
        calibrated = calibrate_by_folds(trained.model, answers)
    else:
        calibrated = Calibrated(Calibration(), SmoothingSpec())
    return _finish(job, prepared, split, labels, trained, calibrated, published, report)


def _held_out_answers(job: FitJob, split: Split, labels: tuple[str, ...]) -> HeldOutAnswers | None:
    """Read what decides where no validation speakers do: the first cross-validation.

    Before the training, so that hours of it do not end in a report that does not fit.
    """
    if split.validation or not job.cross_validations:
        return None
    return answers_of_folds(job.cross_validations[0], labels)


def _split(job: FitJob, clips: Sequence[Clip]) -> Split:
    held, tested = job.validation_speakers, job.test_speakers or ()
    if held is None:
        held = () if job.training_speakers else choose_validation_speakers(clips, tested)
    return split_by_speakers(clips, held, tested)


def describe(clips: Sequence[Clip], split: Split, labels: tuple[str, ...]) -> str:
    """Count clips and speakers of each role, and name the labels."""
    counts = [len(role) for role in (split.training, split.validation, split.test)]
    parts = [
        f"{name}: {_counted(count, 'clip')} of {_counted(len(speakers), 'speaker')}"
        for name, count, speakers in zip(
            ("training", "validation", "test"), counts, split.speakers(clips), strict=True
        )
    ]
    return f"{', '.join(parts)}; labels: {', '.join(labels)}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _finish(
    job: FitJob,
    prepared: Prepared,
    split: Split,
    labels: tuple[str, ...],
    trained: Trained,
    calibrated: Calibrated,
    published: tuple[Metric, ...],
    report: Reporter,
) -> Scores | None:
    measured: Measured | None = None
    metrics: tuple[Metric, ...] = ()
    if split.test:
        measured = measure(trained.model, prepared, split.test, labels, whole=False)
        metrics = held_out_metrics(measured, labels, f"last epoch; seed {job.seed}")
        pictures.draw_measured(
            job.run_folder, measured.probabilities, measured.truth, labels, "held-out speakers"
        )
        for line in (metrics[0].protocol, *pages.score_lines(measured.scores, labels)):
            report.note(line)
    scores = measured.scores if measured else None
    pictures.draw_curves(job.run_folder / "curves.png", trained.history, job.network)
    _write_metrics(job, labels, trained, calibrated, scores, metrics)
    clips = prepared.chosen(split.training)
    metrics += published
    card = make_card(prepared.network, clips, labels, calibrated, metrics, job.name, job.licence)
    card = dataclasses.replace(card, description=job.description, limits=job.limits)
    save_model(job.output, trained.model, card, _record(job, prepared, split))
    report.note(f"wrote {job.output}; curves and figures are in {job.run_folder}")
    return scores


def _write_metrics(
    job: FitJob,
    labels: tuple[str, ...],
    trained: Trained,
    calibrated: Calibrated,
    scores: Scores | None,
    metrics: tuple[Metric, ...],
) -> None:
    pages.write_json(
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
    training, validation, test = split.speakers(prepared.clips)
    return TrainingRecord(training, validation, test, job.seed)
