"""Plots of a training and of measured predictions, and the style that all plots share."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ser_train.evaluation.calibration import Measured
from ser_train.files import write_atomically
from ser_train.metrics import ECE_BINS, ReliabilityBin, confusion, reliability
from ser_train.progress import EpochRecord

COLOURS = ("#2b6cb0", "#dd6b20")
"""Of two things that a plot compares."""
GREY = "#718096"
_BLUE, _ORANGE = COLOURS
_TELLING_CLIPS = 10


def draw_curves(path: Path, history: Sequence[EpochRecord], title: str) -> None:
    """Draw training loss and, where there are validation speakers, their loss and UAR."""
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
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
    save(figure, path)


def draw_confusion(
    path: Path, counts: NDArray[np.number], labels: Sequence[str], title: str
) -> None:
    """Draw the share of each true label (row) that got each predicted label (column).

    Labels that no clip has get no row. Counts of several networks may be means.
    """
    tested = np.flatnonzero(counts.sum(axis=1))
    rows = counts[tested].sum(axis=1, keepdims=True)
    shares = 100.0 * counts[tested] / rows
    size = (3.4 + 0.5 * len(labels), 2.0 + 0.5 * len(tested))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=100.0)
    names = [
        f"{labels[k]} ({count:.0f})" for k, count in zip(tested.tolist(), rows[:, 0], strict=True)
    ]
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(tested)), names)
    axes.set(xlabel="predicted", ylabel="true (clips)")
    axes.set_title(title, fontsize=10)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 55.0 else "black"
        axes.text(column, row, f"{share:.0f}", ha="center", va="center", color=colour)
    figure.colorbar(image, ax=axes, label="% of the true label", shrink=0.8)
    save(figure, path)


def draw_reliability(
    path: Path, curves: Mapping[str, Sequence[ReliabilityBin]], title: str
) -> None:
    """Draw accuracy over confidence, by name; bars show how many clips are in each bin.

    A handful of clips says nothing: bins of fewer than ten have a bar only.
    """
    figure = Figure(figsize=(5.0, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfectly calibrated")
    width = 1.0 / (ECE_BINS * (len(curves) + 0.5))
    for number, (name, bins) in enumerate(curves.items()):
        colour = COLOURS[number]
        told = [b for b in bins if b.count >= _TELLING_CLIPS]
        points = [b.confidence for b in told], [b.accuracy for b in told]
        upper.plot(*points, color=colour, marker="o", label=name)
        middles = np.array([(min(int(b.confidence * ECE_BINS), ECE_BINS - 1) + 0.5) for b in bins])
        places = middles / ECE_BINS + (number - (len(curves) - 1) / 2) * width
        counts = np.array([b.count for b in bins])
        lower.bar(places, 100 * counts / counts.sum(), width=width, color=colour)
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    upper.set_title(title, fontsize=10)
    upper.legend(frameon=False, loc="upper left")
    upper.grid(alpha=0.25)
    lower.set(xlabel="confidence", ylabel="% of clips")
    save(figure, path)


def draw_measured(folder: Path, measured: Measured, labels: Sequence[str], title: str) -> None:
    """Draw ``confusion.png`` and ``reliability.png`` of measured clips into a folder."""
    scores, answers = measured.scores, (measured.probabilities, measured.truth)
    text = f"{title}: UAR {100 * scores.uar:.1f} %, WA {100 * scores.wa:.1f} %"
    draw_confusion(folder / "confusion.png", confusion(*answers), labels, text)
    text = f"ECE {100 * scores.ece:.1f} %, NLL {scores.nll:.3f}, {scores.count} clips"
    draw_reliability(folder / "reliability.png", {"measured": reliability(*answers)}, text)


def save(figure: Figure, path: Path) -> None:
    """Write a plot in one step."""
    write_atomically(path, lambda file: figure.savefig(file, dpi=120))
