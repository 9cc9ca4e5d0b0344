"""Measurements and reports, made up."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser_train.cross_validation.ledger import WHOLE, Configuration, Ledger, Posteriors, Row
from ser_train.cross_validation.measurement import Measurement, measure_ledger
from ser_train.progress import EpochRecord

CONFIGURATION = Configuration(
    protocol="ravdess-luna5",
    network="tiny",
    window_seconds=1.0,
    recipe={"epochs": 2, "batch_clips": 4, "windows": {"speeds": [1.0, 1.1]}, "augmentation": None},
    also=("nemo",),
    mapping=(("calm", "neutral"),),
)


def make_row(seed: int = 0, fold: int = 0) -> Row:
    return Row(
        configuration=CONFIGURATION,
        seed=seed,
        fold=fold,
        fold_name=f"fold {fold}",
        folds=5,
        labels=("happy", "sad"),
        corpus_labels=("happy", "sad"),
        training_speakers=("ravdess/01", "nemo/Zażółć"),
        validation_speakers=("ravdess/02",),
        test_speakers=("ravdess/03",),
        training_clips=8,
        validation_clips=4,
        test_clips=3,
        temperature=1.25,
        training_seconds=2.5,
        versions={"keras": "3.14"},
        commit="0" * 40,
        history=(EpochRecord(0.7, 0.5, None), EpochRecord(0.6, None, 0.4)),
    )


def make_posteriors(seed: int = 0) -> Posteriors:
    shares = np.random.default_rng(seed).dirichlet([0.3, 0.3], (2, 3))
    return Posteriors(
        np.array([f"ravdess/{name}.wav" for name in "abc"]),
        np.array(["ravdess/03"] * 3),
        np.array([0, 1, 1], np.intp),
        ("happy", "sad"),
        ("1", WHOLE),
        shares,
    )


@functools.cache
def answers(clips: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Probabilities, and labels that are drawn from them: perfectly calibrated."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet([0.4] * 4, clips)
    truth = (probabilities.cumsum(axis=1) > random.random((clips, 1))).argmax(axis=1)
    return probabilities, truth


LABELS = ("neutral", "happy", "sad", "angry")


def write(
    folder: Path, folds: dict[tuple[int, int], Posteriors], total: int, **changes: object
) -> Measurement:
    """Write folds into a ledger: seed and fold to answers."""
    configuration = dataclasses.replace(CONFIGURATION, protocol="emodb-loso", also=(), mapping=())
    for (seed, fold), posteriors in folds.items():
        row = dataclasses.replace(
            make_row(seed, fold),
            configuration=configuration,
            labels=posteriors.labels,
            corpus_labels=posteriors.labels,
            validation_speakers=(),
            test_speakers=(f"emodb/{fold}",),
            temperature=None,
            folds=total,
        )
        row = dataclasses.replace(row, **changes)  # type: ignore[arg-type]
        Ledger(folder).append(row, posteriors)
    return measure_ledger(Ledger(folder))


def posteriors_of(
    fold: int, probabilities: NDArray[np.float64], truth: NDArray[np.intp]
) -> Posteriors:
    clips = len(truth)
    return Posteriors(
        np.array([f"emodb/{fold}-{k}.wav" for k in range(clips)]),
        np.array([f"emodb/{fold}"] * clips),
        truth,
        LABELS,
        ("1", WHOLE),
        np.stack([probabilities] * 2),
    )


def write_report(folder: Path, right: dict[tuple[int, int], int]) -> Path:
    """Write a report of two labels: seed and fold to how many of its four clips are right."""
    truth, folds = np.array([0, 1, 0, 1]), {}
    for (seed, fold), count in right.items():
        answers = np.where(np.arange(4) < count, truth, 1 - truth)
        posteriors = posteriors_of(fold, np.eye(2)[answers] * 0.6 + 0.2, truth)
        folds[seed, fold] = dataclasses.replace(posteriors, labels=LABELS[1:3])
    configuration = dataclasses.replace(CONFIGURATION, protocol="ravdess-random5")
    write(folder, folds, total=2, temperature=1.0, configuration=configuration)
    return folder
