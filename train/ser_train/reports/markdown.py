"""Figures to read: pages of Markdown, tables in several forms, and JSON."""

import csv
import io
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ser_train.evaluation.calibration import Comparison
from ser_train.files import write_atomically
from ser_train.metrics import Scores

Table = Sequence[Sequence[str]]
"""Rows of cells; the first row is the head."""


def write_json(path: Path, data: object) -> None:
    """Write data as indented JSON in one step."""
    write_page(path, [json.dumps(data, indent=2, ensure_ascii=False)])


def write_page(path: Path, paragraphs: Sequence[str]) -> None:
    """Write paragraphs in one step, leaving out empty ones."""
    text = "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"
    write_atomically(path, lambda file: file.write_text(text, encoding="utf-8"))


def markdown_table(rows: Table) -> str:
    """Return a table as Markdown."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def text_table(rows: Table) -> list[str]:
    """Return a table as lines for a terminal, its columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return ["  ".join(cells).rstrip() for cells in aligned]


def write_tables(folder: Path, tables: Mapping[str, Table], forms: Collection[str]) -> None:
    """Write tables by name, as ``NAME.csv`` if the forms have "csv", as ``NAME.tex`` if "latex"."""
    for name, rows in tables.items():
        if "csv" in forms:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(rows)
            write_page(folder / f"{name}.csv", [text.getvalue().rstrip("\n")])
        if "latex" in forms:
            write_page(folder / f"{name}.tex", [latex_table(rows)])


def latex_table(rows: Table) -> str:
    """Return a table for LaTeX with the package booktabs; the first column holds names."""
    lines = [" & ".join(map(_escaped, cells)) + r" \\" for cells in rows]
    columns = "l" + "r" * (len(rows[0]) - 1)
    begin, end = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
    whole = [begin, r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", end]
    return "\n".join(whole)


def _escaped(text: str) -> str:
    """Write LaTeX's special characters so that they are printed."""
    words = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(words.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)


def percent(share: float) -> str:
    """Return a share in percent, with one digit after the point."""
    return f"{100 * share:.1f}"


def score_lines(scores: Scores, labels: Sequence[str]) -> tuple[str, ...]:
    """Return scores as lines of text for a person."""
    recalls = "  ".join(
        f"{label} {100 * recall:.0f}"
        for label, recall in zip(labels, scores.recalls, strict=True)
        if recall is not None
    )
    return (
        f"UAR {100 * scores.uar:.1f} %   WA {100 * scores.wa:.1f} %   "
        f"ECE {100 * scores.ece:.1f} % ({100 * scores.debiased_ece:.1f} % debiased)   "
        f"NLL {scores.nll:.3f}   {scores.count} clips",
        f"recall %:  {recalls}",
        f"accuracy of the surest 80 %: {100 * scores.wa_of_surest:.1f} %",
    )


def comparison_lines(comparison: Comparison) -> tuple[str, ...]:
    """Return the scores before and after an adaptation as lines of text."""
    count = len(comparison.whole.recalls)
    found = []
    if comparison.before and comparison.after:
        found = [("before", comparison.before), ("after", comparison.after)]
    if not found or len(comparison.common) < count:
        found.append((f"after, all {count} labels", comparison.whole))
    rows = [("", "clips", "labels", "UAR %", "WA %", "NLL", "ECE %")]
    for title, s in found:
        shares = percent(s.uar), percent(s.wa), f"{s.nll:.3f}", percent(s.ece)
        rows.append((title, str(s.count), str(len(s.recalls)), *shares))
    return tuple(text_table(rows))


def worse(comparison: Comparison) -> str:
    """Name the figures that have become worse; empty if none has."""
    before, after = comparison.before, comparison.after
    if before is None or after is None:
        return ""
    changes = (
        (before.uar - after.uar, f"UAR by {100 * (before.uar - after.uar):.1f} points"),
        (before.wa - after.wa, f"WA by {100 * (before.wa - after.wa):.1f} points"),
        (after.nll - before.nll, f"NLL by {after.nll - before.nll:.3f}"),
        (after.ece - before.ece, f"ECE by {100 * (after.ece - before.ece):.1f} points"),
    )
    return ", ".join(words for loss, words in changes if loss > 0)
