"""Latency, the account of frames, and what was lost: one row each."""

from rich.text import Text

from ser_live.cli.view.palette import AMBER, GREY, RED
from ser_live.cli.view.text import first_that_fits
from ser_live.latency import StageLatency
from ser_live.live.listener import LiveStats
from ser_live.sources import SourceCounters

_STAGES = (("total", "compute"), ("lag", "lag"), ("callback", "callback"))


def latency_row(stats: LiveStats, width: int) -> Text:
    """Say what a prediction costs, how old it is, and the delay that no machine removes."""
    stages = {stage.name: stage for stage in stats.stages if stage.count}
    delay = {"delay": f"{stats.recognizer.delay.total_seconds:.1f} s"}
    variants = ((True, _STAGES), (True, _STAGES[:2]), (False, _STAGES[:2]))
    rows = (
        _named({**{n: _figure(stages[s], spread) for s, n in names if s in stages}, **delay})
        for spread, names in variants
    )
    return first_that_fits(rows, width)


def frames_row(stats: LiveStats, width: int) -> Text:
    """Balance the account: captured = processed + dropped + buffered."""
    variants = ((" ", True), (" ", False), ("", False))
    return first_that_fits((_account(stats.source, *variant) for variant in variants), width)


def losses_row(stats: LiveStats, away_seconds: float) -> Text:
    """Say what was lost so far, also while the device is away, or that nothing was."""
    source, missing_seconds = stats.source, stats.missing_seconds + away_seconds
    clauses = (
        (source.restarts, _counted(source.restarts, "restart"), RED),
        (missing_seconds, f"{missing_seconds:.1f} s missing", RED),
        (source.overruns, _counted(source.overruns, "overrun"), AMBER),
        (stats.skipped_predictions, f"{stats.skipped_predictions} left out", AMBER),
        (stats.degraded, f"{stats.degraded} degraded", AMBER),
        (stats.replaced_samples, f"{stats.replaced_samples} replaced", AMBER),
    )
    told = [Text(words, style) for amount, words, style in clauses if amount]
    return Text(", ", GREY).join(told) if told else Text("nothing", GREY)


def _account(source: SourceCounters, separator: str, has_names: bool) -> Text:
    captured, processed, dropped, buffered = (
        f"{frames:,}".replace(",", separator)
        for frames in (source.captured, source.processed, source.dropped, source.buffered)
    )
    if has_names:
        captured, processed = f"{captured} captured", f"{processed} processed"
    row = Text(f"{captured} = {processed} + ", GREY)
    row.append(f"{dropped} dropped", RED if source.dropped else GREY)
    return row.append(f" + {buffered} buffered", GREY)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _named(figures: dict[str, str]) -> Text:
    row = Text()
    for name, words in figures.items():
        row.append(f"{'   ' if row else ''}{name} ", GREY).append(words)
    return row


def _figure(stage: StageLatency, has_spread: bool) -> str:
    p95 = f" (p95 {_milliseconds(stage.p95_seconds)})" if has_spread else ""
    return f"{_milliseconds(stage.p50_seconds)} ms{p95}"


def _milliseconds(seconds: float) -> str:
    milliseconds = 1000.0 * seconds
    digits = 0 if milliseconds >= 10 else 1 if milliseconds >= 1 else 2
    return f"{milliseconds:.{digits}f}"
