"""Reports of all tools: figures against what was wanted, as a Markdown page and as JSON."""

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_live.errors import SerError
from ser_live.latency import LatencyHistogram, StageLatency
from tools.machine import conditions

UNKNOWN = "unknown on this system"
CORE = "of a core"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a report."""

    name: str
    value: Any
    """A number, text, latency or share of a core, counts by kind, or several of them."""
    unit: str = ""
    wanted: str = ""
    is_met: bool | None = None
    """None: nothing is wanted, or the system does not tell."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table below the figures, with the same kinds of values."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]

    def lines(self) -> list[str]:
        """Return the lines of Markdown."""
        cells = [self.columns, ["---"] * len(self.columns)]
        cells += [[shown(value) for value in row] for row in self.rows]
        return [f"| {' | '.join(row)} |" for row in cells]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a run of a tool says."""

    title: str
    model: str
    figures: Sequence[Figure]
    tables: Mapping[str, Table]
    """By heading; tables without rows are left out."""
    note: str = ""
    """Below the figures."""

    def __getitem__(self, name: str) -> Any:
        """Return the value of a figure."""
        return next(figure.value for figure in self.figures if figure.name == name)

    @property
    def missed(self) -> list[str]:
        """Names of the figures that are not as wanted."""
        return [figure.name for figure in self.figures if figure.is_met is False]

    def as_markdown(self, command: str) -> str:
        """Return the page."""
        verdicts = {True: "met", False: "**missed**", None: ""}
        rows = [
            (f.name, shown(f.value, f.unit), f.wanted, verdicts[f.is_met]) for f in self.figures
        ]
        figures = Table(("what", "measured", "wanted", ""), rows)
        known = Table(("what", "which"), list(conditions(self.model).items()))
        lines = [f"# {self.title}", "", f"`{command}`", "", *figures.lines()]
        lines += ["", self.note] if self.note else []
        for heading, table in {**self.tables, "Conditions": known}.items():
            lines += ["", f"## {heading}", "", *table.lines()] if table.rows else []
        return "\n".join(lines) + "\n"

    def as_json(self, command: str) -> str:
        """Return the same for programs."""
        told = {"title": self.title, "command": command, "conditions": conditions(self.model)}
        record = {**told, "figures": self.figures, "tables": self.tables}
        return json.dumps(record, indent=1, default=_fields) + "\n"

    def publish(self, command: str, path: Path | None, prints_json: bool) -> int:
        """Print the report, write ``path`` and its ``.json``; return 1 if a figure is missed."""
        page, record = self.as_markdown(command), self.as_json(command)
        print(record if prints_json else page, end="", flush=True)
        if path is not None:
            path.write_text(page, encoding="utf-8")
            path.with_suffix(".json").write_text(record, encoding="utf-8")
        return 1 if self.missed else 0


def check_report_path(path: Path | None) -> None:
    """Raise SerError before a long run if its report could not be written after it."""
    if path is None:
        return
    if path.suffix != ".md":
        raise SerError(
            f"--report is {path}, wanted a name like report.md; report.json comes beside"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK) or path.is_dir():
        raise SerError(f"{path}: cannot write the report there; wanted a file in a folder of yours")


def shown(value: Any, unit: str = "") -> str:  # noqa: PLR0911 - a return for each kind
    """Return a value as it stands on the page."""
    match value:
        case None:
            return UNKNOWN
        case bool():
            return "yes" if value else "no"
        case StageLatency():
            quantiles = (value.p50_seconds, value.p95_seconds, value.p99_seconds, value.max_seconds)
            cells = (f"{1000.0 * seconds:.3g}" for seconds in quantiles)
            return "p50 {}, p95 {}, p99 {}, max {} ms ({})".format(*cells, value.count)
        case Mapping():
            return ", ".join(f"{times} x {kind}" for kind, times in sorted(value.items())) or "none"
        case tuple() | list():
            return ", ".join(shown(part, unit) for part in value)
        case float() if unit == CORE:
            return f"{100.0 * value:.2f} % of a core"
        case float():
            return f"{value:.4g} {unit}".rstrip()
        case _:
            return f"{value} {unit}".rstrip()


def summary(name: str, durations_seconds: Iterable[float]) -> StageLatency:
    """Return count, quantiles and maximum of durations that are all known."""
    histogram = LatencyHistogram()
    for seconds in durations_seconds:
        histogram.add(seconds)
    return histogram.summary(name)


def none(name: str, found: int | Mapping[str, int]) -> Figure:
    """Return a number, or counts by kind, that must be zero."""
    count = found if isinstance(found, int) else sum(found.values())
    return Figure(name, found if count else 0, "", "0", count == 0)


def at_most(name: str, value: float | None, unit: str, most: float) -> Figure:
    """Return a value whose distance from zero must be small."""
    is_met = None if value is None else abs(value) <= most
    return Figure(name, value, unit, f"at most {most:g} {unit}", is_met)


def no_more(name: str, before: int | None, after: int | None, slack: int = 0) -> Figure:
    """Return a count before and after, which must not have grown by more than ``slack``."""
    is_met = None if before is None or after is None else after <= before + slack
    return Figure(
        name, (before, after), "", f"at most {slack} more" if slack else "no more", is_met
    )


def growth(name: str, before: float | None, after: float | None, most_mib: float) -> Figure:
    """Return by how much memory has grown, which must not be more than ``most_mib``."""
    grown = None if before is None or after is None else after - before
    is_met = None if grown is None else grown <= most_mib
    return Figure(name, grown, "MiB", f"at most {most_mib:g} MiB", is_met)


def say(share: float, words: str) -> None:
    """Print on stderr the share of a run that is done, and a word on it."""
    print(f"{100.0 * share:4.0f} %  {words}", file=sys.stderr, flush=True)


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def times_table(head: str, found: Mapping[str, int]) -> Table:
    """Return a table of kinds, and how often each occurred."""
    return Table((head, "times"), sorted(found.items()))
