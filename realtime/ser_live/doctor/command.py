"""``ser-live doctor``: parse, check, show."""

import argparse
import os
import sys
from collections.abc import Sequence

from ser_live.command_line import USER_ERROR, Parser
from ser_live.errors import SerError

_PROBLEM = 1
_INTERRUPTED = 130
_EPILOG = """\
exit codes: 0 no problem, 1 a problem, 2 a mistake in the options, 130 ended by Ctrl-C.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.no_microphone and arguments.device is not None:
            raise SerError("--device and --no-microphone exclude each other; leave one out")
        return _examine(arguments)
    except SerError as error:
        print(f"ser-live: error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read has had enough. The interpreter must not find out again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


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
    from ser_live.doctor.finding import examine  # noqa: PLC0415 - --help needs none of it
    from ser_live.doctor.plan import plan  # noqa: PLC0415
    from ser_live.doctor.report import JsonReport, Report, TextReport  # noqa: PLC0415

    checks = plan(arguments.model, arguments.device, not arguments.no_microphone)
    report: Report = (
        JsonReport(sys.stdout, sys.stderr) if arguments.json else TextReport(sys.stdout)
    )
    findings = []
    for finding in examine(checks, report.waiting):
        findings.append(finding)
        report.add(finding)
    report.finish(findings)
    return _PROBLEM if any(finding.verdict == "problem" for finding in findings) else 0
