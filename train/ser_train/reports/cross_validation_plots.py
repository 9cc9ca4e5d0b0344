"""Plots of a cross-validation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_train.cross_validation.ledger import WHOLE
from ser_train.cross_validation.measurement import Measurement
from ser_train.cross_validation.pooling import Pool
from ser_train.metrics import KEPT_SHARE, confusion, reliability, risk_coverage
from ser_train.reports.plots import (
    COLOURS,
    GREY,
    draw_confusion,
    draw_curves,
    draw_reliability,
    save,
)

_TELLING_PERCENT = 2
"""Of the clips: fewer say nothing."""


def draw_report(folder: Path, measured: Measurement) -> tuple[str, ...]:
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
    draw_confusion(path, np.mean(counts, axis=0), measured.labels, text)


def _draw_reliability(path: Path, measured: Measurement, title: str) -> None:
    curves = {}
    for name, pools in _compared(measured).items():
        answers = np.concatenate([one.probabilities[measured.headline] for one in pools])
        curves[name] = reliability(answers, np.concatenate([one.truth for one in pools]))
    ece, excess = measured.single.ece.mean, measured.single.excess_ece.mean
    text = f"{title}\nECE {100 * ece:.1f} % ({100 * excess:+.1f} % beyond chance)"
    draw_reliability(path, curves, text)


def _draw_risk_coverage(path: Path, measured: Measurement, title: str) -> None:
    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.axvline(100 * KEPT_SHARE, color=GREY, linestyle=":")
    offsets = ((-44, -14), (6, 8))  # below and above: the ensemble is the better one
    compared = _compared(measured).items()
    for colour, offset, (name, pools) in zip(COLOURS, offsets, compared, strict=False):
        curves = [risk_coverage(one.probabilities[measured.headline], one.truth) for one in pools]
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
    save(figure, path)


def _draw_seconds(path: Path, measured: Measurement, title: str) -> None:
    figures = measured.heard_figures()
    names = [name for name in figures if name != WHOLE]
    seconds = [float(name) for name in names]
    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for place, (what, colour) in enumerate(zip(("UAR", "WA"), COLOURS, strict=True)):
        values = [100 * figures[name][place] for name in names]
        axes.plot(seconds, values, color=colour, marker="o", label=what)
        if WHOLE in figures:  # clips differ in length: no number of seconds, but beyond the last
            ends = ([seconds[-1], seconds[-1] + 1], [values[-1], 100 * figures[WHOLE][place]])
            axes.plot(*ends, color=colour, linestyle=":", marker="o")
    if WHOLE in figures:
        seconds, names = [*seconds, seconds[-1] + 1], [*names, "the whole\nspeech"]
    axes.set_xticks(seconds, names)
    axes.set(xlabel="seconds heard from the speech onset", ylabel="%")
    axes.margins(y=0.15)
    _finish(axes, title, "lower right")
    save(figure, path)


def _finish(axes: Axes, title: str, legend: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc=legend)


def _compared(measured: Measurement) -> dict[str, Sequence[Pool]]:
    pools: dict[str, Sequence[Pool]] = {"one network": measured.pools}
    if measured.ensemble:
        pools[f"ensemble of the {len(measured.seeds)} seeds"] = (measured.ensemble,)
    return pools
