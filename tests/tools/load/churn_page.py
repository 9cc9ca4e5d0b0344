"""What is said of a churn."""

from tools.load.churn import ChurnReport
from tools.load.report import Page, counts
from tools.load.target import Look
from tools.report_page import UNKNOWN, Figure, mebibytes, none, table

_MOST_GROWTH_BYTES = 4 * 2**20
_MOST_BYTES_PER_CYCLE = 512
_MOST_HANDLES = 2  # a connection of the metrics may be closing


def churn_page(report: ChurnReport) -> Page:
    """Put together what is said."""
    sections = {
        "How visitors left": table(
            ("way", "times"), [(way, str(n)) for way, n in sorted(report.cycles.items())]
        ),
        "On the way": _course(report),
    }
    return Page("Coming and going", _figures(report), sections)


def _figures(report: ChurnReport) -> list[Figure]:
    cycles = sum(report.cycles.values())
    rate = cycles / report.seconds
    return [
        Figure("cycles", str(cycles), str(report.plan.cycles), cycles == report.plan.cycles),
        Figure("time", f"{report.seconds:.0f} s, {rate:.0f} cycles per second"),
        Figure("later cycles", f"all but the first {report.warm_cycles}"),
        Figure("came again because the server was busy", str(report.refused)),
        none("troubles", sum(report.troubles.values())),
        *([Figure("which", counts(report.troubles))] if report.troubles else []),
        none("predictions of whole visits that differ from offline", report.different_predictions),
        _growth(report),
        _same("handles", report.warm.handles, report.after.handles, _MOST_HANDLES),
        _same("threads", report.warm.threads, report.after.threads, 0),
        _same("tasks of the event loop", report.warm.tasks, report.after.tasks, 0),
        none("errors in the server's log", sum(report.log_errors.values())),
        *([Figure("which", counts(report.log_errors))] if report.log_errors else []),
        Figure(
            "answers at the end", "yes" if report.is_healthy else "no", "yes", report.is_healthy
        ),
    ]


def _growth(report: ChurnReport) -> Figure:
    growth = report.growth_bytes
    later = max(1, sum(report.cycles.values()) - report.warm_cycles)
    most = max(_MOST_GROWTH_BYTES, _MOST_BYTES_PER_CYCLE * later)
    if growth is None:
        return Figure("growth of memory by the later cycles", UNKNOWN)
    value = f"{mebibytes(growth)}, {growth / later:.0f} bytes per cycle"
    wanted = f"at most {mebibytes(most)}"
    return Figure("growth of memory by the later cycles", value, wanted, growth <= most)


def _same(name: str, before: int | None, after: int | None, slack: int) -> Figure:
    title = f"{name} before the later cycles, at the end"
    if before is None or after is None:
        return Figure(title, "nobody tells")
    wanted = "no more" if slack == 0 else f"at most {slack} more"
    return Figure(title, f"{before}, {after}", wanted, after <= before + slack)


def _course(report: ChurnReport) -> list[str]:
    rows = [(str(cycles), *_cells(look)) for cycles, look in report.looks]
    rows.append(("at rest, in the end", *_cells(report.after)))
    return table(("cycles", "resident", "handles", "threads"), rows)


def _cells(look: Look) -> tuple[str, str, str]:
    return mebibytes(look.resident_bytes), str(look.handles), str(look.threads)
