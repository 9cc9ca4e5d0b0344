"""``ser-live``: watch the emotion in a voice."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ser_live.cli.options import PROGRAM, parse
from ser_live.command_line import USER_ERROR, Signals, Stopped, exit_code_of
from ser_live.errors import SerError

if TYPE_CHECKING:
    from ser_live.cli.stderr import Aside
    from ser_live.live.listener import Listener, ListenOptions, LiveStep
    from ser_live.live.summary import Summary
    from ser_live.output import Outputs
    from ser_live.recording import Session
    from ser_live.sources import Pace, Source

_DONE = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["doctor"]:
        from ser_live import doctor  # noqa: PLC0415 - it must start where nothing else does

        return doctor.main(words[1:])
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
    from ser_live.cli.stderr import Aside, logging_to  # noqa: PLC0415 - --help needs no engine
    from ser_live.live.listener import listen  # noqa: PLC0415
    from ser_live.live.summary import Summary  # noqa: PLC0415
    from ser_live.output import Outputs  # noqa: PLC0415

    has_view = sys.stdout.isatty() and not arguments.json and os.environ.get("TERM") != "dumb"
    if has_view and arguments.events:
        raise SerError("--events belongs to JSON lines; add --json")
    summary = Summary()
    exit_code = _DONE
    with Aside(PROGRAM, held=has_view) as aside, logging_to(aside, arguments.verbose):
        source, options, notice = _session(arguments, aside, has_view)
        with (
            listen(source, **options) as listener,
            Outputs(arguments.output, listener.recognizer.labels, source.name) as outputs,
        ):
            keeper = _Keeper(outputs, summary, signals, None if arguments.events else aside)
            try:
                if has_view:
                    _view(listener, keeper, notice)
                else:
                    _write_lines(listener, keeper, notice, arguments.events)
            except Stopped as stopped:
                exit_code = stopped.exit_code
    notes = [f"{PROGRAM}: note: {note}" for note in source.notes]
    print("\n".join([*notes, *summary.lines(listener.stats)]), file=sys.stderr)
    is_whole = not outputs.errors and getattr(source, "is_whole", True)
    return exit_code or (_DONE if is_whole else USER_ERROR)


class _Keeper:
    """What becomes of a step whoever looks at it: files, figures, and a word about events."""

    def __init__(
        self, outputs: "Outputs", summary: "Summary", signals: Signals, aside: "Aside | None"
    ) -> None:
        self._outputs = outputs
        self._summary = summary
        self._signals = signals
        self._aside = aside

    def process(self, step: "LiveStep") -> None:
        with self._signals.postponed():  # all files end with the same record
            for item in step.items:
                self._outputs.write(item)
            for prediction in step.predictions:
                self._summary.add(prediction)
        if self._aside is not None:
            for event in step.events:
                self._aside.say(f"{event.at_seconds:.2f} s: {event.kind}: {event.detail}")


def _write_lines(
    listener: "Listener[Any]", keeper: _Keeper, notice: str, with_events: bool
) -> None:
    is_announced = False
    for step in listener.steps():
        if not is_announced:
            print("\n".join(_announcement(listener, notice)), file=sys.stderr)
            is_announced = True
        keeper.process(step)
        for item in step.items if with_events else step.predictions:
            print(json.dumps(item.to_dict()), flush=True)


def _announcement(listener: "Listener[Any]", notice: str) -> list[str]:
    source, recognizer = listener.source, listener.recognizer
    channels = {1: "mono", 2: "stereo"}.get(source.channels, f"{source.channels} channels")
    lines = [
        f"{PROGRAM}: {source.name}, {source.sample_rate_hz} Hz {channels}; "
        f"model {recognizer.card.name}; hop {recognizer.hop_seconds:g} s"
    ]
    return [*lines, f"{PROGRAM}: {notice}"] if notice else lines


def _view(listener: "Listener[Any]", keeper: _Keeper, notice: str) -> None:
    from ser_live.cli.live_view import LiveView  # noqa: PLC0415 - only a terminal needs rich

    with LiveView(listener, notice) as view:
        for step in listener.steps():
            keeper.process(step)
            view.update(step)


def _session(
    arguments: argparse.Namespace, aside: "Aside", has_view: bool
) -> tuple["Source", "ListenOptions", str]:
    """Give what is heard, how, and what a person must be told about it."""
    from ser_live.recording import Recorder, ReplaySource  # noqa: PLC0415
    from ser_live.sources import DEMO_NOTICE  # noqa: PLC0415

    pace: Pace = arguments.pace or ("realtime" if has_view else "fast")
    if arguments.replay is not None:
        replay = ReplaySource(arguments.replay, pace)
        session = replay.session
        notice = f"replay of {session.source}, recorded by ser-live {session.version}"
        return replay, _options(arguments, session, aside), notice
    source, options = _source(arguments, pace), _options(arguments, None, aside)
    notices = [DEMO_NOTICE] if arguments.demo else []
    if arguments.record is not None:
        notices.append(f"recording to {arguments.record}")
        source = Recorder(
            source,
            arguments.record,
            model=arguments.model,
            hop_seconds=options["hop_seconds"],
            smoothing_seconds=arguments.smoothing,
            vad=arguments.vad,
        )
    return source, options, "; ".join(notices)


def _options(
    arguments: argparse.Namespace, session: "Session | None", aside: "Aside"
) -> "ListenOptions":
    """Give the options of the command line, else those of a recording, else the usual ones."""
    budget = arguments.cpu_budget
    options: ListenOptions = {
        "model": arguments.model,
        "hop_seconds": 0.25 if arguments.hop is None else arguments.hop,
        "smoothing_seconds": arguments.smoothing,
        "vad": arguments.vad,
        "policy": arguments.policy,
        "cpu_budget": None if budget is None else budget / 100.0,
    }
    if session is not None:
        options["window_seconds"] = session.window_seconds
        options["hop_seconds"] = session.hop_seconds if arguments.hop is None else arguments.hop
        if arguments.model is None:
            options["model"] = session.model
            _compare_models(session, aside)
        if arguments.smoothing is None:
            options["smoothing_seconds"] = session.smoothing_seconds
        if arguments.vad is None:
            options["vad"] = session.vad
    return options


def _compare_models(session: "Session", aside: "Aside") -> None:
    from ser_live.recording import model_sha256  # noqa: PLC0415

    now = model_sha256(session.model)
    if now != session.model_sha256:
        aside.say(
            f"warning: model {session.model} has changed since the recording (sha256 "
            f"{now[:12]} now, {session.model_sha256[:12]} then); predictions may differ"
        )


def _source(arguments: argparse.Namespace, pace: "Pace") -> "Source":
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
            f"{device.name}{mark}\n{'':27}{rates or 'none of the usual rates'} kHz"
        )
    return _DONE


def _list_models() -> int:
    from ser_live.model.catalog import DEFAULT_MODEL, model_files, model_folder  # noqa: PLC0415
    from ser_live.model.classifier import OnnxClassifier  # noqa: PLC0415

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


if __name__ == "__main__":
    sys.exit(main())
