"""``ser-live``: run the live loop, and show it as a view, as a bar or as JSON lines."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ser_live.cli.options import PROGRAM, listen_options, parse
from ser_live.command_line import USER_ERROR, Signals, Stopped, exit_code_of
from ser_live.errors import SerError
from ser_live.standard_streams import stdout_failure
from ser_live.text import sanitize

if TYPE_CHECKING:
    from ser_live.cli.stderr import Stderr
    from ser_live.live.listener import Listener, ListenOptions, LiveStep
    from ser_live.live.summary import Summary
    from ser_live.output import Outputs
    from ser_live.sources import Pace, Source

Display = Literal["view", "bar", "lines", "nothing"]

_DONE = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["doctor"]:
        from ser_live import doctor  # noqa: PLC0415 - it must start where nothing else does

        return doctor.main(words[1:])
    if words[:1] == ["batch"]:
        from ser_live.cli import batch  # noqa: PLC0415

        return batch.main(words[1:])
    return exit_code_of(PROGRAM, lambda: _run(words))


def _run(words: Sequence[str]) -> int:
    with Signals() as signals:
        arguments = parse(words)
        if arguments.list_devices:
            return _list_devices()
        if arguments.list_models:
            return _list_models()
        return _listen(arguments, signals)


def _listen(arguments: argparse.Namespace, signals: Signals) -> int:
    from ser_live.cli.stderr import Stderr  # noqa: PLC0415 - --help needs no engine
    from ser_live.live.listener import listen  # noqa: PLC0415
    from ser_live.live.summary import Summary  # noqa: PLC0415

    display = _display(arguments)
    summary = Summary()
    exit_code = _DONE
    is_kept = bool(arguments.output or arguments.record)
    with Stderr(PROGRAM, display == "view", arguments.verbose) as stderr:
        source, options, notice = _session(arguments, display)
        with (
            listen(source, utterances=arguments.utterances, **options) as listener,
            _outputs(arguments.output, listener) as outputs,
        ):
            steps = _kept(listener, outputs, summary, signals, is_kept)
            try:
                if display == "lines":
                    _write_lines(listener, steps, notice, stderr, arguments.events)
                else:
                    _show(listener, steps, notice, stderr, display)
                with signals.postponed():
                    outputs.close()
            except Stopped as stopped:
                exit_code = stopped.exit_code
    lines = [f"{PROGRAM}: note: {note}" for note in source.notes]
    if arguments.verbose >= 0:
        kept = [path for path in (arguments.record,) if path is not None]
        stdout = ["JSON lines on stdout"] if display == "lines" else []
        lines += map(_wrapped, summary.lines(listener, [*stdout, *outputs.written, *kept]))
    if arguments.verbose > 0:
        lines += summary.figures(listener.stats)
    if lines and (is_kept or stdout_failure() is None):
        print("\n".join(lines), file=sys.stderr)
    is_whole = not outputs.errors and getattr(source, "is_whole", True)
    return exit_code or (_DONE if is_whole else USER_ERROR)


def _display(arguments: argparse.Namespace) -> Display:
    """Return what is shown: lines for programs, else what suits a terminal."""
    if not sys.stdout.isatty() or arguments.json or os.environ.get("TERM") == "dumb":
        return "lines"
    if arguments.events:
        raise SerError("--events belongs to JSON lines; add --json")
    if arguments.verbose < 0:
        if not (arguments.output or arguments.record):
            raise SerError("--quiet says nothing on a terminal; add --json, --output or --record")
        return "nothing"
    is_recording = arguments.demo or bool(arguments.file or arguments.replay)
    return "bar" if is_recording and arguments.output and arguments.pace is None else "view"


def _wrapped(line: str) -> str:
    """Break a line of the summary for a terminal; programs get it whole."""
    import shutil  # noqa: PLC0415 - --help needs none of it
    import textwrap  # noqa: PLC0415

    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else sys.maxsize
    return textwrap.fill(line, width, subsequent_indent=" " * 9, break_on_hyphens=False)


def _outputs(paths: Sequence[str], listener: "Listener[Any]") -> "Outputs":
    from ser_live.engine.channels import channel_names  # noqa: PLC0415
    from ser_live.output import Outputs  # noqa: PLC0415

    source, recognizer = listener.source, listener.recognizer

    def about() -> dict[str, object]:
        return {
            "source": source.name,
            "model": listener.recognizer.card.name,
            "labels": recognizer.labels,
            "sample_rate_hz": source.sample_rate_hz,
            "channels": source.channels,
            "seconds": listener.stats.recognizer.seconds,
            "notes": source.notes,
        }

    has_channels = bool(channel_names(recognizer))
    return Outputs(paths, recognizer.labels, source.name, about, has_channels=has_channels)


def _kept(
    listener: "Listener[Any]",
    outputs: "Outputs",
    summary: "Summary",
    signals: Signals,
    is_kept: bool,
) -> Iterator["LiveStep"]:
    """Yield each step after it has gone to the files and the summary.

    Where there are no files, the stream ends when stdout takes no more.
    """
    for step in listener.steps():
        with signals.postponed():  # all files end with the same record
            for item in step.items:
                outputs.write(item)
            for prediction in step.predictions:
                summary.add(prediction)
        yield step
        if not is_kept and stdout_failure() is not None:
            return


def _write_lines(
    listener: "Listener[Any]",
    steps: Iterator["LiveStep"],
    notice: str,
    stderr: "Stderr",
    has_events: bool,
) -> None:
    """Write JSON lines; events are among them, or go to stderr."""
    from ser_live.events import Event  # noqa: PLC0415 - --help needs no engine
    from ser_live.output import json_record  # noqa: PLC0415

    source, recognizer = listener.source, listener.recognizer
    for number, step in enumerate(steps):
        if number == 0:  # only now it is sure that the source gives something
            channels = {1: "mono", 2: "stereo"}.get(source.channels, f"{source.channels} channels")
            audio = f"{source.name}, {source.sample_rate_hz} Hz {channels}"
            model = f"model {recognizer.card.name}; hop {recognizer.hop_seconds:g} s"
            stderr.print(f"{audio}; {model}")
            if notice:
                stderr.print(notice)
        if not has_events:
            _print_events(step, stderr)
        for item in step.items:
            if has_events or not isinstance(item, Event):
                print(json.dumps(json_record(item)), flush=True)


def _show(
    listener: "Listener[Any]",
    steps: Iterator["LiveStep"],
    notice: str,
    stderr: "Stderr",
    display: Display,
) -> None:
    """Take all steps, and show them on the terminal."""
    from ser_live.cli.progress import FileProgress  # noqa: PLC0415 - only a terminal needs rich
    from ser_live.cli.view import LiveView  # noqa: PLC0415

    if display == "nothing":
        for _ in steps:
            pass
        return
    if display == "bar" and notice:
        stderr.print(notice)
    with LiveView(listener, notice) if display == "view" else FileProgress(listener) as screen:
        for step in steps:
            _print_events(step, stderr)
            screen.update(step)


def _print_events(step: "LiveStep", stderr: "Stderr") -> None:
    for event in step.events:
        stderr.print(f"{event.at_seconds:.2f} s: {event.kind}: {event.detail}")


def _session(
    arguments: argparse.Namespace, display: Display
) -> tuple["Source", "ListenOptions", str]:
    """Return the source, the options of `listen`, and a notice for the user.

    The options are those of the command line, else those of a recording, else the usual ones.
    """
    import logging  # noqa: PLC0415 - --help needs none of it

    from ser_live.model.catalog import model_sha256  # noqa: PLC0415
    from ser_live.recording import Recorder, ReplaySource  # noqa: PLC0415
    from ser_live.sources import DEMO_NOTICE  # noqa: PLC0415

    pace: Pace = arguments.pace or ("realtime" if display == "view" else "fast")
    given = listen_options(arguments)
    if arguments.cpu_budget is not None:
        given["cpu_budget"] = arguments.cpu_budget / 100.0
    if arguments.replay is not None:
        replay = ReplaySource(arguments.replay, pace)
        session = replay.session
        names = ("model", "window_seconds", "hop_seconds", "smoothing_seconds", "vad", "prior")
        kept = (*names, "uncertain_below", "use_channels")
        options: Any = {name: getattr(session, name) for name in kept} | given
        if arguments.model is None and (now := model_sha256(session.model)) != session.model_sha256:
            logging.getLogger(__name__).warning(
                f"model {session.model} has changed since the recording (sha256 "
                f"{now[:12]} now, {session.model_sha256[:12]} then); predictions may differ"
            )
        notice = f"replay of {session.source}, recorded by ser-live {session.version}"
        return replay, options, notice
    source = _source(arguments, pace)
    notices = [DEMO_NOTICE] if arguments.demo else []
    if arguments.record is not None:
        notices.append(f"recording to {arguments.record}")
        shared: Any = {k: v for k, v in given.items() if k not in ("policy", "cpu_budget")}
        source = Recorder(source, arguments.record, **shared)
    return source, given, "; ".join(notices)


def _source(arguments: argparse.Namespace, pace: "Pace") -> "Source":
    from ser_live.sources import DEMO_PATH, FileSource, Microphone, RawSource  # noqa: PLC0415

    if arguments.stdin:
        if sys.stdin is None:
            raise SerError("stdin: is closed, wanted audio from a pipe or a file")
        return RawSource(
            sys.stdin.buffer,
            sample_rate_hz=16000 if arguments.rate is None else arguments.rate,
            channels=1 if arguments.channels is None else arguments.channels,
            sample_format=arguments.format or "s16le",
        )
    if arguments.demo or arguments.file is not None:
        return FileSource(DEMO_PATH if arguments.demo else arguments.file, pace)
    return Microphone(arguments.device, reconnect=not arguments.no_reconnect)


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
            f"{sanitize(device.name)}{mark}\n{'':27}{rates or 'none of the usual rates'} kHz"
        )
    return _DONE


def _list_models() -> int:
    from ser_live.model.catalog import DEFAULT_MODEL, model_files, model_folder  # noqa: PLC0415
    from ser_live.model.classifier import OnnxClassifier  # noqa: PLC0415
    from ser_live.model.prior import prior_of  # noqa: PLC0415

    files = model_files()
    if not files:
        raise SerError(f"no models in {model_folder()}; give one with --model PATH")
    for file in files:
        model = OnnxClassifier.load(file)
        card = model.card
        mark = "  (default)" if file.stem == DEFAULT_MODEL else ""
        print(f"{file.stem}{mark}")
        print(f"  labels:  {', '.join(card.labels)}")
        print(f"  licence: {card.licence}")
        odds = [f"{name} x {value:g}" for name, value in prior_of(None, card).by_name().items()]
        print(f"  prior:   {', '.join(odds) or 'even'}")
        milliseconds, megabytes = 1000 * model.measure_seconds(), file.stat().st_size / 1e6
        print(f"  price:   {milliseconds:.1f} ms a window here, {megabytes:.1f} MB")
    return _DONE


if __name__ == "__main__":
    sys.exit(main())
