"""``python tests/tools/soak``: parse, run, report."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ser_live.command_line import USER_ERROR, Parser, Signals, Stopped
from ser_live.errors import SerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.soak.real import RealSoak
    from tools.soak.virtual import VirtualSoak

_MISSED = 1
_MOST_HOURS = 24.0 * 366.0
_EPILOG = """\
exit codes: 0 all that is wanted was met, 1 something was not, 2 a mistake in the options or no
microphone, 130 Ctrl-C, 143 SIGTERM (with the report so far).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(words)
    try:
        return _soak(arguments, f"python tests/tools/soak {shlex.join(words)}")
    except SerError as error:
        print(f"tools.soak: error: {error}", file=sys.stderr)
        return USER_ERROR


def _soak(arguments: argparse.Namespace, command: str) -> int:
    from tools.report_page import (  # noqa: PLC0415 - not for --help
        check_writable,
        missed,
        write_report,
    )
    from tools.soak.report import as_json, as_markdown, figures  # noqa: PLC0415

    check_writable(arguments.report, "soak.md")
    soak = _made(arguments)
    exit_code = 0
    try:
        with Signals(), _progress(soak.seconds) as advance:
            for seconds in soak.steps():
                advance(seconds)
    except Stopped as stopped:
        exit_code = stopped.exit_code
    if not soak.has_begun:
        return exit_code
    report = soak.report()
    page, record = as_markdown(report, command), as_json(report)
    print(record if arguments.json else page, end="", flush=True)
    if arguments.report is not None:
        write_report(arguments.report, page, record)
    return exit_code or (_MISSED if missed(figures(report)) else 0)


def _made(arguments: argparse.Namespace) -> "VirtualSoak | RealSoak":
    from ser_live.model.catalog import find_model  # noqa: PLC0415
    from ser_live.model.classifier import OnnxClassifier  # noqa: PLC0415

    hours = arguments.hours + arguments.minutes / 60.0
    if not 0.0 < hours <= _MOST_HOURS:
        raise SerError(
            f"--hours and --minutes are {hours:g} h in all, wanted more than 0, at most "
            f"{_MOST_HOURS:g}"
        )
    if arguments.virtual and arguments.device is not None:
        raise SerError("--virtual needs no --device; leave one of them out")
    model = OnnxClassifier.load(find_model(arguments.model))
    if not arguments.virtual:
        from tools.soak.real import RealPlan, RealSoak  # noqa: PLC0415

        return RealSoak(RealPlan(hours, arguments.device), model)
    from tools.soak.virtual import VirtualPlan, VirtualSoak  # noqa: PLC0415

    if not 0.0 <= arguments.faults_per_hour <= 3600.0:
        raise SerError(f"--faults-per-hour is {arguments.faults_per_hour:g}, wanted 0 to 3600")
    if arguments.seed < 0:
        raise SerError(f"--seed is {arguments.seed}, wanted 0 or more")
    return VirtualSoak(VirtualPlan(hours, arguments.faults_per_hour, arguments.seed), model)


@contextmanager
def _progress(seconds: float) -> "Iterator[Callable[[float], None]]":
    """Show a bar on a terminal; give what moves it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal pays for it
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    hours = TextColumn("{task.fields[hours]:.2f} h")
    columns = (TextColumn("soak"), BarColumn(), hours, TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, refresh_per_second=2) as progress:
        task = progress.add_task("soak", total=seconds, hours=0.0)
        yield lambda done: progress.update(task, completed=done, hours=done / 3600.0)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="tools.soak",
        usage="python tests/tools/soak (--hours H | --minutes N) [--virtual | --device NAME] ...",
        description="Listen for hours and find out what that does to memory, time and account.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--hours", type=float, default=0.0, metavar="H", help="how long")
    parser.add_argument("--minutes", type=float, default=0.0, metavar="N", help="how long")
    parser.add_argument(
        "--virtual",
        action="store_true",
        help="a scripted microphone with random faults in virtual time, instead of a real one",
    )
    parser.add_argument("--device", metavar="NAME|INDEX", help="microphone; default: the default")
    parser.add_argument("--model", metavar="NAME|PATH", help="default: the shipped default")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random faults")
    parser.add_argument(
        "--faults-per-hour", type=float, default=60.0, metavar="N", help="on average; default 60"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE.md", help="write it there too, and FILE.json"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser
