"""``ser-bench``: parse, measure, show."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from ser_live import __version__
from ser_live.command_line import Parser, exit_code_of

if TYPE_CHECKING:
    from ser_live.bench.measurement import BaselineCost, HopCost, LiveCost, Report
    from ser_live.latency import StageLatency


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of ``ser-bench``; return its exit code."""
    options = _parser().parse_args(argv)
    return exit_code_of("ser-bench", lambda: _measure(options))


def _measure(options: argparse.Namespace) -> int:
    from ser_live.bench.measurement import Plan, measure  # noqa: PLC0415 - --help needs none of it

    plan = Plan(
        model=options.model,
        hop_seconds=options.hop,
        seconds=options.seconds,
        paced_seconds=options.paced_seconds,
        compare=options.compare,
    )
    report = measure(plan)
    print(json.dumps(asdict(report)) if options.json else _as_text(report), flush=True)
    return 0


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
    conditions = [f"  {name:<15} {value}" for name, value in asdict(report.conditions).items()]
    parts = ["conditions\n" + "\n".join(conditions)]
    parts += [_hops_as_text(cost) for cost in report.hops]
    if report.live is not None:
        parts.append(_live_as_text(report.live))
    parts += [_baseline_as_text(cost) for cost in report.rivals]
    return "\n\n".join(parts)


def _hops_as_text(cost: "HopCost") -> str:
    head = f"{cost.name}: {cost.hops} hops, {cost.core_share:.2%} of one core\n"
    titles = f"  {'milliseconds':<12}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}\n"
    return head + titles + "\n".join(_stage_as_text(s) for s in cost.stages if s.count)


def _stage_as_text(stage: "StageLatency") -> str:
    values = (stage.p50_seconds, stage.p95_seconds, stage.p99_seconds, stage.max_seconds)
    return f"  {stage.name:<12}" + "".join(f"{value * 1e3:9.3f}" for value in values)


def _live_as_text(cost: "LiveCost") -> str:
    return (
        f"ser-live --json as a process, {cost.seconds:g} s of speech in real time\n"
        f"  processor time, start and end included: {cost.core_share:.2%} of one core\n"
        f"  resident memory, peak:                  {cost.resident_bytes / 2**20:.0f} MiB\n"
        f"  import of ser_live.StreamRecognizer:    {cost.import_seconds:.2f} s\n"
        f"  start to first emotion, file, fast:     {cost.first_prediction_seconds:.2f} s"
    )


def _baseline_as_text(cost: "BaselineCost") -> str:
    return (
        f"{cost.name}: {cost.runs} runs in turn with ours\n"
        f"  p50 {cost.p50_seconds * 1e3:.2f} ms, p95 {cost.p95_seconds * 1e3:.2f} ms; "
        f"our hop p50 {cost.our_p50_seconds * 1e3:.2f} ms: {cost.ratio:.1f} times"
    )


if __name__ == "__main__":
    sys.exit(main())
