"""``ser-live doctor``: what is wrong with this machine, and how to mend it.

Nothing here may need more than the standard library before it has been checked: a doctor must
start where numpy is broken.
"""

import argparse
import sys
from collections.abc import Sequence

from ser_live.command_line import Parser, exit_code_of
from ser_live.errors import SerError

_PROBLEM = 1
_EPILOG = """\
exit codes: 0 no problem, 1 a problem, 2 a mistake in the options, 130 ended by Ctrl-C.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return exit_code_of("ser-live", lambda: _examine(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ser-live doctor",
        description="Find out what is wrong with this machine, and how to mend it.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--device", metavar="NAME|INDEX", help="the microphone to listen to; default: the default"
    )
    parser.add_argument(
        "--no-microphone", action="store_true", help="leave out everything about microphones"
    )
    parser.add_argument(
        "--model", metavar="NAME|PATH", help="also check this model, and recognize with it"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON document for a bug report, without your name and folders",
    )
    return parser


def _examine(arguments: argparse.Namespace) -> int:
    from ser_live.doctor.finding import examine, plan  # noqa: PLC0415 - --help needs none of it
    from ser_live.doctor.report import Report  # noqa: PLC0415

    if arguments.no_microphone and arguments.device is not None:
        raise SerError("--device and --no-microphone exclude each other; leave one out")
    report, findings = Report(sys.stdout, sys.stderr, arguments.json), []
    checks = plan(arguments.model, arguments.device, not arguments.no_microphone)
    for finding in examine(checks, report.waiting):
        findings.append(finding)
        report.add(finding)
    report.finish(findings)
    return _PROBLEM if any(finding.verdict == "problem" for finding in findings) else 0
