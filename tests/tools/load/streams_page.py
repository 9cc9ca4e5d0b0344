"""What is said of streams: the promises, the curve, and a picture of it."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.load.crowd import Step
from tools.load.report import Page, counts, percent
from tools.load.streams import StreamsReport
from tools.report_page import UNKNOWN, Figure, mebibytes, none, quantiles, table

MOST_BYTES_PER_STREAM = 3e6
_FLAT = 1.1

_NOTES = """\
Latency is counted from the moment at which the block with the last sample of a hop was handed
to the socket to the moment at which the prediction was taken from it; what the algorithm itself
waits for (window, smoothing) is not in it.
""".splitlines()


def streams_page(report: StreamsReport, picture: str | None) -> Page:
    """Put together what is said.

    Parameters
    ----------
    report : StreamsReport
        What was measured.
    picture : str or None
        Name of the file beside the page that shows the curve.
    """
    shown = [] if picture is None else ["", f"![latency and processor]({picture})"]
    sections = {"Step by step": [*_NOTES, "", *_curve(report), *shown]}
    broken = [s for s in report.steps if not s.keeps(report.plan.limit_seconds)]
    if broken:
        sections["Beyond the breaking point"] = _beyond(broken)
    return Page("Streams at once", _figures(report), sections)


def _figures(report: StreamsReport) -> list[Figure]:
    plan, kept = report.plan, report.kept
    milliseconds = 1000.0 * plan.limit_seconds
    most = 0 if kept is None else kept.asked
    begin = "all at one moment" if plan.are_together else "spread evenly over time"
    figures = [
        Figure(
            f"streams with p95 of at most {milliseconds:g} ms and nothing lost",
            str(most),
            f"at least {plan.wanted}",
            most >= plan.wanted,
        ),
        Figure("voices", f"{report.voice}, a hop every {plan.hop_ms} ms, {begin}"),
    ]
    if kept is not None:
        figures += _figures_of(report, kept)
    account = report.account
    figures += [
        Figure("samples sent", f"{account.sent_samples} in {account.streams} streams"),
        none("samples that were not answered for", account.unaccounted_samples),
        none("messages misnumbered", sum(step.misnumbered for step in report.steps)),
        Figure(
            "answers at the end", "yes" if report.is_healthy else "no", "yes", report.is_healthy
        ),
        Figure("memory idle, at the end", f"{mebibytes(report.idle.resident_bytes)}, "
               f"{mebibytes(report.after.resident_bytes)}"),
        Figure("load average of the machine, last minute", f"{report.load_average:.2f}"),
    ]  # fmt: skip
    return figures


def _figures_of(report: StreamsReport, kept: Step) -> list[Figure]:
    memory = max((report.memory_per_stream(s) or 0.0 for s in report.steps), default=0.0)
    is_known = report.idle.resident_bytes is not None
    return [
        Figure(f"latency at {kept.asked} streams", quantiles(kept.latency)),
        Figure(f"blocks sent late, at {kept.asked} streams", quantiles(kept.lateness)),
        Figure("processor, server", f"{percent(kept.server_core_share)} of a core"),
        Figure("processor, this tool", f"{percent(kept.tool_core_share)} of a core"),
        _cost(report.steps[0], kept),
        Figure(
            "memory per stream, the most of any step",
            f"{memory / 1e6:.2f} MB" if is_known else UNKNOWN,
            f"at most {MOST_BYTES_PER_STREAM / 1e6:g} MB",
            memory <= MOST_BYTES_PER_STREAM if is_known else None,
        ),
    ]


def _cost(first: Step, last: Step) -> Figure:
    before, after = first.cost_per_stream, last.cost_per_stream
    name = "processor per stream, first step, last kept"
    if before is None or after is None:
        return Figure(name, UNKNOWN)
    value = f"{percent(before)}, {percent(after)} of a core"
    return Figure(name, value, "flat or falling", after <= _FLAT * before)


def _curve(report: StreamsReport) -> list[str]:
    rows = []
    for step in report.steps:
        latency = step.latency
        shown = (latency.p50_seconds, latency.p95_seconds, latency.p99_seconds, latency.max_seconds)
        memory = report.memory_per_stream(step)
        rows.append((
            str(step.asked), str(step.open), *(f"{1000.0 * seconds:.1f}" for seconds in shown),
            str(step.left_out_hops), str(sum(step.refused.values()) + sum(step.lost.values())),
            percent(step.server_core_share), percent(step.tool_core_share),
            percent(step.cost_per_stream),
            UNKNOWN if memory is None else f"{memory / 1e6:.2f} MB",
            "" if step.keeps(report.plan.limit_seconds) else "**broken**",
        ))  # fmt: skip
    head = (
        "asked", "open", "p50 ms", "p95 ms", "p99 ms", "max ms", "hops left out", "refused, lost",
        "server", "tool", "per stream", "memory per stream", "",
    )  # fmt: skip
    return table(head, rows)


def _beyond(broken: list[Step]) -> list[str]:
    rows = [
        (
            str(step.asked), str(step.open), counts(step.refused), counts(step.lost),
            counts(step.events), counts(step.errors), mebibytes(step.resident_bytes),
            str(step.threads), str(step.handles),
        )
        for step in broken
    ]  # fmt: skip
    head = (
        "asked", "open", "refused", "lost", "events", "errors", "resident", "threads", "handles",
    )  # fmt: skip
    return table(head, rows)


def write_curve(report: StreamsReport, path: Path) -> bool:
    """Draw latency and processor against the number of streams; False without matplotlib."""
    with contextlib.suppress(ImportError):
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - heavy
        from matplotlib.figure import Figure as Picture  # noqa: PLC0415

        picture = Picture(figsize=(8.0, 9.0), layout="constrained")
        FigureCanvasAgg(picture)
        upper, middle, lower = picture.subplots(3, 1, sharex=True)
        _draw_latency(upper, report)
        _draw_processor(middle, report)
        _draw_cost(lower, report)
        lower.set_xlabel("streams asked for")
        picture.savefig(path, dpi=120)
        return True
    return False


def _draw_latency(axes: Any, report: StreamsReport) -> None:
    steps = [step for step in report.steps if step.latency.count]
    at = [step.asked for step in steps]
    for name in ("p50", "p95", "p99"):
        values = [1000.0 * getattr(step.latency, f"{name}_seconds") for step in steps]
        axes.plot(at, values, marker="o", label=name)
    axes.axhline(1000.0 * report.plan.limit_seconds, color="grey", linestyle="--")
    axes.set_yscale("log")
    axes.set_ylabel("last sample of a hop\nto its message, ms")
    axes.legend()
    axes.grid(alpha=0.3)


def _draw_processor(axes: Any, report: StreamsReport) -> None:
    server = [step.server_core_share for step in report.steps]
    tool = [step.tool_core_share for step in report.steps]
    axes.set_ylabel("processor,\n% of a core")
    _draw_shares(axes, report, {"server": server, "this tool": tool})


def _draw_cost(axes: Any, report: StreamsReport) -> None:
    cost = [step.cost_per_stream for step in report.steps]
    axes.set_ylabel("processor per stream,\n% of a core")
    _draw_shares(axes, report, {"server": cost})


def _draw_shares(
    axes: Any, report: StreamsReport, shares: Mapping[str, Sequence[float | None]]
) -> None:
    at = [step.asked for step in report.steps]
    for name, values in shares.items():
        percents = [float("nan") if share is None else 100.0 * share for share in values]
        axes.plot(at, percents, marker="o", label=name)
    axes.set_ylim(bottom=0.0)
    axes.legend()
    axes.grid(alpha=0.3)
