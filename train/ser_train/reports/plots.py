"""Plots of a training, of measured predictions and of a cross-validation, in one style."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ser_train.cross_validation.ledger import WHOLE
from ser_train.cross_validation.measurement import Measurement
from ser_train.cross_validation.pooling import Pool
from ser_train.evaluation.calibration import Measured
from ser_train.files import write_atomically
from ser_train.metrics import (
    ECE_BINS,
    KEPT_SHARE,
    ReliabilityBin,
    confusion,
    reliability,
    risk_coverage,
)
from ser_train.progress import EpochRecord

COLOURS = ("#2b6cb0", "#dd6b20")
"""Of two things that a plot compares."""
GREY = "#718096"
PALE = (
    "#aec7e8", "#ffbb78", "#98df8a", "#ff9896", "#c5b0d5", "#c49c94", "#f7b6d2", "#dbdb8d",
    "#9edae5",
)  # fmt: skip
"""Of labels."""
_BLUE, _ORANGE = COLOURS
_TELLING_CLIPS = 10
_TELLING_PERCENT = 2
"""Of the clips: fewer say nothing."""


@contextmanager
def plot(path: Path, size_inches: tuple[float, float]) -> Iterator[Figure]:
    """Yield an empty figure, and write in one step what has been drawn on it."""
    figure = Figure(figsize=size_inches, layout="constrained")
    yield figure
    write_atomically(path, lambda file: figure.savefig(file, dpi=120))


def draw_curves(path: Path, history: Sequence[EpochRecord], title: str) -> None:
    """Draw training loss and, where there are validation speakers, their loss and UAR."""
    with plot(path, (7.0, 4.0)) as figure:
        axes = figure.subplots()
        epochs = np.arange(1, len(history) + 1)
        axes.plot(epochs, [record.loss for record in history], color=_BLUE, label="training loss")
        validation = [record.validation_nll or 0.0 for record in history]
        uar = [100.0 * (record.validation_uar or 0.0) for record in history]
        axes.set(xlabel="epoch", ylabel="loss (nats)", title=title, xlim=(1, max(2, len(history))))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if history and history[0].validation_uar is not None:
            axes.plot(epochs, validation, color=_BLUE, linestyle="--", label="validation loss")
            right = axes.twinx()
            right.plot(epochs, uar, color=_ORANGE, label="validation UAR")
            right.set_ylabel("UAR (%)")
            right.set_ylim(0, 100)
        axes.set_ylim(bottom=0.0)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)


def draw_confusion(
    path: Path, counts: NDArray[np.number], labels: Sequence[str], title: str
) -> None:
    """Draw share and count of each true label (row) that got each predicted label (column).

    Labels that no clip has get no row. Counts of several networks may be means.
    """
    tested = np.flatnonzero(counts.sum(axis=1))
    rows = counts[tested].sum(axis=1, keepdims=True)
    shares = 100.0 * counts[tested] / rows
    size = (3.4 + 0.55 * len(labels), 2.0 + 0.55 * len(tested))
    with plot(path, size) as figure:
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=100.0)
        names = [
            f"{labels[k]} ({count:.0f})"
            for k, count in zip(tested.tolist(), rows[:, 0], strict=True)
        ]
        axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(tested)), names)
        axes.set(xlabel="predicted", ylabel="true (clips)")
        axes.set_title(title, fontsize=10)
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 55.0 else "black"
            at = {"x": column, "ha": "center", "va": "center", "color": colour}
            axes.text(y=row - 0.14, s=f"{share:.0f}", **at)
            axes.text(y=row + 0.24, s=f"{counts[tested][row, column]:.0f}", fontsize=6, **at)
        figure.colorbar(image, ax=axes, label="% of the true label; small: clips", shrink=0.8)


def draw_reliability(
    path: Path, curves: Mapping[str, Sequence[ReliabilityBin]], title: str
) -> None:
    """Draw accuracy over confidence, by name; bars show how many clips are in each bin.

    A handful of clips says nothing: bins of fewer than ten have a bar only.
    """
    with plot(path, (5.0, 5.4)) as figure:
        upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
        upper.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfectly calibrated")
        width = 1.0 / (ECE_BINS * (len(curves) + 0.5))
        for number, (name, bins) in enumerate(curves.items()):
            colour = COLOURS[number]
            told = [b for b in bins if b.count >= _TELLING_CLIPS]
            points = [b.confidence for b in told], [b.accuracy for b in told]
            upper.plot(*points, color=colour, marker="o", label=name)
            middles = np.array(
                [(min(int(b.confidence * ECE_BINS), ECE_BINS - 1) + 0.5) for b in bins]
            )
            places = middles / ECE_BINS + (number - (len(curves) - 1) / 2) * width
            counts = np.array([b.count for b in bins])
            lower.bar(places, 100 * counts / counts.sum(), width=width, color=colour)
        upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        upper.set_title(title, fontsize=10)
        upper.legend(frameon=False, loc="upper left")
        upper.grid(alpha=0.25)
        lower.set(xlabel="confidence", ylabel="% of clips")


def draw_measured(folder: Path, measured: Measured, labels: Sequence[str], title: str) -> None:
    """Draw ``confusion.png`` and ``reliability.png`` of measured clips into a folder."""
    scores, answers = measured.scores, (measured.probabilities, measured.truth)
    text = f"{title}: UAR {100 * scores.uar:.1f} %, WA {100 * scores.wa:.1f} %"
    draw_confusion(folder / "confusion.png", confusion(*answers), labels, text)
    ece, debiased = scores.ece, scores.debiased_ece
    text = f"ECE {100 * ece:.1f} % ({100 * debiased:.1f} % debiased), {scores.count} clips"
    draw_reliability(folder / "reliability.png", {"measured": reliability(*answers)}, text)


def draw_cross_validation(folder: Path, measured: Measurement) -> tuple[str, ...]:
    """Draw what there is to see; what there is not is not drawn.

    Returns
    -------
    tuple of str
        Names of the files.
    """
    configuration = measured.rows[0].configuration
    title = f"{configuration.network}, {configuration.protocol}"
    _draw_confusion(folder / "confusion.png", measured, title)
    _draw_reliability(folder / "reliability.png", measured, title)
    _draw_risk_coverage(folder / "risk_coverage.png", measured, title)
    drawn = ["confusion.png", "reliability.png", "risk_coverage.png"]
    if len(measured.pools[0].heard) > 2:
        _draw_seconds(folder / "seconds.png", measured, title)
        drawn.append("seconds.png")
    row = measured.rows[0]
    if len(row.history) > 1:
        name = f"{title}: seed {row.seed}, {row.fold_name}"
        draw_curves(folder / "curves.png", row.history, name)
        drawn.append("curves.png")
    return tuple(drawn)


def _draw_confusion(path: Path, measured: Measurement, title: str) -> None:
    counts = [confusion(one.probabilities[measured.headline], one.truth) for one in measured.pools]
    uar, wa = measured.single.uar.mean, measured.single.wa.mean
    text = f"{title}\nUAR {100 * uar:.1f} %, WA {100 * wa:.1f} %"
    if len(counts) > 1:
        text += f", mean of {len(counts)} seeds"
    draw_confusion(path, np.mean(counts, axis=0), measured.pools[0].labels, text)


def _draw_reliability(path: Path, measured: Measurement, title: str) -> None:
    curves = {}
    for name, pools in _compared(measured).items():
        answers = np.concatenate([one.probabilities[measured.headline] for one in pools])
        curves[name] = reliability(answers, np.concatenate([one.truth for one in pools]))
    ece, debiased = measured.single.ece.mean, measured.single.debiased_ece.mean
    text = f"{title}\nECE {100 * ece:.1f} % ({100 * debiased:.1f} % debiased)"
    draw_reliability(path, curves, text)


def _draw_risk_coverage(path: Path, measured: Measurement, title: str) -> None:
    with plot(path, (6.0, 4.0)) as figure:
        axes = figure.subplots()
        axes.axvline(100 * KEPT_SHARE, color=GREY, linestyle=":")
        offsets = ((-44, -14), (6, 8))  # below and above: the ensemble is the better one
        compared = _compared(measured).items()
        for colour, offset, (name, pools) in zip(COLOURS, offsets, compared, strict=False):
            curves = [
                risk_coverage(one.probabilities[measured.headline], one.truth) for one in pools
            ]
            accuracy = 100 * np.mean(curves, axis=0)
            coverage = 100 * np.arange(1, len(accuracy) + 1) / len(accuracy)
            told = coverage >= _TELLING_PERCENT
            axes.plot(coverage[told], accuracy[told], color=colour, label=name)
            kept = max(1, round(KEPT_SHARE * len(accuracy))) - 1
            place = (coverage[kept], accuracy[kept])
            axes.plot(*place, "o", color=colour)
            text = f"{accuracy[kept]:.1f} %"
            axes.annotate(text, place, xytext=offset, textcoords="offset points", color=colour)
        axes.set(xlabel="share of clips that are answered, surest first (%)", ylabel="accuracy (%)")
        axes.set(xlim=(0, 100), ylim=(None, 100))
        _finish(axes, title, "lower left")


def _draw_seconds(path: Path, measured: Measurement, title: str) -> None:
    figures = measured.heard_figures()
    names = [name for name in figures if name != WHOLE]
    seconds = [float(name) for name in names]
    with plot(path, (6.0, 4.0)) as figure:
        axes = figure.subplots()
        for place, (what, colour) in enumerate(zip(("UAR", "WA"), COLOURS, strict=True)):
            values = [100 * figures[name][place] for name in names]
            axes.plot(seconds, values, color=colour, marker="o", label=what)
            if (
                WHOLE in figures
            ):  # clips differ in length: no number of seconds, but beyond the last
                ends = ([seconds[-1], seconds[-1] + 1], [values[-1], 100 * figures[WHOLE][place]])
                axes.plot(*ends, color=colour, linestyle=":", marker="o")
        if WHOLE in figures:
            seconds, names = [*seconds, seconds[-1] + 1], [*names, "the whole\nspeech"]
        axes.set_xticks(seconds, names)
        axes.set(xlabel="seconds heard from the speech onset", ylabel="%")
        axes.margins(y=0.15)
        _finish(axes, title, "lower right")


def _finish(axes: Axes, title: str, legend: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc=legend)


def _compared(measured: Measurement) -> dict[str, Sequence[Pool]]:
    pools: dict[str, Sequence[Pool]] = {"one network": measured.pools}
    if measured.ensemble:
        pools[f"ensemble of the {len(measured.seeds)} seeds"] = (measured.ensemble,)
    return pools
