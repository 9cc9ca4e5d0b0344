"""Train one model: read, prepare, train, calibrate, measure, save."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from ser_train.models.registry import Network, find_network
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
from ser_train.training.ordinary_head import Heard, hearing_talk, with_ordinary_head


@dataclass(frozen=True, slots=True, kw_only=True)
class FitJob(TrainingJob):
    """Everything that ``ser-train fit`` is told."""

    output: Path
    run_folder: Path
    ordinary: tuple[Path, ...] = ()
    """Tables and folders of talk, which a second head learns to tell; its labels do not count."""
    acted: tuple[Path, ...] = ()
    """The same of acted emotion that this head alone hears."""
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
class _Part:
    """Recordings of one kind, and their roles."""

    prepared: Prepared
    split: Split

    @property
    def training(self) -> Heard:
        """The clips that train."""
        return self.prepared, self.split.training

    def heard_by(self, model: Any) -> "_Part":
        """Return the same with what a trained encoder gives."""
        return _Part(self.prepared.heard_by(model), self.split)


@dataclass(frozen=True, slots=True)
class _Task:
    """One training, ready to start."""

    job: FitJob
    own: _Part
    talk: _Part | None
    """Ordinary talk, for the second head."""
    further: _Part | None
    """Acted clips that this head alone hears."""
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
    report.note(describe(task.own.prepared.clips, task.own.split, task.labels))
    for part, what in ((task.talk, "ordinary talk"), (task.further, "acted beside it")):
        if part:
            report.note(f"{what}, {describe(part.prepared.clips, part.split, (NEUTRAL,))}")
    if (
        task.talk
        and not task.further
        and len({clip.corpus for clip in task.own.prepared.clips}) == 1
    ):
        report.warn(
            "one corpus of acted emotion stands against ordinary talk, so that emotion in other "
            "rooms will be taken for talk; name others with --acted PATH"
        )
    heard, trained = _train(task, report)
    calibrated = _calibrate(heard, trained)
    chosen, measured = task.own.split.test, None
    if chosen:
        measured = measure(trained.model, heard.own.prepared, chosen, task.labels, whole=False)
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
    others = [clip for path in job.acted for clip in find_talk(path)]
    paths = {clip.path.resolve() for clip in found}
    others = [
        dataclasses.replace(c, label=NEUTRAL) for c in others if c.path.resolve() not in paths
    ]
    kept = set(only_named((*found, *spoken, *others), job.named))

    def heard(clips: Sequence[Clip], network: Network) -> Prepared:
        chosen = [clip for clip in clips if clip in kept]
        return prepare(chosen, network, job.cache_folder, report, job.skip_broken)

    prepared = [heard(found, network)]
    if spoken:
        prepared.append(heard(spoken, hearing_talk(network)))
        prepared += [heard(others, network)] if others else []
    named = dataclasses.replace(job.named, test=job.test_speakers or ())
    split = choose_roles([clip for part in prepared for clip in part.clips], named)
    parts = []
    for part in prepared:
        role, split = split.parted(len(part.clips))
        parts.append(_Part(part, role))
    own, *beside = parts
    talk, further = (*beside, None, None)[:2]
    labels = labels_of(prepared[0].clips)
    if talk and not (NEUTRAL in labels and talk.split.training and own.split.training):
        raise SerError(
            f"--ordinary wants recordings with the label {NEUTRAL!r} beside talk, and speakers of "
            "both that train"
        )
    by_folds = folders and not own.split.validation
    answers = answers_of_folds(folders[0], labels) if by_folds else None
    return _Task(job, own, talk, further, labels, tuple(published), answers)


def _train(task: _Task, report: Reporter) -> tuple[_Task, Trained]:
    """Train the model, and return the task with all recordings as that hears them."""
    job = task.job
    recipe = task.own.prepared.network.with_length(job.epochs, job.batch_clips).recipe
    settings = Settings(task.labels, recipe, job.seed, job.mask_missing_labels)
    trained = train(task.own.prepared, task.own.split, settings, job.run_folder, report)
    model = trained.model
    own = task.own.heard_by(model)
    talk, further = (part and part.heard_by(model) for part in (task.talk, task.further))
    task = dataclasses.replace(task, own=own, talk=talk, further=further)
    if not talk:
        return task, trained
    report.note("learning to tell ordinary talk")
    acted = [part.training for part in (own, further) if part]
    model = with_ordinary_head(model, acted, talk.training, job.seed)
    return task, dataclasses.replace(trained, model=model)


def _calibrate(task: _Task, trained: Trained) -> Calibrated:
    model, answers, own = trained.model, task.answers, task.own.prepared
    validation = task.own.split.validation
    if validation:
        answers = answers_of_speakers(model, own, validation, task.labels)
    calibrated = (
        calibrate(model, answers) if answers else Calibrated(Calibration(), SmoothingSpec())
    )
    if not (task.talk and validation and task.talk.split.validation):
        return calibrated
    talk = task.talk
    threshold = everyday_threshold(
        model, own, validation, talk.prepared, talk.split.validation, task.labels
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
    parts = [part for part in (task.own, task.talk, task.further) if part]
    clips = [clip for part in parts for clip in part.prepared.chosen(part.split.training)]
    spoke = (part.split.speakers(part.prepared.clips) for part in parts)
    trains, validates, tests = (sum(role, ()) for role in zip(*spoke, strict=True))
    network, marks = task.own.prepared.network, [p.prepared.marks(p.split) for p in parts]
    card = make_card(network, clips, labels, calibrated, metrics + task.published)
    if task.talk:
        card = everyday_card(card, network)
    record = TrainingRecord(trains, validates, tests, job.seed, join_marks(*marks))
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
