"""``ser-live``: watch the emotion in a voice."""

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from ser_live import __version__
from ser_live.command_line import USER_ERROR, Parser
from ser_live.errors import SerError

if TYPE_CHECKING:
    from ser_live.live import Listener
    from ser_live.sources import Source
    from ser_live.summary import Summary

PROGRAM = "ser-live"
_DONE = 0

_DESCRIPTION = """\
Recognize emotion in live speech. On a terminal: a live view. Otherwise, or with --json: one JSON
line per prediction on stdout, text for people on stderr. A summary follows at the end.
"""
_EPILOG = """\
exit codes: 0 done (also when the reader of stdout has closed it), 2 a mistake that one line on
stderr explains, 130 ended by Ctrl-C, 143 ended by SIGTERM.

examples:
  ser-live                                        the default microphone
  ser-live --demo                                 no microphone needed
  ser-live --file talk.ogg --json > talk.jsonl    a recording, as fast as possible
  arecord -q -t raw -f S16_LE -r 16000 | ser-live --stdin
"""


class _Stopped(BaseException):
    """A signal asked the program to end."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        with _signals():
            arguments = _parser().parse_args(argv)
            _check(arguments)
            if arguments.list_devices:
                return _list_devices()
            if arguments.list_models:
                return _list_models()
            return _listen(arguments)
    except SerError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return USER_ERROR
    except BrokenPipeError:
        # Whoever read has had enough. The interpreter must not find out again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _DONE
    except _Stopped as stopped:
        return stopped.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    where = parser.add_argument_group("source (default: the default microphone)")
    one = where.add_mutually_exclusive_group()
    one.add_argument(
        "--device", metavar="NAME|INDEX", help="a microphone; part of its name will do"
    )
    one.add_argument("--file", metavar="PATH", help="an audio file of any rate and channel count")
    one.add_argument("--stdin", action="store_true", help="raw PCM from a pipe")
    one.add_argument("--demo", action="store_true", help="a synthetic voice, to see it work")
    where.add_argument(
        "--pace",
        choices=("realtime", "fast"),
        help="of --file and --demo; default: realtime in the live view, else fast",
    )
    where.add_argument("--rate", type=int, metavar="HZ", help="of --stdin; default: 16000")
    where.add_argument("--format", choices=("s16le", "f32le"), help="of --stdin; default: s16le")
    where.add_argument("--channels", type=int, metavar="N", help="of --stdin; default: 1")
    how = parser.add_argument_group("recognition")
    how.add_argument(
        "--model", metavar="NAME|PATH", help="a name of --list-models or an .onnx file"
    )
    how.add_argument(
        "--hop",
        type=float,
        default=0.25,
        metavar="S",
        help="seconds from one prediction to the next; default: 0.25",
    )
    how.add_argument(
        "--smoothing", type=float, metavar="S", help="seconds; 0: none; default: from the model"
    )
    how.add_argument("--no-vad", action="store_true", help="take everything for speech")
    show = parser.add_argument_group("output")
    show.add_argument("--json", action="store_true", help="JSON lines, also on a terminal")
    show.add_argument("--list-devices", action="store_true", help="list microphones and exit")
    show.add_argument("--list-models", action="store_true", help="list shipped models and exit")
    show.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options that the chosen source would ignore."""
    if arguments.pace and not (arguments.file or arguments.demo):
        raise SerError("--pace belongs to --file or --demo")
    for name in ("rate", "format", "channels"):
        if getattr(arguments, name) is not None and not arguments.stdin:
            raise SerError(f"--{name} belongs to --stdin")


def _listen(arguments: argparse.Namespace) -> int:
    from ser_live.live import listen  # noqa: PLC0415 - --help needs no engine
    from ser_live.summary import Summary  # noqa: PLC0415

    has_view = sys.stdout.isatty() and not arguments.json and os.environ.get("TERM") != "dumb"
    summary = Summary()
    listener = listen(
        _source(arguments, has_view),
        model=arguments.model,
        hop_seconds=arguments.hop,
        smoothing_seconds=arguments.smoothing,
        vad=not arguments.no_vad,
    )
    exit_code = _DONE
    with listener:
        try:
            if has_view:
                _view(listener, summary, _notice(arguments))
            else:
                _write_lines(listener, summary, _notice(arguments))
        except _Stopped as stopped:
            exit_code = stopped.exit_code
    notes = [f"{PROGRAM}: note: {note}" for note in listener.source.notes]
    print("\n".join([*notes, *summary.lines(listener.stats)]), file=sys.stderr)
    return exit_code


def _write_lines(listener: "Listener[Any]", summary: "Summary", notice: str) -> None:
    is_announced = False
    for step in listener.steps():
        if not is_announced:
            print("\n".join(_announcement(listener, notice)), file=sys.stderr)
            is_announced = True
        for prediction in step.predictions:
            summary.add(prediction)
            print(json.dumps(prediction.to_dict()), flush=True)


def _announcement(listener: "Listener[Any]", notice: str) -> list[str]:
    source, recognizer = listener.source, listener.recognizer
    channels = {1: "mono", 2: "stereo"}.get(source.channels, f"{source.channels} channels")
    lines = [
        f"{PROGRAM}: {source.name}, {source.sample_rate_hz} Hz {channels}; "
        f"model {recognizer.card.name}; hop {recognizer.hop_seconds:g} s"
    ]
    return [*lines, f"{PROGRAM}: {notice}"] if notice else lines


def _view(listener: "Listener[Any]", summary: "Summary", notice: str) -> None:
    from ser_live.console import LiveView  # noqa: PLC0415 - only a terminal needs rich

    with LiveView(listener, notice) as view:
        for step in listener.steps():
            for prediction in step.predictions:
                summary.add(prediction)
            view.update(step)


def _notice(arguments: argparse.Namespace) -> str:
    from ser_live.sources import DEMO_NOTICE  # noqa: PLC0415

    return DEMO_NOTICE if arguments.demo else ""


def _source(arguments: argparse.Namespace, has_view: bool) -> "Source":
    from ser_live.sources import DEMO_PATH, FileSource, Microphone, RawSource  # noqa: PLC0415

    if arguments.stdin:
        if sys.stdin is None:
            raise SerError("stdin: is closed, wanted raw PCM from a pipe or a file")
        return RawSource(
            sys.stdin.buffer,
            sample_rate_hz=16000 if arguments.rate is None else arguments.rate,
            channels=1 if arguments.channels is None else arguments.channels,
            sample_format=arguments.format or "s16le",
        )
    if arguments.demo or arguments.file is not None:
        path = DEMO_PATH if arguments.demo else arguments.file
        return FileSource(path, arguments.pace or ("realtime" if has_view else "fast"))
    return Microphone(arguments.device)


def _list_devices() -> int:
    from ser_live.sources import input_devices  # noqa: PLC0415

    devices = input_devices()
    if not devices:
        raise SerError("no input device; plug one in, or see what 'ser-live doctor' says")
    print("index  channels  default Hz  name")
    for device in devices:
        mark = "  (default)" if device.is_default else ""
        rates = ", ".join(f"{rate_hz / 1000:g}" for rate_hz in device.rates_hz)
        print(
            f"{device.index:5}  {device.channels:8}  {device.default_rate_hz:10}  "
            f"{device.name}{mark}\n{'':27}{rates or 'none of the usual rates'} kHz"
        )
    return _DONE


def _list_models() -> int:
    from ser_live.catalog import DEFAULT_MODEL, model_files, model_folder  # noqa: PLC0415
    from ser_live.classifier import OnnxClassifier  # noqa: PLC0415

    files = model_files()
    if not files:
        raise SerError(f"no models in {model_folder()}; give one with --model PATH")
    for file in files:
        card = OnnxClassifier.load(file).card
        mark = "  (default)" if file.stem == DEFAULT_MODEL else ""
        print(f"{file.stem}{mark}")
        print(f"  labels:  {', '.join(card.labels)}")
        print(f"  licence: {card.licence}")
    return _DONE


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Make Ctrl-C and SIGTERM end the program in order; a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    codes = {signal.SIGINT: 130, signal.SIGTERM: 143}
    before = {number: signal.getsignal(number) for number in codes}

    def stop(number: int, frame: FrameType | None) -> None:
        for known in codes:
            signal.signal(known, signal.SIG_DFL)
        raise _Stopped(codes[signal.Signals(number)])

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
