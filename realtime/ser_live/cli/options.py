"""The options of ``ser-live``, and which of them go together."""

import argparse
import os
from collections.abc import Sequence

from ser_live import __version__
from ser_live.command_line import Parser
from ser_live.errors import SerError

PROGRAM = "ser-live"

_DESCRIPTION = """\
Recognize emotion in live speech. On a terminal: a live view. Otherwise, or with --json: one JSON
line per prediction on stdout, text for people on stderr. A summary follows at the end.
"""
_USAGE = """\
ser-live [SOURCE] [OPTIONS]     recognize emotion
       ser-live replay FILE [OPTIONS]  play what --record kept, to the same predictions
       ser-live doctor [OPTIONS]       find out what is wrong with this machine"""
_EPILOG = """\
exit codes: 0 done (also when the reader of stdout has closed it), 2 a mistake or a file that could
not be written, explained by one line on stderr, 130 ended by Ctrl-C, 143 ended by SIGTERM.

examples:
  ser-live                                        the default microphone
  ser-live --demo                                 no microphone needed
  ser-live --file talk.ogg --json > talk.jsonl    a recording, as fast as possible
  ser-live --file talk.ogg --output talk.srt      its emotions as subtitles
  arecord -q -t raw -f S16_LE -r 16000 | ser-live --stdin
"""
_REPLAY_DESCRIPTION = """\
Play a recording of 'ser-live --record' again, with the model and the options of then: the same
predictions come out, bit for bit. Options that are given here replace those of then.
"""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the words behind ``ser-live``; ``replay`` is the recording's name or None.

    Raises
    ------
    SerError
        If options are given that would be ignored or destroy a file.
    """
    if words[:1] == ["replay"]:
        arguments = _replay_parser().parse_args(words[1:])
    else:
        arguments = _parser().parse_args(words)
        _check_source(arguments)
    _check_files(arguments)
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = _new_parser(PROGRAM, _USAGE, _DESCRIPTION, _EPILOG)
    parser.set_defaults(replay=None)
    source = parser.add_argument_group("source (default: the default microphone)")
    one = source.add_mutually_exclusive_group()
    one.add_argument(
        "--device", metavar="NAME|INDEX", help="a microphone; part of its name will do"
    )
    one.add_argument("--file", metavar="PATH", help="an audio file of any rate and channel count")
    one.add_argument("--stdin", action="store_true", help="raw PCM from a pipe")
    one.add_argument("--demo", action="store_true", help="a synthetic voice, to see it work")
    source.add_argument(
        "--no-reconnect",
        action="store_true",
        help="end when the microphone is lost, instead of opening it again",
    )
    _add_pace(source, "of --file and --demo; ")
    source.add_argument("--rate", type=int, metavar="HZ", help="of --stdin; default: 16000")
    source.add_argument("--format", choices=("s16le", "f32le"), help="of --stdin; default: s16le")
    source.add_argument("--channels", type=int, metavar="N", help="of --stdin; default: 1")
    recognition = parser.add_argument_group("recognition")
    _add_recognition(recognition, hop="; default: 0.25", smoothing="; default: from the model")
    recognition.add_argument(
        "--no-vad", dest="vad", action="store_false", help="take everything for speech"
    )
    overload = parser.add_argument_group("when there is too much to do")
    overload.add_argument(
        "--policy",
        choices=("latest", "block", "error"),
        help="of a microphone, when predictions come too late: leave the old ones out, give all, "
        "or end; default: latest",
    )
    overload.add_argument(
        "--cpu-budget",
        type=float,
        metavar="PERCENT",
        help="of one core; above it predictions come less often",
    )
    _add_output(parser).add_argument(
        "--record",
        metavar="FILE.wav",
        help="keep the audio, for 'ser-live replay'; without it nothing is kept",
    )
    other = parser.add_argument_group("instead of listening")
    other.add_argument("--list-devices", action="store_true", help="list microphones and exit")
    other.add_argument("--list-models", action="store_true", help="list shipped models and exit")
    other.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _replay_parser() -> argparse.ArgumentParser:
    usage = f"{PROGRAM} replay FILE [OPTIONS]"
    parser = _new_parser(f"{PROGRAM} replay", usage, _REPLAY_DESCRIPTION)
    recording = parser.add_argument_group("recording")
    recording.add_argument(
        "replay", metavar="FILE", help="the WAV file; its .wav.jsonl is beside it"
    )
    _add_pace(recording)
    recognition = parser.add_argument_group("recognition (default: as it was recorded)")
    _add_recognition(recognition)
    recognition.add_argument(
        "--vad",
        action=argparse.BooleanOptionalAction,
        help="let the speech gate decide, or take everything for speech",
    )
    _add_output(parser)
    for name in ("file", "record", "policy", "cpu_budget"):
        parser.set_defaults(**{name: None})
    parser.set_defaults(stdin=False, demo=False, list_devices=False, list_models=False)
    return parser


def _new_parser(
    program: str, usage: str, description: str, epilog: str = ""
) -> argparse.ArgumentParser:
    return Parser(
        prog=program,
        usage=usage,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _add_pace(group: argparse._ArgumentGroup, of: str = "") -> None:
    group.add_argument(
        "--pace",
        choices=("realtime", "fast"),
        help=f"{of}default: realtime in the live view, else fast",
    )


def _add_recognition(group: argparse._ArgumentGroup, hop: str = "", smoothing: str = "") -> None:
    group.add_argument(
        "--model", metavar="NAME|PATH", help="a name of --list-models or an .onnx file"
    )
    hop_help = f"seconds from one prediction to the next{hop}"
    group.add_argument("--hop", type=float, metavar="S", help=hop_help)
    smoothing_help = f"seconds; 0: none{smoothing}"
    group.add_argument("--smoothing", type=float, metavar="S", help=smoothing_help)


def _add_output(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="JSON lines, also on a terminal")
    group.add_argument(
        "--events",
        action="store_true",
        help="among the JSON lines also those of gaps, lost devices ...; else they go to stderr",
    )
    group.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help="also write .jsonl, .csv, .srt, .rttm, or .txt for Audacity; may be repeated; "
        "overwrites",
    )
    group.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="say on stderr what goes on; -vv: everything",
    )
    return group


def _check_source(arguments: argparse.Namespace) -> None:
    """Refuse options that the chosen source would ignore."""
    is_file = arguments.file is not None or arguments.demo
    if arguments.pace and not is_file:
        raise SerError("--pace belongs to --file or --demo")
    for name in ("rate", "format", "channels"):
        if getattr(arguments, name) is not None and not arguments.stdin:
            raise SerError(f"--{name} belongs to --stdin")
    if is_file or arguments.stdin:
        if arguments.no_reconnect:
            raise SerError("--no-reconnect belongs to a microphone")
        if arguments.policy:
            raise SerError("--policy belongs to a microphone: files and pipes wait")
    if arguments.cpu_budget is not None and not 0.0 < arguments.cpu_budget <= 6400.0:
        raise SerError(
            f"--cpu-budget is {arguments.cpu_budget:g}, wanted percent of one core, like 10"
        )


def _check_files(arguments: argparse.Namespace) -> None:
    """Refuse outputs that would overwrite what is read or recorded."""
    if not arguments.output:
        return
    from ser_live.output import check_outputs  # noqa: PLC0415 - --help needs none of it

    check_outputs(arguments.output)
    used = [arguments.file, arguments.model]
    for recording in filter(None, (arguments.record, arguments.replay)):
        used += [recording, f"{recording}.jsonl"]
    places = {os.path.realpath(path) for path in used if path is not None}
    for path in arguments.output:
        if os.path.realpath(path) in places:
            raise SerError(f"--output {path}: is in use as something else; choose another name")
