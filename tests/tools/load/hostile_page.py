"""What is said of a torment."""

from tools.load.hostile import HostileReport
from tools.load.report import Page, counts
from tools.report_page import UNKNOWN, Figure, mebibytes, none, quantiles, table

_MOST_GROWTH_BYTES = 32 * 2**20
_MOST_HANDLES = 2


def hostile_page(report: HostileReport) -> Page:
    """Put together what is said."""
    rows = [
        (attack, str(report.attacks.get(attack, 0)), counts(outcomes))
        for attack, outcomes in report.outcomes.items()
    ]
    sections = {"What was done, and what came of it": table(("attack", "times", "answers"), rows)}
    return Page("Hostile clients", _figures(report), sections)


def _figures(report: HostileReport) -> list[Figure]:
    control = report.control
    trouble = sum(control.troubles.values())
    return [
        Figure("time", f"{report.seconds / 60.0:.1f} minutes of {report.plan.minutes:g}"),
        Figure("attacks", f"{sum(report.attacks.values())} of {len(report.attacks)} kinds"),
        none("answers that there must not be (500, 1011, let in)", sum(report.faults.values())),
        *([Figure("which", counts(report.faults))] if report.faults else []),
        *_http(report),
        Figure("predictions of the good stream", str(control.predictions)),
        none("that differ from offline", control.different_predictions),
        none("samples of it that were not answered for", control.unaccounted_samples),
        none("troubles of it", trouble),
        *([Figure("which", counts(control.troubles))] if trouble else []),
        Figure("events of it", counts(control.events)),
        Figure("latency of it", quantiles(control.latency)),
        Figure("blocks of it sent late, for want of time here", quantiles(control.lateness)),
        Figure("answers of /healthz", quantiles(report.health)),
        none("of these, wrong or none", report.unhealthy),
        Figure(
            "memory early on, the most, at rest in the end",
            f"{mebibytes(report.warm.resident_bytes)}, {mebibytes(report.most_resident_bytes)}, "
            f"{mebibytes(report.after.resident_bytes)}",
        ),
        _growth(report),
        _handles(report),
        none("errors in the server's log", sum(report.log_errors.values())),
        *([Figure("which", counts(report.log_errors))] if report.log_errors else []),
        Figure(
            "answers at the end", "yes" if report.is_healthy else "no", "yes", report.is_healthy
        ),
    ]


def _http(report: HostileReport) -> list[Figure]:
    name = "requests of schemathesis"
    if report.http_cases is None:
        return [Figure(name, "it is not installed")]
    failures = sum(report.http_failures.values())
    which = [Figure("which", counts(report.http_failures))] if failures else []
    return [
        Figure(name, str(report.http_cases)),
        none("of these, not as documented", failures),
        *which,
    ]


def _growth(report: HostileReport) -> Figure:
    before, after = report.warm.resident_bytes, report.after.resident_bytes
    if before is None or after is None:
        return Figure("growth of memory", UNKNOWN)
    growth, wanted = after - before, f"at most {mebibytes(_MOST_GROWTH_BYTES)}"
    return Figure("growth of memory", mebibytes(growth), wanted, growth <= _MOST_GROWTH_BYTES)


def _handles(report: HostileReport) -> Figure:
    before, after = report.idle.handles, report.after.handles
    if before is None or after is None:
        return Figure("handles before, at rest in the end", UNKNOWN)
    wanted = f"at most {_MOST_HANDLES} more"
    is_met = after <= before + _MOST_HANDLES
    return Figure("handles before, at rest in the end", f"{before}, {after}", wanted, is_met)
