"""A soak's report, for people and for programs."""

import dataclasses
import json

from tools.report_page import (
    UNKNOWN,
    Figure,
    at_most,
    figure_table,
    mebibytes,
    none,
    quantiles,
    table,
)
from tools.soak.real import RealReport
from tools.soak.resources import Course
from tools.soak.virtual import VirtualReport

_MIB = 2.0**20
_MOST_GROWTH_BYTES = 2.0 * _MIB
_MOST_GAP_ERROR_SECONDS = 0.02
_MOST_SLOPE_MS_PER_HOUR = 1.0


def figures(report: VirtualReport | RealReport) -> list[Figure]:
    """Give what a report says, with what was wanted."""
    if isinstance(report, VirtualReport):
        return _virtual_figures(report)
    return _real_figures(report)


def as_json(report: VirtualReport | RealReport) -> str:
    """Give everything for programs."""
    record = dataclasses.asdict(report)
    record["growth_bytes"] = report.course.growth_bytes
    record["targets"] = [dataclasses.asdict(figure) for figure in figures(report) if figure.wanted]
    return json.dumps(record, indent=1) + "\n"


def as_markdown(report: VirtualReport | RealReport, command: str) -> str:
    """Give everything as a page."""
    kind = "virtual time" if isinstance(report, VirtualReport) else "real time"
    conditions = [
        (name.replace("_", " "), str(value))
        for name, value in dataclasses.asdict(report.conditions).items()
    ]
    lines = [f"# Soak in {kind}", "", f"`{command}`", ""]
    lines += figure_table(figures(report))
    if isinstance(report, VirtualReport):
        lines += ["", "## Faults that took effect", ""]
        lines += table(("kind", "times"), [(k, str(n)) for k, n in report.faults])
    lines += ["", "## Events that were told", ""]
    lines += table(("kind", "times"), [(k, str(n)) for k, n in report.events])
    if report.course.by_hour:
        lines += ["", "## Hour by hour", "", *_by_hour(report)]
    lines += ["", "## Conditions", "", *table(("what", "which"), conditions)]
    return "\n".join(lines) + "\n"


def _by_hour(report: VirtualReport | RealReport) -> list[str]:
    rows = [(f"{hours:.0f}", mebibytes(size)) for hours, size in report.course.by_hour]
    if not isinstance(report, VirtualReport):
        return table(("hours", "resident"), rows)
    medians = [f"{1000.0 * seconds:.1f} ms" for seconds in report.lag_p50_seconds_by_hour]
    both = [(*row, lag) for row, lag in zip(rows, medians, strict=False)]
    return table(("hours", "resident", "lag at the usual rate, p50"), both)


def _virtual_figures(report: VirtualReport) -> list[Figure]:
    faults = sum(count for _, count in report.faults)
    speed = report.stream_hours * 3600.0 / report.wall_seconds
    slope = report.lag_slope_ms_per_hour
    return [
        Figure("stream", f"{report.stream_hours:.2f} h of {report.plan.hours:g}"),
        Figure("wall time", f"{report.wall_seconds:.0f} s ({speed:.0f} times real time)"),
        Figure("predictions", f"{report.predictions} ({report.degraded_predictions} degraded)"),
        Figure("left out as too old", str(report.skipped_predictions)),
        Figure("faults", f"{faults} of {len(report.faults)} kinds (seed {report.plan.seed})"),
        Figure("frames captured", str(report.captured_frames)),
        Figure("frames dropped, with a count", str(report.dropped_frames)),
        none("frames unaccounted, at any moment", report.unaccounted_frames),
        none("frames that the device gave and nobody counted", report.uncounted_frames),
        _recoveries(report),
        Figure("gaps", str(report.gaps)),
        at_most("length of a gap, worst error", report.gap_error_seconds * 1000.0, "ms",
                 _MOST_GAP_ERROR_SECONDS * 1000.0),
        at_most("timeline at the end, error", report.timeline_error_seconds * 1000.0, "ms",
                 _MOST_GAP_ERROR_SECONDS * 1000.0),
        Figure("lag, virtual, waits for a lost device included", quantiles(report.lag)),
        Figure("lag at the usual rate, slope", UNKNOWN) if slope is None else
        at_most("lag at the usual rate, slope", slope, "ms per hour", _MOST_SLOPE_MS_PER_HOUR),
        *_memory(report.course),
        _threads(report.course, report.threads_after),
    ]  # fmt: skip


def _real_figures(report: RealReport) -> list[Figure]:
    drift, capture = report.drift, report.capture_core_share
    rate = f"{report.sample_rate_hz} Hz x {report.channels}"
    return [
        Figure("device", f"{report.device}, {rate}"),
        Figure("wall time", f"{report.wall_seconds:.0f} s of {report.plan.hours * 3600.0:.0f}"),
        Figure("predictions", f"{report.predictions} ({report.degraded_predictions} degraded)"),
        Figure("left out as too old", str(report.skipped_predictions)),
        Figure("frames captured", str(report.captured_frames)),
        Figure("frames dropped, with a count", str(report.dropped_frames)),
        none("frames unaccounted, at any moment", report.unaccounted_frames),
        Figure("overruns that the device reported", str(report.overruns)),
        Figure("restarts", str(report.restarts)),
        Figure("missing on the timeline", f"{report.missing_seconds:.3f} s"),
        Figure("timeline against the host's clock", UNKNOWN if drift is None else (
            f"{drift.ahead_ms:+.1f} ms after {drift.seconds:.0f} s, "
            f"{drift.parts_per_million or 0.0:+.1f} ppm"
        )),
        Figure("processor, this process", f"{100.0 * report.engine_core_share:.2f} % of a core"),
        Figure("processor, capture process", UNKNOWN if capture is None else
               f"{100.0 * capture:.2f} % of a core"),
        *(Figure(stage.name, quantiles(stage)) for stage in report.stages),
        *_memory(report.course),
        _threads(report.course, report.threads_after),
    ]  # fmt: skip


def _recoveries(report: VirtualReport) -> Figure:
    # The end may come while the device is away.
    are_all = report.device_losses - report.recoveries in (0, 1)
    return Figure(
        "recoveries", f"{report.recoveries} of {report.device_losses} losses", "all", are_all
    )


def _memory(course: Course) -> list[Figure]:
    first, growth = course.after_first_minute, course.growth_bytes
    wanted = f"at most {_MOST_GROWTH_BYTES / _MIB:g} MiB"
    is_met = None if growth is None else growth <= _MOST_GROWTH_BYTES
    return [
        Figure(
            "resident memory after the first minute",
            "not reached" if first is None else mebibytes(first.resident_bytes),
        ),
        Figure("resident memory at the end", mebibytes(course.at_end.resident_bytes)),
        Figure("growth", mebibytes(growth), wanted, is_met),
    ]


def _threads(course: Course, after: int) -> Figure:
    before = course.before.threads
    return Figure("threads before, after", f"{before}, {after}", "the same", before == after)
