"""``python tests/tools/load``: parse, run, report."""

import argparse
import asyncio
import contextlib
import secrets
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ser_live.command_line import USER_ERROR, Stopped
from ser_live.errors import SerError
from tools.load.options import make_parser

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ser_live.model.classifier import OnnxClassifier
    from tools.load.report import Page
    from tools.load.target import Target
    from tools.load.voice import Voice

_MISSED = 1
_SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}

Result = TypeVar("Result")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    arguments = make_parser().parse_args(words)
    try:
        _check(arguments)
        return _TOOLS[arguments.tool](arguments, f"python tests/tools/load {shlex.join(words)}")
    except SerError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "websockets":
            raise
        return _fail(f"{error}; this needs: pip install 'ser-live[serve]'")
    except Stopped as stopped:
        return stopped.exit_code


def _fail(message: str) -> int:
    print(f"tools.load: error: {message}", file=sys.stderr)
    return USER_ERROR


def _streams(arguments: argparse.Namespace, command: str) -> int:
    from tools.load.crowd import StreamsPlan  # noqa: PLC0415 - slow to load
    from tools.load.streams import measure_streams  # noqa: PLC0415
    from tools.load.streams_page import streams_page, write_curve  # noqa: PLC0415

    plan = StreamsPlan(
        first=arguments.first or arguments.step,
        step=arguments.step,
        most=arguments.most,
        seconds=arguments.seconds,
        settle_seconds=arguments.settle,
        beyond=arguments.beyond,
        wanted=arguments.wanted,
        limit_seconds=arguments.limit_ms / 1000.0,
        hop_ms=round(1000.0 * arguments.hop),
        are_together=arguments.together,
        model=arguments.model,
    )
    voice = _voice(arguments)
    with _target(arguments, "--max-streams", str(arguments.most + 16)) as target:
        report = _run(measure_streams(plan, voice, target, _say))
    picture = None
    if arguments.report is not None:
        picture = arguments.report.with_suffix(".png")
        picture = picture if write_curve(report, picture) else None
    return _tell(arguments, streams_page(report, picture and picture.name), report, command)


def _churn(arguments: argparse.Namespace, command: str) -> int:
    from tools.load.churn import Churn, ChurnPlan  # noqa: PLC0415
    from tools.load.churn_page import churn_page  # noqa: PLC0415

    plan = ChurnPlan(
        cycles=arguments.cycles,
        at_once=arguments.at_once,
        speak_blocks=round(1000.0 * arguments.speak / arguments.block_ms),
        hop_ms=round(1000.0 * arguments.hop),
        seed=arguments.seed,
        model=arguments.model,
    )
    voice, model = _voice(arguments), _model(arguments)
    with _target(arguments) as target:
        report = _run(Churn(plan, voice, target, model).run(_say))
    return _tell(arguments, churn_page(report), report, command)


def _hostile(arguments: argparse.Namespace, command: str) -> int:
    from tools.load.hostile import HostilePlan, torment  # noqa: PLC0415
    from tools.load.hostile_page import hostile_page  # noqa: PLC0415

    plan = HostilePlan(
        minutes=arguments.minutes,
        at_once=arguments.at_once,
        hop_ms=round(1000.0 * arguments.hop),
        seed=arguments.seed,
        model=arguments.model,
    )
    voice, model = _voice(arguments), _model(arguments)
    # A token of its own, so that wrong ones can be tried.
    with _target(arguments, "--token", secrets.token_hex(16)) as target:
        report = _run(torment(plan, voice, target, model, _say))
    return _tell(arguments, hostile_page(report), report, command)


_TOOLS: dict[str, Callable[[argparse.Namespace, str], int]] = {
    "streams": _streams,
    "churn": _churn,
    "hostile": _hostile,
}


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what cannot be, before anything is started."""
    from tools.report_page import check_writable  # noqa: PLC0415 - not for --help

    names = ("first", "step", "most", "wanted", "cycles", "at_once", "speak", "minutes", "seconds")
    for name in names:
        value = getattr(arguments, name, None)
        if value is not None and not 0 < value < 1e7:
            raise SerError(f"--{name.replace('_', '-')} is {value:g}, wanted more than 0")
    for name in ("settle", "beyond", "seed"):
        value = getattr(arguments, name, None) or 0
        if not 0 <= value < 1e7:
            raise SerError(f"--{name} is {value:g}, wanted 0 or more")
    if not 0.01 <= arguments.hop <= 60.0 or round(1000.0 * arguments.hop) % 10:
        raise SerError(f"--hop is {arguments.hop:g} s, wanted a whole multiple of 0.01")
    if arguments.server is None and (arguments.pid or arguments.token):
        raise SerError("--pid and --token belong to the --server at an address; which one is it?")
    check_writable(arguments.report, "load.md")


def _voice(arguments: argparse.Namespace) -> "Voice":
    from tools.load.voice import make_voice  # noqa: PLC0415

    is_continuous = getattr(arguments, "continuous", False)
    return make_voice(arguments.rate, arguments.format, arguments.block_ms, is_continuous)


def _model(arguments: argparse.Namespace) -> "OnnxClassifier":
    from ser_live.model.catalog import find_model  # noqa: PLC0415
    from ser_live.model.classifier import OnnxClassifier  # noqa: PLC0415

    return OnnxClassifier.load(find_model(arguments.model))


def _target(arguments: argparse.Namespace, *options: str) -> "AbstractContextManager[Target]":
    from tools.load.target import target_of  # noqa: PLC0415

    return target_of(arguments.server, arguments.pid, arguments.token, options)


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run on the quickest event loop there is; a signal ends it."""
    make_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as make_loop  # noqa: PLC0415 - not on every system
    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(_until_a_signal(work))


async def _until_a_signal(work: Coroutine[Any, Any, Result]) -> Result:
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    stopped: list[int] = []

    def stop(exit_code: int) -> None:
        stopped.append(exit_code)
        task.cancel()

    for number, exit_code in _SIGNALS.items():
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, stop, exit_code)
    try:
        return await task
    except asyncio.CancelledError:
        if stopped:
            raise Stopped(stopped[0]) from None
        raise


def _say(share: float, words: str) -> None:
    print(f"{100.0 * share:4.0f} %  {words}", file=sys.stderr, flush=True)


def _tell(arguments: argparse.Namespace, page: "Page", report: Any, command: str) -> int:
    from tools.load.report import as_json, as_markdown  # noqa: PLC0415
    from tools.report_page import missed, write_report  # noqa: PLC0415

    text, record = as_markdown(page, report.conditions, command), as_json(page, report)
    print(record if arguments.json else text, end="", flush=True)
    if arguments.report is not None:
        write_report(arguments.report, text, record)
    return _MISSED if missed(page.figures) else 0
