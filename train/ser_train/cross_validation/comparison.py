"""Two reports of the same clips: which model is the better one, and how sure that is."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_live.errors import SerError
from ser_live.text import sanitize
from ser_train.cross_validation.ledger import LEDGER, Ledger, Posteriors
from ser_train.cross_validation.measurement import count_by_speaker, measure_ledger
from ser_train.cross_validation.pooling import Pool, pool_of_fold
from ser_train.metrics import FEWEST_SPEAKERS, Interval, paired_intervals

ANSWERS = "answers.npz"
"""In a report of ``ser-train evaluate``: `Posteriors` of its clips."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers that a report holds for each clip."""

    report: str
    """Name of its folder."""
    words: str
    """Protocol."""
    protocol: str
    """Name of the protocol; empty: one model was measured."""
    pools: tuple[Pool, ...]
    """One for each seed."""
    heard: int
    """Length of speech that the headline rests on."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of both reports."""

    name: str
    first: float
    second: float
    difference: float
    """The second less the first."""
    interval: Interval | None = None
    """95 %, over speakers; None: fewer than three, or not computed."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paired differences of two reports."""

    first: Answers
    second: Answers
    clips: int
    uar: Difference
    wa: Difference
    recalls: tuple[Difference, ...]
    """By label."""
    speakers: tuple[Difference, ...]
    """WA by speaker."""


def read_answers(folder: Path) -> Answers:
    """Read a report of ``ser-train cross-validate`` or ``evaluate``.

    Raises
    ------
    SerError
        If the folder is none, or damaged.
    """
    if (folder / ANSWERS).is_file():
        try:
            words = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["protocol"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SerError(
                f"{sanitize(folder)}: metrics.json is not that of ser-train evaluate "
                f"({sanitize(error)})"
            ) from error
        return Answers(folder.name, sanitize(words), "", (pool_of(folder / ANSWERS),), 0)
    if not (folder / LEDGER).is_file():
        raise SerError(
            f"{sanitize(folder)}: no report that holds answers, wanted the --report-dir of "
            "ser-train cross-validate or of ser-train evaluate"
        )
    measured = measure_ledger(Ledger(folder))
    name = measured.protocol.name
    words = f"{measured.rows[0].configuration.network}, {name}: {measured.words}"
    return Answers(folder.name, words, name, measured.pools, measured.headline)


def pool_of(file: Path) -> Pool:
    """Read the answers of one model, as one fold."""
    saved = Posteriors.load(file)
    whole = pool_of_fold(0, saved, saved.labels, saved.heard)
    return whole.only(np.argsort(saved.names, kind="stable"))


def compare_reports(first: Answers, second: Answers) -> Comparison:
    """Subtract the figures of a first report from those of a second one.

    Raises
    ------
    SerError
        If they are not of the same clips, labels, speakers and protocol.
    """
    _require_fit(first, second)
    like = first.pools[0]
    counts = [count_by_speaker(own.pools, own.heard, like) for own in (first, second)]
    (speakers, right, clips), (_, other_right, _) = counts
    intervals: tuple[Interval | None, ...] = (None, None)
    if len(speakers) >= FEWEST_SPEAKERS:
        intervals = paired_intervals(right, other_right, clips)

    def differences(names: Iterable[str], axis: int) -> tuple[Difference, ...]:
        total = clips.sum(axis=axis)
        shares = [
            (own.sum(axis=axis) / np.maximum(1, total)).tolist() for own in (right, other_right)
        ]
        rows = zip(names, *shares, total, strict=True)
        return tuple(Difference(name, a, b, b - a) for name, a, b, count in rows if count)

    recalls = differences(like.labels, 0)
    uars = [float(np.mean([getattr(of, side) for of in recalls])) for side in ("first", "second")]
    was = [float(own.sum() / clips.sum()) for own in (right, other_right)]
    uar, wa = (
        Difference(name, a, b, b - a, interval)
        for name, (a, b), interval in zip(("UAR", "WA"), (uars, was), intervals, strict=True)
    )
    whole = int(clips.sum())
    return Comparison(first, second, whole, uar, wa, recalls, differences(speakers, 1))


def _require_fit(first: Answers, second: Answers) -> None:
    """Check that both reports asked the same questions."""
    one, two = first.pools[0], second.pools[0]
    true, other = (np.array(pool.labels)[pool.truth] for pool in (one, two))
    if first.protocol and second.protocol and first.protocol != second.protocol:
        problem = f"their protocols are {first.protocol} and {second.protocol}"
    elif not np.array_equal(one.names, two.names):
        apart = sorted({*one.names.tolist()} ^ {*two.names.tolist()})
        counts = f"{len(one.names)} and {len(two.names)} clips"
        problem = f"of their {counts} {len(apart)} are in one alone, such as {sanitize(apart[0])}"
    elif not (np.array_equal(one.speakers, two.speakers) and np.array_equal(true, other)):
        problem = "the same clips have other speakers or true labels"
    else:
        return
    raise SerError(
        f"{sanitize(first.report)} and {sanitize(second.report)} do not fit together: {problem}; "
        "wanted answers to the same clips by the same protocol"
    )
