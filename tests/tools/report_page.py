"""The report of a tool that measures: figures against what was wanted, as a page and in files."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_live.errors import SerError
from ser_live.latency import StageLatency

UNKNOWN = "unknown on this system"

_MIB = 2.0**20


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a report."""

    name: str
    value: str
    wanted: str = ""
    is_met: bool | None = None
    """None: nothing is wanted, or nobody knows."""


def none(name: str, count: int) -> Figure:
    """Want nothing of a kind to have happened."""
    return Figure(name, str(count), "0", count == 0)


def at_most(name: str, value: float, unit: str, most: float) -> Figure:
    """Want a value, or its absolute, to be small."""
    return Figure(name, f"{value:.3f} {unit}", f"at most {most:g} {unit}", abs(value) <= most)


def missed(figures: Iterable[Figure]) -> bool:
    """Tell whether something that was wanted did not come."""
    return any(figure.is_met is False for figure in figures)


def figure_table(figures: Iterable[Figure]) -> list[str]:
    """Give figures as the lines of a Markdown table."""
    rows = [(f.name, f.value, f.wanted, _verdict(f)) for f in figures]
    return table(("what", "measured", "wanted", ""), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Give the lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def quantiles(stage: StageLatency) -> str:
    """Give latencies in milliseconds on one line."""
    names = ("p50", "p95", "p99", "max")
    values = (stage.p50_seconds, stage.p95_seconds, stage.p99_seconds, stage.max_seconds)
    cells = (f"{name} {1000.0 * v:.3g}" for name, v in zip(names, values, strict=True))
    return f"{', '.join(cells)} ms ({stage.count})"


def mebibytes(size: float | None) -> str:
    """Give a number of bytes for people."""
    return UNKNOWN if size is None else f"{size / _MIB:.2f} MiB"


def check_writable(report: Path | None, example: str) -> None:
    """Find out before the hours have passed, not after.

    Raises
    ------
    SerError
        If a report of that name cannot be written, or its ``.json`` would have the same name.
    """
    if report is None:
        return
    if report.suffix == ".json" or not report.suffix:
        beside = Path(example).with_suffix(".json")
        raise SerError(f"--report is {report}, wanted a name like {example}; {beside} comes beside")
    if not os.access(report.parent, os.W_OK | os.X_OK) or report.is_dir():
        raise SerError(
            f"{report}: cannot write the report there; wanted a file in a folder of yours"
        )


def write_report(report: Path, page: str, record: str) -> None:
    """Write the page, and what programs read beside it."""
    for path, text in ((report, page), (report.with_suffix(".json"), record)):
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise SerError(
                f"{path}: cannot write the report ({error.strerror or error})"
            ) from error


def _verdict(figure: Figure) -> str:
    return {True: "met", False: "**missed**", None: ""}[figure.is_met]
