"""Train and test the folds of a cross-validation, one after the other; finished ones are kept."""

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser_train.corpora import labels_of, truth_of
from ser_train.cross_validation.ledger import WHOLE, Posteriors, Row
from ser_train.cross_validation.plan import Plan, conditions, require_unheard
from ser_train.data.prepare import Prepared, prepare
from ser_train.data.splits import Split
from ser_train.evaluation.calibration import predict
from ser_train.metrics import fit_temperature
from ser_train.models.registry import Network
from ser_train.models.size import measure_size
from ser_train.progress import Reporter
from ser_train.training.checkpoint import Settings
from ser_train.training.fine_tuning import adapt_network, forget
from ser_train.training.loop import Trained
from ser_train.training.members import train
from ser_train.training.pretrained import FirstModel, load_first
from ser_train.training.upper_blocks import checkpoints

_HEARD_SECONDS = (1.0, 1.5, 2.0, 3.0)
_DIGITS = 5


@dataclasses.dataclass(frozen=True, slots=True)
class _Fold:
    """One fold, ready to train."""

    number: int
    prepared: Prepared
    """All clips, under the labels that they train with."""
    split: Split
    settings: Settings
    folder: Path
    """For the checkpoint."""


def run_folds(plan: Plan, missing: Sequence[tuple[int, int]], report: Reporter) -> None:
    """Train and test the missing seeds and folds, and append each to the ledger.

    A fold goes on from its checkpoint where there is one.
    """
    job = plan.job
    clips = (*plan.clips, *plan.also)
    first = load_first(job.init) if job.init else None
    if not first:
        plan.network.require_exportable(labels_of(clips))
    prepared = prepare(clips, plan.network, job.cache_folder, report, job.skip_broken)
    if first:
        own = [k for k, c in enumerate(prepared.clips) if c.corpus in plan.tested_corpora]
        tested = prepared.chosen(own), prepared.contents(own)
        require_unheard(first.path, first.record, plan.protocol, *tested)
    for seed, number in missing:
        fold = _ready(plan, prepared, seed, number)
        name, split = f"seed {seed}, {plan.fold_names[number]}", fold.split
        report.note(f"{name}: {len(split.training)} clips train, {len(split.test)} test")
        start = time.monotonic()
        trained = _trained(plan, first, fold, report)
        seconds = round(time.monotonic() - start, 1)
        fold = dataclasses.replace(fold, prepared=fold.prepared.heard_by(trained.model))
        row = _row(plan, fold, trained, _temperature(trained.model, fold), seconds)
        plan.ledger.append(row, _posteriors(trained.model, fold))
        kept = checkpoints(fold.folder)
        for checkpoint in kept:
            checkpoint.unlink(missing_ok=True)
        if first:
            forget(fold.folder, first)
        for folder in (*(checkpoint.parent for checkpoint in kept), fold.folder.parent):
            with contextlib.suppress(OSError):  # logs, or other folds' checkpoints, are in it
                folder.rmdir()
        report.note(f"{name}: finished")


def heard_seconds(network: Network) -> tuple[float | None, ...]:
    """Return how much of each clip a network is tested with, ascending; None is all of it.

    A front end's output is computed once per clip, for the window alone.
    """
    window = network.window.seconds
    if network.front_end:
        return (window,)
    return (*(s for s in _HEARD_SECONDS if s < window), window, None)


def _ready(plan: Plan, prepared: Prepared, seed: int, number: int) -> _Fold:
    """Split the protocol's clips, let the others train, and rename what trains under a name."""
    clips, protocol = prepared.clips, plan.protocol
    own = sum(clip.corpus in plan.tested_corpora for clip in clips)
    split = protocol.split(clips[:own], number, seed)
    split = dataclasses.replace(split, training=(*split.training, *range(own, len(clips))))
    renamed = [dataclasses.replace(clip, label=protocol.rename(clip.label)) for clip in clips]
    prepared = dataclasses.replace(prepared, clips=tuple(renamed))
    learnt = prepared.chosen(split.training)
    several = len({clip.corpus for clip in learnt}) > 1
    recipe = plan.network.recipe
    settings = Settings(labels_of(learnt), recipe, seed, mask_missing_labels=several)
    return _Fold(number, prepared, split, settings, plan.run_folder(seed, number))


def _trained(plan: Plan, first: FirstModel | None, fold: _Fold, report: Reporter) -> Trained:
    prepared, split, settings = fold.prepared, fold.split, fold.settings
    if first is None:
        return train(prepared, split, settings, fold.folder, report)
    lengths = (plan.job.epochs, plan.job.batch_clips)
    return adapt_network(first, prepared, split, settings, *lengths, fold.folder, report)


def _temperature(model: Any, fold: _Fold) -> float | None:
    """Fit the temperature on the validation clips; None without any."""
    prepared, held_out = fold.prepared, fold.split.validation
    if not held_out:
        return None
    probabilities = predict(model, prepared, held_out, prepared.network.window.seconds)
    truth = truth_of(prepared.chosen(held_out), fold.settings.labels)
    return round(fit_temperature([(probabilities, truth)]), 4)


def _posteriors(model: Any, fold: _Fold) -> Posteriors:
    clips = fold.prepared.chosen(fold.split.test)
    heard = heard_seconds(fold.prepared.network)
    asked = [predict(model, fold.prepared, fold.split.test, seconds) for seconds in heard]
    names = tuple(WHOLE if seconds is None else f"{seconds:g}" for seconds in heard)
    return Posteriors.of(clips, fold.settings.labels, names, np.stack(asked))


def _row(
    plan: Plan, fold: _Fold, trained: Trained, temperature: float | None, seconds: float
) -> Row:
    clips, split = fold.prepared.clips, fold.split
    training, validation, test = split.speakers(clips)
    corpora = {clips[index].corpus for index in split.test}
    size = measure_size(trained.model, plan.network.spectrum, plan.network.window)
    return Row(
        configuration=plan.configuration,
        seed=fold.settings.seed,
        fold=fold.number,
        fold_name=plan.fold_names[fold.number],
        folds=len(plan.fold_names),
        labels=fold.settings.labels,
        corpus_labels=labels_of(clip for clip in clips if clip.corpus in corpora),
        training_speakers=training,
        validation_speakers=validation,
        test_speakers=test,
        training_clips=len(split.training),
        validation_clips=len(split.validation),
        test_clips=len(split.test),
        temperature=temperature,
        training_seconds=seconds,
        threads=plan.job.threads,
        commit=plan.commit,
        history=tuple(epoch.rounded(_DIGITS) for epoch in trained.history),
        **dataclasses.asdict(size),
        **conditions(plan.job.command_line),
    )
