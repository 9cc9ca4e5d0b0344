"""Train and test each fold of a protocol with several seeds; finished folds are kept."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_train.corpora import Clip, labels_of
from ser_train.cross_validation.ledger import Row
from ser_train.cross_validation.plan import CrossValidation, Plan, make_plan
from ser_train.cross_validation.provenance import Provenance
from ser_train.data.splits import Split
from ser_train.progress import Reporter

if TYPE_CHECKING:
    from ser_train.cross_validation.folds import Tested
    from ser_train.data.prepare import Prepared


def cross_validate(
    job: CrossValidation, report: Reporter, before_training: Callable[[], None] = lambda: None
) -> tuple[str, ...]:
    """Run the folds that are not finished, then sum up all that are.

    Parameters
    ----------
    job : CrossValidation
    report : Reporter
    before_training : callable
        Called once, before TensorFlow is needed, and not at all if every fold is finished.

    Returns
    -------
    tuple of str
        The figures as lines of text; the report is in the folder.

    Raises
    ------
    SerError
        If the recordings do not fit the protocol, or the folder holds folds of other settings.
    """
    plan = make_plan(job)
    plan.ledger.require(plan.configuration)
    missing = plan.missing()
    if missing:
        before_training()
        _run(plan, missing, report)
    else:
        report.note("every fold is finished: kept")
    from ser_train.reports.cross_validation import summarise  # noqa: PLC0415 - Matplotlib takes a second

    return summarise(job.report_folder)


def _run(plan: Plan, missing: Sequence[tuple[int, int]], report: Reporter) -> None:
    from ser_train.cross_validation.folds import Beginning, train_and_test  # noqa: PLC0415
    from ser_train.data.prepare import prepare  # noqa: PLC0415
    from ser_train.training.checkpoint import CHECKPOINT, Settings  # noqa: PLC0415
    from ser_train.training.fine_tuning import forget  # noqa: PLC0415
    from ser_train.training.pretrained import load_first  # noqa: PLC0415 - TensorFlow takes seconds

    job, recipe, provenance = plan.job, plan.network.recipe, Provenance.now()
    clips = (*plan.clips, *plan.also)
    first = load_first(job.init) if job.init else None
    beginning = Beginning(first, job.epochs, job.batch_clips) if first else None
    prepared = prepare(clips, plan.network, job.cache_folder, report, job.skip_broken)
    for seed, fold in missing:
        split, renamed = _split(plan, prepared, fold, seed)
        learnt = renamed.chosen(split.training)
        labels, corpora = labels_of(learnt), {clip.corpus for clip in learnt}
        settings = Settings(labels, recipe, seed, mask_missing_labels=len(corpora) > 1)
        name = f"seed {seed}, {plan.fold_names[fold]}"
        report.note(f"{name}: {len(split.training)} clips train, {len(split.test)} test")
        folder = plan.run_folder(seed, fold)
        tested = train_and_test(renamed, split, settings, folder, report, beginning)
        row = _row(plan, (seed, fold), split, renamed.clips, tested, provenance)
        plan.ledger.append(row, tested.posteriors)
        (folder / CHECKPOINT).unlink(missing_ok=True)
        if first:
            forget(folder, first)
        _remove_empty(folder, folder.parent)
        report.note(f"{name}: finished")


def _remove_empty(*folders: Path) -> None:
    with contextlib.suppress(OSError):  # other folds' checkpoints are in it
        for folder in folders:
            folder.rmdir()


def _split(plan: Plan, prepared: "Prepared", fold: int, seed: int) -> tuple[Split, "Prepared"]:
    """Split the protocol's clips, let the others train, and rename what trains under a name."""
    clips, protocol = prepared.clips, plan.protocol
    own = sum(clip.corpus in protocol.corpora for clip in clips)
    split = protocol.split(clips[:own], fold, seed)
    training = (*split.training, *range(own, len(clips)))
    renamed = [dataclasses.replace(clip, label=protocol.rename(clip.label)) for clip in clips]
    return (
        Split(training, split.validation, split.test),
        dataclasses.replace(prepared, clips=tuple(renamed)),
    )


def _row(
    plan: Plan,
    key: tuple[int, int],
    split: Split,
    clips: Sequence[Clip],
    tested: "Tested",
    provenance: Provenance,
) -> Row:
    seed, fold = key
    training, validation, test = split.speakers(clips)
    corpora = {clips[index].corpus for index in split.test}
    return Row(
        configuration=plan.configuration,
        seed=seed,
        fold=fold,
        fold_name=plan.fold_names[fold],
        folds=len(plan.fold_names),
        labels=tested.posteriors.labels,
        corpus_labels=labels_of(clip for clip in clips if clip.corpus in corpora),
        training_speakers=training,
        validation_speakers=validation,
        test_speakers=test,
        training_clips=len(split.training),
        validation_clips=len(split.validation),
        test_clips=len(split.test),
        temperature=tested.temperature,
        training_seconds=tested.training_seconds,
        threads=plan.job.threads,
        versions=provenance.versions,
        commit=provenance.commit,
        history=tested.history,
    )
