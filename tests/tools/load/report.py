"""What a run of the tools has to say, for people and for programs."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tools.conditions import Conditions
from tools.report_page import Figure, figure_table, table


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """What is said of a run."""

    title: str
    figures: Sequence[Figure]
    sections: Mapping[str, Sequence[str]]
    """Lines of Markdown under a heading each."""


def as_markdown(page: Page, conditions: Conditions, command: str) -> str:
    """Give everything as a page."""
    lines = [f"# {page.title}", "", f"`{command}`", "", *figure_table(page.figures)]
    for heading, section in page.sections.items():
        lines += ["", f"## {heading}", "", *section]
    known = [(k.replace("_", " "), str(v)) for k, v in dataclasses.asdict(conditions).items()]
    lines += ["", "## Conditions", "", *table(("what", "which"), known)]
    return "\n".join(lines) + "\n"


def as_json(page: Page, report: Any) -> str:
    """Give everything for programs."""
    record = dataclasses.asdict(report)
    record["targets"] = [dataclasses.asdict(figure) for figure in page.figures if figure.wanted]
    return json.dumps(record, indent=1) + "\n"


def counts(found: Mapping[str, int]) -> str:
    """Give kinds and how often each was, on one line."""
    return ", ".join(f"{n} x {kind}" for kind, n in sorted(found.items())) or "none"


def percent(share: float | None) -> str:
    """Give a share of a core for people."""
    return "unknown" if share is None else f"{100.0 * share:.1f} %"
