"""``ser-bench``: parse, measure, show."""

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple
from typing import TYPE_CHECKING

from ser_live import __version__
from ser_live.command_line import Parser, exit_code_of

if TYPE_CHECKING:
    from ser_live.bench.measurement import Report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of ``ser-bench``; return its exit code."""
    return exit_code_of("ser-bench", lambda: _measure(_parser().parse_args(argv)))


def _measure(options: argparse.Namespace) -> int:
    from ser_live.bench.measurement import Bench  # noqa: PLC0415 - --help needs none of it

    steps = 2 + 2 * (options.paced_seconds > 0) + 2 * options.compare
    with _progress(steps) as begin:
        bench = Bench(options.model, options.hop, begin)
        report = bench.measure(options.seconds, options.paced_seconds, compare=options.compare)
    print(json.dumps(asdict(report)) if options.json else _as_text(report), flush=True)
    return 0


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[str], None]]:
    """Show a bar on a terminal; it moves between measurements alone and costs them nothing.

    Yields
    ------
    callable
        Takes the name of the measurement that begins.
    """
    from rich.console import Console  # noqa: PLC0415 - --help needs no rich
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    console, done = Console(stderr=True), itertools.count()
    columns = (MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}", markup=False))
    is_shown = console.is_terminal
    with Progress(
        *columns, console=console, auto_refresh=False, transient=True, disable=not is_shown
    ) as bar:
        task = bar.add_task("", total=steps)
        yield lambda name: bar.update(task, completed=next(done), description=name, refresh=True)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ser-bench",
        description="Measure the cost of recognition on this machine: per stage, free-running and "
        "paced in real time, for the process as a whole, and against baselines.",
    )
    parser.add_argument("--model", help="name of a shipped model or path; default: the default")
    parser.add_argument("--hop", type=float, default=0.25, metavar="S", help="default: 0.25")
    parser.add_argument(
        "--seconds", type=float, default=60.0, metavar="S",
        help="audio per free-running figure (default: 60)",
    )  # fmt: skip
    parser.add_argument(
        "--paced-seconds", type=float, default=20.0, metavar="S",
        help="real time for each paced figure, 0 to leave them out (default: 20)",
    )  # fmt: skip
    parser.add_argument(
        "--compare", action="store_true",
        help="also time two baselines in the same run (needs ser-live[train])",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _as_text(report: "Report") -> str:
    lines = ["conditions"]
    lines += [f"  {name:<15} {value}" for name, value in report.conditions.items()]
    for hop in report.hops:
        lines += ["", f"{hop.name}: {hop.hops} hops, {hop.core_share:.2%} of one core"]
        lines += [f"  {'milliseconds':<12}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}"]
        for name, count, *quantiles in map(astuple, hop.stages):
            figures = "".join(f"{seconds * 1e3:9.3f}" for seconds in quantiles)
            lines += [f"  {name:<12}{figures}"] if count else []
    if (live := report.live) is not None:
        lines += [
            f"\nser-live --json as a process, {live.seconds:g} s of speech in real time",
            f"  processor time, start and end included: {live.core_share:.2%} of one core",
            f"  resident memory, peak:                  {live.resident_bytes / 2**20:.0f} MiB",
            f"  import of ser_live.StreamRecognizer:    {live.import_seconds:.2f} s",
            f"  start to first emotion, file, fast:     {live.first_prediction_seconds:.2f} s",
        ]
    for rival in report.rivals:
        lines += [
            f"\n{rival.name}: {rival.runs} runs in turn with ours",
            f"  p50 {rival.p50_seconds * 1e3:.2f} ms, p95 {rival.p95_seconds * 1e3:.2f} ms; "
            f"our hop p50 {rival.our_p50_seconds * 1e3:.2f} ms: {rival.ratio:.1f} times",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
