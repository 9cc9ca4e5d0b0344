"""What is written for people to read: lines, tables, pages; and the same as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

from ser_train.files import write_atomically
from ser_train.metrics import Scores


def write_json(path: Path, data: object) -> None:
    """Write data as indented JSON in one step."""
    write_page(path, [json.dumps(data, indent=2, ensure_ascii=False)])


def write_page(path: Path, page: Sequence[str]) -> None:
    """Write lines of text in one step."""
    text = "\n".join(page) + "\n"
    write_atomically(path, lambda file: file.write_text(text, encoding="utf-8"))


def markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Give the lines of a table whose first row is its head."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def score_lines(scores: Scores, labels: Sequence[str]) -> tuple[str, ...]:
    """Give scores as lines of text for a person."""
    recalls = "  ".join(
        f"{label} {100 * recall:.0f}"
        for label, recall in zip(labels, scores.recalls, strict=True)
        if recall is not None
    )
    return (
        f"UAR {100 * scores.uar:.1f} %   WA {100 * scores.wa:.1f} %   "
        f"ECE {100 * scores.ece:.1f} %   NLL {scores.nll:.3f}   {scores.count} clips",
        f"recall %:  {recalls}",
        f"accuracy of the surest 80 %: {100 * scores.wa_of_surest:.1f} %",
    )
