"""Train and test each fold of a protocol; finished folds are kept."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_train import report as pictures
from ser_train.corpora import Clip, labels_of, speakers_of
from ser_train.fit import calibrate, heard, override, predict_clips
from ser_train.metrics import Scores, score
from ser_train.networks import Network, find_network
from ser_train.prepare import Prepared, prepare
from ser_train.progress import Reporter
from ser_train.protocols import Protocol, find_protocol
from ser_train.selection import Recordings
from ser_train.spectra import write_atomically
from ser_train.training import CHECKPOINT, Settings, train, truth_of


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


@dataclass(frozen=True, slots=True)
class FoldResult:
    """What was measured on one fold's test clips."""

    fold: int
    network: str
    protocol: str
    seed: int
    epochs: int
    temperature: float
    training_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]
    window: Scores
    """Hearing the first window of each clip."""
    whole: Scores
    """Hearing the whole speech of each clip."""


@dataclass(frozen=True, slots=True)
class Posteriors:
    """A fold's predictions."""

    names: NDArray[np.str_]
    truth: NDArray[np.intp]
    labels: tuple[str, ...]
    window: NDArray[np.float64]
    """(clips, labels) probabilities."""
    whole: NDArray[np.float64]

    def save(self, path: Path) -> None:
        """Write a compressed archive in one step."""

        def write(file: Path) -> None:
            with file.open("wb") as stream:
                np.savez_compressed(
                    stream,
                    names=self.names,
                    truth=self.truth,
                    labels=np.array(self.labels),
                    window=self.window.astype(np.float32),
                    whole=self.whole.astype(np.float32),
                )

        write_atomically(path, write)

    @classmethod
    def load(cls, path: Path) -> "Posteriors":
        """Read what `save` wrote."""
        with np.load(path) as saved:
            return cls(
                saved["names"],
                saved["truth"],
                tuple(saved["labels"].tolist()),
                saved["window"].astype(np.float64),
                saved["whole"].astype(np.float64),
            )


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
    return _summarise(job, network, protocol)


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
    if (folder / "result.json").is_file():
        _require_same(job, network, folder / "result.json")
        report.note(f"fold {fold} is finished: kept")
        return
    split = protocol.split(prepared.clips, fold, job.seed)
    labels = labels_of(prepared.clips)
    report.note(f"fold {fold}: {len(split.training)} clips train, {len(split.test)} test")
    settings = Settings(labels, network.recipe, job.seed)
    trained = train(prepared, split.training, split.validation, settings, folder, report)
    calibrated = calibrate(trained.model, prepared, split.validation, labels)
    posteriors = Posteriors(
        np.array([prepared.clips[index].path.name for index in split.test]),
        truth_of(prepared, split.test, labels),
        labels,
        predict_clips(trained.model, prepared, split.test, whole=False),
        predict_clips(trained.model, prepared, split.test, whole=True),
    )
    result = FoldResult(
        fold,
        network.name,
        protocol.name,
        job.seed,
        network.recipe.epochs,
        calibrated.calibration.temperature,
        _speakers(prepared.clips, split.training),
        _speakers(prepared.clips, split.test),
        score(posteriors.window, posteriors.truth),
        score(posteriors.whole, posteriors.truth),
    )
    pictures.draw_curves(folder / "curves.png", trained.history, f"{network.name}, fold {fold}")
    posteriors.save(folder / "posteriors.npz")
    pictures.write_json(folder / "result.json", dataclasses.asdict(result))
    (folder / CHECKPOINT).unlink(missing_ok=True)
    report.note(f"fold {fold}: {pictures.score_lines(result.window, labels)[0]}")


def _speakers(clips: Sequence[Clip], chosen: Sequence[int]) -> tuple[str, ...]:
    return speakers_of(clips[index] for index in chosen)


def _require_same(job: CrossValidation, network: Network, path: Path) -> None:
    found = _load_result(path)
    wanted = (job.network, job.protocol, job.seed, network.recipe.epochs)
    got = (found.network, found.protocol, found.seed, found.epochs)
    if got != wanted:
        raise SerError(
            f"{path} belongs to (network, protocol, seed, epochs) {got}, wanted {wanted}; "
            "give another --report-dir"
        )


def _load_result(path: Path) -> FoldResult:
    data = json.loads(path.read_text(encoding="utf-8"))
    return FoldResult(
        **{
            **data,
            "training_speakers": tuple(data["training_speakers"]),
            "test_speakers": tuple(data["test_speakers"]),
            "window": Scores(**data["window"]),
            "whole": Scores(**data["whole"]),
        }
    )


def _summarise(job: CrossValidation, network: Network, protocol: Protocol) -> tuple[str, ...]:
    folders = sorted(path.parent for path in job.report_folder.glob("fold*/result.json"))
    results = [_load_result(folder / "result.json") for folder in folders]
    folds = [Posteriors.load(folder / "posteriors.npz") for folder in folders]
    labels, truth = folds[0].labels, np.concatenate([fold.truth for fold in folds])
    window = np.concatenate([fold.window for fold in folds])
    whole = np.concatenate([fold.whole for fold in folds])
    kind = "speaker-independent" if protocol.speaker_independent else "speaker-dependent"
    title = f"{network.name}, {kind}"
    pictures.draw_measured(job.report_folder, window, truth, labels, title)
    pooled = {"window": score(window, truth), "whole": score(whole, truth)}
    lines = _markdown(job, network, protocol, results, pooled["window"], pooled["whole"], labels)
    pictures.write_json(
        job.report_folder / "summary.json",
        {
            "protocol": protocol.words,
            "speaker_independent": protocol.speaker_independent,
            "labels": labels,
            "pooled": {name: dataclasses.asdict(scores) for name, scores in pooled.items()},
            "folds": [dataclasses.asdict(result) for result in results],
        },
    )
    text = "\n".join(lines) + "\n"
    write_atomically(
        job.report_folder / "summary.md", lambda path: path.write_text(text, encoding="utf-8")
    )
    return lines


def _markdown(
    job: CrossValidation,
    network: Network,
    protocol: Protocol,
    results: Sequence[FoldResult],
    window: Scores,
    whole: Scores,
    labels: tuple[str, ...],
) -> tuple[str, ...]:
    done = f"{len(results)} of {protocol.folds} folds"
    rows = [_row("pooled: " + heard(network, whole=False), window, [r.window for r in results])]
    if not network.front_end:
        rows.append(
            _row("pooled: " + heard(network, whole=True), whole, [r.whole for r in results])
        )
    rows += [_row(f"fold {result.fold}", result.window, []) for result in results]
    recalls = ", ".join(
        f"{label} {100 * (recall or 0):.0f}"
        for label, recall in zip(labels, window.recalls, strict=True)
    )
    return (
        f"# {network.name}, {protocol.name}",
        "",
        f"Protocol: {protocol.words}; {done}; seed {job.seed}; "
        f"{network.recipe.epochs} epochs of {network.recipe.batch_clips} clips a batch.",
        "",
        "| heard | UAR % | WA % | mean and sd of UAR over folds | ECE % | NLL | clips |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"Recall %: {recalls}.",
    )


def _row(name: str, scores: Scores, folds: Sequence[Scores]) -> str:
    spread = ""
    if len(folds) > 1:
        values = 100 * np.array([fold.uar for fold in folds])
        spread = f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"
    return (
        f"| {name} | {100 * scores.uar:.1f} | {100 * scores.wa:.1f} | {spread} | "
        f"{100 * scores.ece:.1f} | {scores.nll:.3f} | {scores.count} |"
    )
