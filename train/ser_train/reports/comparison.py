"""Report of two reports: lines for a terminal, a page with its plot, tables and JSON."""

import dataclasses
from collections.abc import Collection
from pathlib import Path

from ser_train.cross_validation.comparison import Comparison, Difference
from ser_train.reports.markdown import (
    Table,
    markdown_table,
    percent,
    text_table,
    write_json,
    write_page,
    write_tables,
)

_METHOD = (
    "Intervals are 95 % t intervals of the paired difference over speakers, each of them left out "
    "in turn (jackknife): both answered the same clips, so that what makes a speaker hard leaves "
    "the difference. Of several seeds the mean counts; what another training would change is not "
    "in the interval."
)


def comparison_lines(of: Comparison) -> tuple[str, ...]:
    """Return the comparison as lines for a terminal."""
    sides = f"A: {of.first.report}", f"B: {of.second.report}", _counted(of)
    return (*sides, "", *text_table(_figures(of)), "", *map(_verdict, (of.uar, of.wa)))


def write_comparison(folder: Path, of: Comparison, forms: Collection[str]) -> None:
    """Write ``comparison.md`` with its plot, ``comparison.json`` and the tables into a folder."""
    _draw(folder / "comparison.png", of)
    figures, speakers = _figures(of), _table("speaker", of.speakers)
    words = {"A": of.first, "B": of.second}
    paragraphs = (
        f"# {of.second.report} against {of.first.report}",
        *(f"{side}: {own.report} ({own.words.rstrip(':')})." for side, own in words.items()),
        f"{_counted(of)}. {_verdict(of.uar)}. {_verdict(of.wa)}.",
        markdown_table(figures),
        _METHOD,
        "![Difference for each speaker](comparison.png)",
        "## Accuracy of each speaker",
        markdown_table(speakers),
    )
    write_page(folder / "comparison.md", paragraphs)
    plain = {name: dataclasses.asdict(value) for name, value in (("uar", of.uar), ("wa", of.wa))}
    for name, rows in (("recalls", of.recalls), ("speakers", of.speakers)):
        plain[name] = {row.name: dataclasses.asdict(row) for row in rows}
    reports = {side: {"report": own.report, "protocol": own.words} for side, own in words.items()}
    write_json(folder / "comparison.json", {**reports, "clips": of.clips, **plain})
    write_tables(folder, {"comparison": figures, "speakers": speakers}, forms)


def _counted(of: Comparison) -> str:
    signs = [row.difference > 0 for row in of.speakers if row.difference]
    count = f"B is right more often for {sum(signs)}, less often for {len(signs) - sum(signs)}"
    return f"{of.clips} clips of {len(of.speakers)} speakers; {count}"


def _figures(of: Comparison) -> Table:
    recalls = (dataclasses.replace(row, name=f"recall of {row.name}") for row in of.recalls)
    return _table("", (of.uar, of.wa, *recalls))


def _table(title: str, rows: Collection[Difference]) -> Table:
    cells = []
    for row in rows:
        bounds = (row.interval.low, row.interval.high) if row.interval else ()
        signed = [f"{100 * value:+.1f}" for value in (row.difference, *bounds)]
        cells.append([row.name, percent(row.first), percent(row.second), *signed])
    width = max(map(len, cells))
    head = [title, "A %", "B %", "B - A", "95 % from", "95 % to"][:width]
    return [head, *(own + [""] * (width - len(own)) for own in cells)]


def _verdict(of: Difference) -> str:
    if of.interval is None:
        return f"{of.name}: fewer than three speakers tell nothing of others"
    if of.interval.low <= 0 <= of.interval.high:
        return f"{of.name}: the interval holds 0, so these speakers do not tell which is better"
    return f"{of.name}: {'B' if of.difference > 0 else 'A'} is better for speakers like these"


def _draw(path: Path, of: Comparison) -> None:
    """Draw the difference for each speaker, sorted, under those of all with their intervals."""
    from ser_train.reports.plots import COLOURS, GREY, plot  # noqa: PLC0415 - Matplotlib takes a second

    speakers = sorted(of.speakers, key=lambda row: row.difference)
    rows = [*speakers, of.wa, of.uar]
    with plot(path, (7.0, 1.6 + 0.24 * len(rows))) as figure:
        axes = figure.subplots()
        axes.axvline(0.0, color=GREY, linestyle=":")
        axes.axhline(len(speakers) - 0.5, color=GREY, linewidth=0.5)
        for place, row in enumerate(rows):
            whole, value = place >= len(speakers), 100 * row.difference
            axes.plot(value, place, "D" if whole else "o", color=COLOURS[whole], markersize=4)
            if row.interval:
                ends = 100 * row.interval.low, 100 * row.interval.high
                axes.plot(ends, (place, place), "|-", color=COLOURS[1])
        names = [f"WA, {row.name}" for row in speakers]
        axes.set_yticks(range(len(rows)), [*names, "WA, all", "UAR, all"], fontsize=8)
        axes.set(ylim=(-0.7, len(rows) - 0.3), xlabel="B - A (points); right of 0, B is better")
        axes.set_title(f"A: {of.first.report}\nB: {of.second.report}", fontsize=9)
        axes.grid(axis="x", alpha=0.25)
