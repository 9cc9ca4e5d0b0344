"""``python tests/tools/soak``: parse, run, report."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[2])

from rich.console import Console
from rich.progress import Progress

from ser_live.command_line import Parser, Signals, Stopped, exit_code_of
from ser_live.errors import SerError
from ser_live.model.catalog import find_model
from ser_live.model.classifier import OnnxClassifier
from tools.report import check_report_path
from tools.soak.real import RealSoak, Soak
from tools.soak.virtual import VirtualSoak

_MOST_HOURS = 24.0 * 366.0
_EPILOG = """\
exit codes: 0 all that is wanted was met, 1 something was not, 2 a mistake in the options or no
microphone, 130 Ctrl-C, 143 SIGTERM (with the report so far).
"""


def main(argv: Sequence[str] | None = None, tool: str = "soak") -> int:
    """Run the command and return its exit code; ``tool`` is its name in the report."""
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(words)
    command = f"python tests/tools/{tool} {shlex.join(words)}"

    def run() -> int:
        soak, stopped_code = _make(arguments), 0
        try:
            is_quiet = not sys.stderr.isatty()
            with Signals(), Progress(console=Console(stderr=True), disable=is_quiet) as progress:
                task = progress.add_task("soak", total=soak.seconds)
                for seconds in soak.steps():
                    progress.update(task, completed=seconds)
        except Stopped as stopped:
            stopped_code = stopped.exit_code
        if not soak.has_begun:
            return stopped_code
        exit_code = soak.report().publish(command, arguments.report, arguments.json)
        return stopped_code or exit_code

    return exit_code_of("tools.soak", run)


def _make(arguments: argparse.Namespace) -> Soak:
    check_report_path(arguments.report)
    hours = arguments.hours + arguments.minutes / 60.0
    if not 0.0 < hours <= _MOST_HOURS:
        wanted = f"more than 0, at most {_MOST_HOURS:g}"
        raise SerError(f"--hours and --minutes are {hours:g} h in all, wanted {wanted}")
    if arguments.virtual and arguments.device is not None:
        raise SerError("--virtual needs no --device; leave one of them out")
    if not 0.0 <= arguments.faults_per_hour <= 3600.0:
        raise SerError(f"--faults-per-hour is {arguments.faults_per_hour:g}, wanted 0 to 3600")
    if arguments.seed < 0:
        raise SerError(f"--seed is {arguments.seed}, wanted 0 or more")
    arguments.seconds = 3600.0 * hours
    model = OnnxClassifier.load(find_model(arguments.model))
    return VirtualSoak(arguments, model) if arguments.virtual else RealSoak(arguments, model)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="tools.soak",
        usage="python tests/tools/soak (--hours H | --minutes N) [--virtual | --device NAME] ...",
        description="Listen for hours and find out what that does to memory, time and account.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--hours", type=float, default=0.0, metavar="H", help="how long")
    add("--minutes", type=float, default=0.0, metavar="N", help="how long")
    add("--virtual", action="store_true", help="a scripted microphone with random faults in "
        "virtual time, instead of a real one")  # fmt: skip
    add("--device", metavar="NAME|INDEX", help="microphone; default: the default")
    add("--model", metavar="NAME|PATH", help="default: the shipped default")
    add("--seed", type=int, default=0, metavar="N", help="of the random faults")
    add("--faults-per-hour", type=float, default=60.0, metavar="N", help="on average; default 60")
    add("--report", type=Path, metavar="FILE.md", help="write it there too, and FILE.json")
    add("--json", action="store_true", help="print the report as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
