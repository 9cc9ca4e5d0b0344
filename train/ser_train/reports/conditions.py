"""Report of bad conditions: lines for a terminal, a page with its plot, and JSON."""

import dataclasses
from pathlib import Path

from matplotlib.figure import Figure

from ser_train.evaluation.live.conditions import CLEAN, ConditionsFigures
from ser_train.reports.markdown import (
    Table,
    markdown_table,
    percent,
    text_table,
    write_json,
    write_page,
)
from ser_train.reports.plots import COLOURS, GREY, save

WANTED_POINTS = 6.0
"""Of UAR that a condition may cost."""
_KEPT, _LOST = COLOURS


def lines(figures: ConditionsFigures) -> tuple[str, ...]:
    """Return the figures as lines of text for a person."""
    return (f"{figures.protocol}:", "", *text_table(_table(figures)))


def write_report(folder: Path, figures: ConditionsFigures) -> None:
    """Write ``conditions.md`` with its plot, and ``conditions.json``, into a folder."""
    page = [
        f"# {figures.model} in bad conditions",
        f"{figures.protocol}. Every condition is made from the recording's samples, the same for "
        f"the same recording in every run (seed {figures.seed}). Lost: points of UAR, wanted at "
        f"most {WANTED_POINTS:g}.",
        markdown_table(_table(figures)),
        "![UAR in each condition](conditions.png)",
    ]
    _draw(folder / "conditions.png", figures)
    write_page(folder / "conditions.md", page)
    write_json(folder / "conditions.json", dataclasses.asdict(figures))


def _table(figures: ConditionsFigures) -> Table:
    rows = [("condition", "UAR %", "lost", "WA %", "ECE %", "clips", "what it is")]
    for one in figures.measured:
        lost = "" if one.name == CLEAN else f"{one.lost_points:.1f}"
        shares = (percent(one.scores.uar), lost, percent(one.scores.wa), percent(one.scores.ece))
        rows.append((one.name, *shares, str(one.scores.count), one.words))
    return rows


def _draw(path: Path, figures: ConditionsFigures) -> None:
    """Draw the UAR in each condition, and the line under which too much is lost."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    uars = [100.0 * one.scores.uar for one in figures.measured]
    bars = axes.bar(
        [one.name for one in figures.measured],
        uars,
        width=0.65,
        color=[_KEPT if one.lost_points <= WANTED_POINTS else _LOST for one in figures.measured],
    )
    lost = ["", *(f"\n{-one.lost_points:+.1f}" for one in figures.measured[1:])]
    texts = [f"{uar:.1f}{less}" for uar, less in zip(uars, lost, strict=True)]
    axes.bar_label(bars, texts, label_type="center", fontsize=10, color="white")
    least, right = uars[0] - WANTED_POINTS, len(uars) - 0.5
    axes.axhline(least, color=GREY, linestyle=":", linewidth=1.2)
    under = f" {WANTED_POINTS:g} points\n under clean"
    axes.text(right, least, under, color=GREY, fontsize=9, va="center")
    axes.set(ylabel="UAR (%)", ylim=(0, min(100.0, 1.1 * max(uars))), xlim=(-0.6, right))
    count = figures.measured[0].scores.count
    axes.set_title(f"{figures.model}, {count} recordings", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
