"""A picture of what bad conditions cost."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ser_train.reports.plots import COLOURS, GREY, save

_KEPT, _LOST = COLOURS


def draw_conditions(
    path: Path, bars: Sequence[tuple[str, float, float]], title: str, wanted_points: float
) -> None:
    """Draw the UAR in each condition.

    Parameters
    ----------
    path : Path
    bars : sequence of (str, float, float)
        Name, UAR in per cent and points of UAR lost; the clean condition first.
    title : str
    wanted_points : float
        At most so many should be lost.
    """
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    clean = bars[0][1]
    for place, (_, uar, lost) in enumerate(bars):
        kept = lost <= wanted_points
        axes.bar(place, uar, width=0.65, color=_KEPT if kept else _LOST)
        text = f"{uar:.1f}" if place == 0 else f"{uar:.1f}\n{-lost:+.1f}"
        axes.text(place, 2.0, text, ha="center", va="bottom", fontsize=10, color="white")
    axes.axhline(clean - wanted_points, color=GREY, linestyle=":", linewidth=1.2)
    axes.text(
        len(bars) - 0.5,
        clean - wanted_points,
        f" {wanted_points:g} points\n under clean",
        color=GREY,
        fontsize=9,
        va="center",
    )
    axes.set_xticks(range(len(bars)), [name for name, _, _ in bars])
    axes.set(ylabel="UAR (%)", ylim=(0, min(100.0, 1.1 * max(uar for _, uar, _ in bars))))
    axes.set_xlim(-0.6, len(bars) - 0.5)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
