"""Train and test each fold of a protocol; finished folds are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_live.errors import SerError
from ser_train import report as pictures
from ser_train.corpora import Clip, labels_of, speakers_of
from ser_train.fit import override
from ser_train.folds import POSTERIORS, RESULT, FoldResult, Posteriors
from ser_train.measuring import calibrate, measure
from ser_train.networks import Network, find_network
from ser_train.prepare import Prepared, prepare
from ser_train.progress import Reporter
from ser_train.protocols import Protocol, find_protocol
from ser_train.selection import Recordings
from ser_train.summary import summarise
from ser_train.training import CHECKPOINT, Settings, train


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Everything that ``ser-train cross-validate`` is told."""

    recordings: Recordings
    network: str
    protocol: str
    report_folder: Path
    cache_folder: Path
    seed: int = 0
    folds: tuple[int, ...] | None = None
    """None: all."""
    epochs: int | None = None
    batch_clips: int | None = None
    skip_broken: bool = False


def cross_validate(job: CrossValidation, report: Reporter) -> tuple[str, ...]:
    """Run the folds that are not finished, then sum up those that are.

    Returns
    -------
    tuple of str
        The summary as lines of Markdown; also in ``summary.md``.

    Raises
    ------
    SerError
        If the recordings do not fit the protocol, or the folder holds folds of other settings.
    """
    network = override(find_network(job.network), job.epochs, job.batch_clips)
    protocol = find_protocol(job.protocol)
    chosen = job.folds if job.folds is not None else tuple(range(protocol.folds))
    outside = [fold for fold in chosen if not 0 <= fold < protocol.folds]
    if outside:
        raise SerError(f"there is no fold {outside[0]}; the folds are 0 to {protocol.folds - 1}")
    prepared = _ravdess_only(job, network, report)
    for fold in chosen:
        _run_fold(job, network, protocol, prepared, fold, report)
    return summarise(job.report_folder, network, protocol, job.seed)


def _ravdess_only(job: CrossValidation, network: Network, report: Reporter) -> Prepared:
    clips = [clip for clip in job.recordings.find() if clip.corpus == "ravdess"]
    if not clips:
        raise SerError(f"{job.protocol} needs RAVDESS, and none of the folders holds it")
    return prepare(clips, network, job.cache_folder, report, job.skip_broken)


def _run_fold(
    job: CrossValidation,
    network: Network,
    protocol: Protocol,
    prepared: Prepared,
    fold: int,
    report: Reporter,
) -> None:
    folder = job.report_folder / f"fold{fold}"
    if (folder / RESULT).is_file():
        _require_same(job, network, folder / RESULT)
        report.note(f"fold {fold} is finished: kept")
        return
    split = protocol.split(prepared.clips, fold, job.seed)
    labels = labels_of(prepared.clips)
    report.note(f"fold {fold}: {len(split.training)} clips train, {len(split.test)} test")
    settings = Settings(labels, network.recipe, job.seed)
    trained = train(prepared, split.training, split.validation, settings, folder, report)
    calibrated = calibrate(trained.model, prepared, split.validation, labels)
    window = measure(trained.model, prepared, split.test, labels, whole=False)
    whole = measure(trained.model, prepared, split.test, labels, whole=True)
    result = FoldResult(
        fold=fold,
        network=network.name,
        protocol=protocol.name,
        seed=job.seed,
        epochs=network.recipe.epochs,
        batch_clips=network.recipe.batch_clips,
        temperature=calibrated.calibration.temperature,
        training_speakers=_speakers(prepared.clips, split.training),
        test_speakers=_speakers(prepared.clips, split.test),
        window=window.scores,
        whole=whole.scores,
    )
    names = np.array([clip.path.name for clip in window.clips])
    posteriors = Posteriors(names, window.truth, labels, window.probabilities, whole.probabilities)
    posteriors.save(folder / POSTERIORS)
    pictures.draw_curves(folder / "curves.png", trained.history, f"{network.name}, fold {fold}")
    result.save(folder / RESULT)  # last: it says that the fold is finished
    (folder / CHECKPOINT).unlink(missing_ok=True)
    report.note(f"fold {fold}: {pictures.score_lines(result.window, labels)[0]}")


def _speakers(clips: Sequence[Clip], chosen: Sequence[int]) -> tuple[str, ...]:
    return speakers_of(clips[index] for index in chosen)


def _require_same(job: CrossValidation, network: Network, path: Path) -> None:
    found, recipe = FoldResult.load(path), network.recipe
    wanted = (job.network, job.protocol, job.seed, recipe.epochs, recipe.batch_clips)
    got = (found.network, found.protocol, found.seed, found.epochs, found.batch_clips)
    if got != wanted:
        raise SerError(
            f"{path} belongs to (network, protocol, seed, epochs, batch) {got}, wanted {wanted}; "
            "give another --report-dir"
        )
