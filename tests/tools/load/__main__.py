"""``python tests/tools/load``: parse, run, report."""

import argparse
import asyncio
import contextlib
import secrets
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[2])

from ser_live.command_line import Parser, Signals, Stopped, exit_code_of
from ser_live.errors import SerError
from ser_live.model.catalog import DEFAULT_MODEL, find_model
from tools.load import beside, churn, hostile, streams
from tools.load.client import make_voice
from tools.load.server import server_at
from tools.report import Report, check_report_path

_EPILOG = """\
exit codes: 0 all that is promised was kept, 1 something was not, 2 a mistake in the options or no
server, 130 Ctrl-C, 143 SIGTERM.
"""
_TOOLS = {"streams": streams, "beside": beside, "churn": churn, "hostile": hostile}
_EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(words)
    command = f"python tests/tools/load {shlex.join(words)}"

    def run() -> int:
        _check(arguments)
        with Signals():  # until the event loop has its own
            report = _measured(arguments)
        return report.publish(command, arguments.report, arguments.json)

    return exit_code_of("tools.load", run)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what cannot be, before anything is started."""
    names = ("first", "step", "most", "wanted", "cycles", "at_once", "speak", "minutes", "seconds",
             "streams", "uploads", "rounds")  # fmt: skip
    for name in names:
        if not 0 < (value := getattr(arguments, name, 1)) < 1e7:
            raise SerError(f"--{name.replace('_', '-')} is {value:g}, wanted more than 0")
    for name in ("settle", "beyond", "seed"):
        if not 0 <= (value := getattr(arguments, name, 0)) < 1e7:
            raise SerError(f"--{name} is {value:g}, wanted 0 or more")
    if getattr(arguments, "first", 0) > getattr(arguments, "most", 0):
        raise SerError(f"--first is {arguments.first}, wanted at most --most {arguments.most}")
    if not 0.01 <= arguments.hop <= 60.0 or round(1000.0 * arguments.hop) % 10:
        raise SerError(f"--hop is {arguments.hop:g} s, wanted a whole multiple of 0.01")
    if arguments.server is None and arguments.pid:
        raise SerError("--pid belongs to the --server at an address; which one is it?")
    check_report_path(arguments.report)


def _measured(arguments: argparse.Namespace) -> Report:
    hop_ms, is_continuous = round(1000.0 * arguments.hop), getattr(arguments, "continuous", False)
    voice = make_voice(arguments.rate, arguments.block_ms, hop_ms, arguments.model, is_continuous)
    options: tuple[str, ...] = ()
    model = arguments.model or DEFAULT_MODEL  # however few the machine carries of it
    if arguments.tool == "streams":
        options = ("--max-streams", str(arguments.most + 16), "--model", model)
    elif arguments.tool == "beside":
        options = ("--drain-seconds", "60", "--model", model)
    else:
        find_model(arguments.model)  # predictions are compared with those that it gives here
    if arguments.tool == "hostile":
        options = ("--token", secrets.token_hex(16))  # so that wrong ones can be tried
    with server_at(arguments.server, arguments.pid, *options) as server:
        return _run(_TOOLS[arguments.tool].measure(arguments, voice, server))


def _run(work: Coroutine[Any, Any, Report]) -> Report:
    """Run on the quickest event loop there is; a signal ends it."""
    make_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as make_loop  # noqa: PLC0415 - not on every system
    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(_until_a_signal(work))


async def _until_a_signal(work: Coroutine[Any, Any, Report]) -> Report:
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    stopped: list[int] = []

    def stop(exit_code: int) -> None:
        stopped.append(exit_code)
        task.cancel()

    for number, exit_code in _EXIT_CODES.items():
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, stop, exit_code)
    try:
        return await task
    except asyncio.CancelledError:
        if stopped:
            raise Stopped(stopped[0]) from None
        raise


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="tools.load", description="Measure a ser-live server, and stress it.", epilog=_EPILOG
    )
    tools = parser.add_subparsers(dest="tool", required=True, metavar="TOOL")
    ramp = tools.add_parser("streams", help="more and more streams, to the breaking point")
    _number(ramp, "--first", 20, "streams of the first step")
    _number(ramp, "--step", 20, "more in each step")
    _number(ramp, "--most", 300, "streams of the last step")
    _number(ramp, "--seconds", 20.0, "measured in each step")
    _number(ramp, "--settle", 5.0, "seconds before that")
    _number(ramp, "--beyond", 2, "steps after the first that broke a promise")
    _number(ramp, "--wanted", 80, "streams that are promised")
    _number(ramp, "--limit-ms", 100.0, "promised p95, from the last sample of a hop")
    ramp.add_argument("--continuous", action="store_true", help="speech without its pauses")
    guests = tools.add_parser("beside", help="live streams alone, beside uploads, beside a drain")
    _number(guests, "--streams", 10, "live streams")
    _number(guests, "--uploads", 4, "recordings at a time, each posted again at its end")
    _number(guests, "--rounds", 5, "of both")
    _number(guests, "--seconds", 8.0, "measured each time")
    _number(guests, "--settle", 2.0, "seconds before that")
    guests.add_argument("--drain", action="store_true", help="let the server drain at the end")
    visits = tools.add_parser("churn", help="connect, speak and leave, politely or not")
    _number(visits, "--cycles", 10_000, "sessions in all")
    _number(visits, "--at-once", 16, "sessions at any moment")
    _number(visits, "--speak", 2.0, "seconds of audio of a session that stays to the end")
    attacks = tools.add_parser("hostile", help="what no client should do, while a good one listens")
    _number(attacks, "--minutes", 30.0, "how long")
    _number(attacks, "--at-once", 8, "attackers at any moment")
    for tool in (visits, attacks):
        _number(tool, "--seed", 0, "of what clients do")
    for tool in (ramp, guests, visits, attacks):
        tool.epilog = _EPILOG
        _number(tool, "--rate", 16000, "samples per second")
        _number(tool, "--block-ms", 100, "milliseconds of a message")
        _number(tool, "--hop", 0.25, "seconds from one prediction to the next")
        tool.add_argument("--server", metavar="URL", help="as it was printed; default: start one")
        _number(tool, "--pid", None, "process of that server, to look at")
        tool.add_argument("--model", metavar="NAME", help="of the server; default: its default")
        tool.add_argument("--report", type=Path, metavar="FILE.md", help="write FILE.json, too")
        tool.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _number(parser: Parser, flag: str, default: float | None, about: str) -> None:
    kind = float if isinstance(default, float) else int
    told = about if default is None else f"{about}; default {default:g}"
    parser.add_argument(flag, type=kind, default=default, metavar="N", help=told)


if __name__ == "__main__":
    sys.exit(main())
