"""Train one model: read, prepare, train, calibrate, measure, save."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_live.errors import SerError
from ser_live.model.card import NEUTRAL, Calibration, Metric, ModelCard, SmoothingSpec
from ser_train.corpora import Clip, find_talk, labels_of
from ser_train.cross_validation.plan import TrainingJob, conditions
from ser_train.cross_validation.pooling import answers_of_folds
from ser_train.data.prepare import Prepared, prepare
from ser_train.data.splits import Named, Split, choose_roles, only_named
from ser_train.evaluation.calibration import (
    Calibrated,
    HeldOutAnswers,
    Measured,
    answers_of_speakers,
    calibrate,
    everyday_threshold,
    measure,
)
from ser_train.metrics import Scores
from ser_train.models.keras_file import save_model
from ser_train.models.registry import find_network
from ser_train.models.training_record import TrainingRecord, join_marks
from ser_train.progress import Reporter
from ser_train.reports.markdown import score_lines, write_json
from ser_train.reports.model_card import (
    cross_validated_metrics,
    everyday_card,
    held_out_metrics,
    make_card,
)
from ser_train.reports.plots import draw_curves, draw_measured
from ser_train.training.checkpoint import CHECKPOINT, Settings
from ser_train.training.loop import Trained
from ser_train.training.members import train
from ser_train.training.ordinary_head import hearing_talk, with_ordinary_head


@dataclass(frozen=True, slots=True, kw_only=True)
class FitJob(TrainingJob):
    """Everything that ``ser-train fit`` is told."""

    output: Path
    run_folder: Path
    ordinary: tuple[Path, ...] = ()
    """Tables and folders of talk, which a second head learns to tell; its labels do not count."""
    validation_speakers: tuple[str, ...] | None = None
    """None: one of twelve of each corpus."""
    test_speakers: tuple[str, ...] | None = None
    """None: no speaker; in an adaptation one of four."""
    training_speakers: tuple[str, ...] | None = None
    """None: all others."""
    mask_missing_labels: bool = False
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
        """Speakers whose role is named."""
        return Named(self.training_speakers, self.validation_speakers, self.test_speakers)

    def on_card(self, card: ModelCard) -> ModelCard:
        """Return a card with the texts that the user has given in place of its own."""
        texts = {name: getattr(self, name) for name in ("name", "licence", "limits")}
        card = dataclasses.replace(card, **{name: text for name, text in texts.items() if text})
        text = self.description or card.description
        return dataclasses.replace(card, description=self.described(text))

    def described(self, text: str) -> str:
        """Return a description with the settings of the recipe behind it."""
        settings = ", ".join(f"{field} = {value}" for field, value in self.settings)
        return f"{text} Trained with {settings}.".strip() if settings else text


@dataclass(frozen=True, slots=True)
class _Task:
    """One training, ready to start."""

    job: FitJob
    prepared: Prepared
    split: Split
    talk: Prepared | None
    """Ordinary talk beside acted clips."""
    talk_split: Split
    labels: tuple[str, ...]
    published: tuple[Metric, ...]
    """Of cross-validations, for the card."""
    answers: HeldOutAnswers | None
    """Calibrate the model where no validation speakers do."""


def fit(job: FitJob, report: Reporter) -> Scores | None:
    """Train as told and write the model file, the plots and the figures.

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
    task = _prepare(job, report)
    report.note(describe(task.prepared.clips, task.split, task.labels))
    if task.talk:
        report.note(f"ordinary talk, {describe(task.talk.clips, task.talk_split, (NEUTRAL,))}")
    heard, trained = _train(task, report)
    calibrated = _calibrate(heard, trained)
    chosen, measured = task.split.test, None
    if chosen:
        measured = measure(trained.model, heard.prepared, chosen, task.labels, whole=False)
    _save(task, trained, calibrated, measured, report)
    return measured.scores if measured else None


def describe(clips: Sequence[Clip], split: Split, labels: tuple[str, ...]) -> str:
    """Count clips and speakers of each role, and name the labels."""
    names = ("training", "validation", "test")
    roles = zip(names, (split.training, split.validation, split.test), strict=True)
    parts = [
        f"{name}: {_counted(len(role), 'clip')} of {_counted(len(speakers), 'speaker')}"
        for (name, role), speakers in zip(roles, split.speakers(clips), strict=True)
    ]
    return f"{', '.join(parts)}; labels: {', '.join(labels)}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _prepare(job: FitJob, report: Reporter) -> _Task:
    """Read reports and recordings, all before the training: hours must not end in a misfit."""
    network = find_network(job.network).with_encoder(job.encoder).with_settings(job.settings)
    folders = job.cross_validations
    found = job.recordings.find()
    network.require_exportable(labels_of(found))
    published = [m for folder in folders for m in cross_validated_metrics(folder, network.name)]
    spoken = tuple(clip for path in job.ordinary for clip in find_talk(path))
    kept = set(only_named((*found, *spoken), job.named))
    acted = [clip for clip in found if clip in kept]
    prepared = prepare(acted, network, job.cache_folder, report, job.skip_broken)
    talk = None
    if spoken:
        own, hearing = [clip for clip in spoken if clip in kept], hearing_talk(network)
        talk = prepare(own, hearing, job.cache_folder, report, job.skip_broken)
    named = dataclasses.replace(job.named, test=job.test_speakers or ())
    clips = (*prepared.clips, *(talk.clips if talk else ()))
    split, talk_split = choose_roles(clips, named).parted(len(prepared.clips))
    labels = labels_of(prepared.clips)
    if talk and not (NEUTRAL in labels and talk_split.training and split.training):
        raise SerError(
            f"--ordinary wants recordings with the label {NEUTRAL!r} beside talk, and speakers of "
            "both that train"
        )
    by_folds = folders and not split.validation
    answers = answers_of_folds(folders[0], labels) if by_folds else None
    return _Task(job, prepared, split, talk, talk_split, labels, tuple(published), answers)


def _train(task: _Task, report: Reporter) -> tuple[_Task, Trained]:
    """Train the model, and return the task with all recordings as that hears them."""
    job, prepared, split = task.job, task.prepared, task.split
    recipe = prepared.network.with_length(job.epochs, job.batch_clips).recipe
    settings = Settings(task.labels, recipe, job.seed, job.mask_missing_labels)
    trained = train(prepared, split, settings, job.run_folder, report)
    prepared = prepared.heard_by(trained.model)
    talk = task.talk.heard_by(trained.model) if task.talk else None
    task = dataclasses.replace(task, prepared=prepared, talk=talk)
    if not talk:
        return task, trained
    report.note("learning to tell ordinary talk")
    chosen = task.talk_split.training
    model = with_ordinary_head(trained.model, prepared, split.training, talk, chosen, job.seed)
    return task, dataclasses.replace(trained, model=model)


def _calibrate(task: _Task, trained: Trained) -> Calibrated:
    model, answers, validation = trained.model, task.answers, task.split.validation
    if validation:
        answers = answers_of_speakers(model, task.prepared, validation, task.labels)
    calibrated = (
        calibrate(model, answers) if answers else Calibrated(Calibration(), SmoothingSpec())
    )
    if not (task.talk and validation and task.talk_split.validation):
        return calibrated
    threshold = everyday_threshold(
        model, task.prepared, validation, task.talk, task.talk_split.validation, task.labels
    )
    smoothing = dataclasses.replace(calibrated.smoothing, uncertain_below=threshold)
    return dataclasses.replace(calibrated, smoothing=smoothing)


def _save(
    task: _Task,
    trained: Trained,
    calibrated: Calibrated,
    measured: Measured | None,
    report: Reporter,
) -> None:
    job, labels, folder = task.job, task.labels, task.job.run_folder
    metrics: tuple[Metric, ...] = ()
    if measured:
        metrics = held_out_metrics(measured, labels, f"last epoch; seed {job.seed}")
        draw_measured(folder, measured, labels, "held-out speakers")
        for line in (metrics[0].protocol, *score_lines(measured.scores, labels)):
            report.note(line)
    draw_curves(folder / "curves.png", trained.history, job.network)
    write_json(
        folder / "metrics.json",
        {
            "network": job.network,
            "settings": dict(job.settings),
            "labels": labels,
            "test": dataclasses.asdict(measured.scores) if measured else None,
            "metrics": [dataclasses.asdict(metric) for metric in metrics],
            **training_figures(job, trained, calibrated),
        },
    )
    prepared, split = task.prepared, task.split
    clips = prepared.chosen(split.training)
    speakers, marks = split.speakers(prepared.clips), prepared.marks(split)
    if task.talk:
        clips += task.talk.chosen(task.talk_split.training)
        others = task.talk_split.speakers(task.talk.clips)
        speakers = tuple(a + b for a, b in zip(speakers, others, strict=True))
        marks = join_marks(marks, task.talk.marks(task.talk_split))
    card = make_card(prepared.network, clips, labels, calibrated, metrics + task.published)
    if task.talk:
        card = everyday_card(card, prepared.network)
    trains, validates, tests = speakers
    record = TrainingRecord(trains, validates, tests, job.seed, marks)
    save_model(job.output, trained.model, job.on_card(card), record)
    report.note(f"wrote {job.output}; curves and figures are in {folder}")


def training_figures(job: FitJob, trained: Trained, calibrated: Calibrated) -> dict[str, object]:
    """Return conditions, calibration and history for ``metrics.json``."""
    return {
        **conditions(job.command_line),
        "parameters": int(trained.model.count_params()),
        "calibration": dataclasses.asdict(calibrated.calibration),
        "uncertain_below": calibrated.smoothing.uncertain_below,
        "history": [dataclasses.asdict(record) for record in trained.history],
    }
