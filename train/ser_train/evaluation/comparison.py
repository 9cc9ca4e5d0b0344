"""Before and after: two models on the same clips and labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_train.evaluation.calibration import Measured
from ser_train.metrics import Scores, score


@dataclass(frozen=True, slots=True)
class Comparison:
    """What an adaptation has changed on held-out clips."""

    common: tuple[str, ...]
    """Labels that both models know; fewer than two: nothing can be compared."""
    before: Scores | None
    """Of the first model, over the common labels alone."""
    after: Scores | None
    """Of the adapted model, on the same clips over the same labels."""
    whole: Scores
    """Of the adapted model on all clips, over all of its labels."""


def compare(
    before: Measured | None, old: Sequence[str], after: Measured, new: Sequence[str]
) -> Comparison:
    """Restrict both models to the labels in common, and score them.

    Parameters
    ----------
    before : Measured or None
        Of the first model, on those of the clips whose label it knows; None: there are none.
    old : sequence of str
        Labels of the first model.
    after : Measured
        Of the adapted model on all clips.
    new : sequence of str
        Labels of the adapted model.
    """
    common = common_labels(old, new)
    if before is None or len(common) < 2:
        return Comparison(common, None, None, after.scores)
    known = np.isin(after.truth, [new.index(label) for label in common])
    return Comparison(
        common,
        _over(before.probabilities, before.truth, old, common),
        _over(after.probabilities[known], after.truth[known], new, common),
        after.scores,
    )


def common_labels(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    """Give the labels of both, in the order of ``new``."""
    return tuple(label for label in new if label in old)


def table(comparison: Comparison) -> tuple[str, ...]:
    """Give the comparison as lines of text."""
    count = len(comparison.whole.recalls)
    rows = []
    if comparison.before and comparison.after:
        rows = [("before", comparison.before), ("after", comparison.after)]
    if not rows or len(comparison.common) < count:
        rows.append((f"after, all {count} labels", comparison.whole))
    width = max(len(title) for title, _ in rows)
    lines = [f"{'':{width}}  clips  labels     UAR      WA     NLL     ECE"]
    lines += [
        f"{title:{width}}  {s.count:5}  {len(s.recalls):6}  {100 * s.uar:5.1f} %  "
        f"{100 * s.wa:4.1f} %  {s.nll:6.3f}  {100 * s.ece:4.1f} %"
        for title, s in rows
    ]
    return tuple(lines)


def worse(comparison: Comparison) -> str:
    """Name the figures that have become worse; empty if none has."""
    before, after = comparison.before, comparison.after
    if before is None or after is None:
        return ""
    changes = (
        ("UAR", before.uar - after.uar, 100.0, " points"),
        ("WA", before.wa - after.wa, 100.0, " points"),
        ("NLL", after.nll - before.nll, 1.0, ""),
        ("ECE", after.ece - before.ece, 100.0, " points"),
    )
    return ", ".join(
        f"{name} by {loss * scale:.{1 if unit else 3}f}{unit}"
        for name, loss, scale, unit in changes
        if loss > 0
    )


def _over(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.intp],
    labels: Sequence[str],
    kept: Sequence[str],
) -> Scores:
    """Score as if the model had the kept labels alone."""
    columns = [labels.index(label) for label in kept]
    shares = probabilities[:, columns]
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return score(shares, np.array([columns.index(index) for index in truth], np.intp))
