"""The options of ``ser-live``, and which of them go together."""

import argparse
import functools
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ser_live import __version__
from ser_live.command_line import Parser
from ser_live.errors import SerError
from ser_live.stream_protocol import SAMPLE_BYTES

if TYPE_CHECKING:
    from ser_live.live.listener import ListenOptions

PROGRAM = "ser-live"

_DESCRIPTION = """\
Recognize emotion in live speech. On a terminal: a live view; of a recording with --output: a bar.
Otherwise, or with --json: one JSON line per prediction on stdout, text for people on stderr. Six
lines on what was heard follow at the end.
"""
_USAGE = """\
ser-live [PATH] [OPTIONS]       recognize emotion, without PATH of a microphone
       ser-live replay FILE [OPTIONS]  play what --record kept, to the same predictions
       ser-live batch PATH... [OPTIONS]  recognize many recordings into one table
       ser-live doctor [OPTIONS]       find out what is wrong with this machine"""
_EPILOG = """\
exit codes: 0 done (also when the reader of stdout has closed it), 2 a mistake, or a file or
stdout that could not be written, explained by one line on stderr, 130 ended by Ctrl-C, 143 ended by
SIGTERM. Without a stdout, what writes files by --output or --record goes on to its end.

examples:
  ser-live                                        the default microphone
  ser-live --demo                                 no microphone needed
  ser-live talk.ogg --json > talk.jsonl           a recording, as fast as possible
  ser-live talk.ogg --output talk.srt             its emotions as subtitles
  arecord -q -t raw -f S16_LE -r 16000 | ser-live --stdin
"""
_REPLAY_DESCRIPTION = """\
Play a recording of 'ser-live --record' again, with the model and the options of then: the same
predictions come out, bit for bit. Options that are given here replace those of then.
"""


new_parser = functools.partial(
    Parser, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
)

Row = tuple[str, str, Mapping[str, Any]]
"""Flags, help, and what else argparse is told."""


class Once(argparse.Action):
    """Take an option that has one value: argparse would drop the first of two in silence."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Keep the value; SerError if there is one."""
        if getattr(namespace, self.dest) is not None:
            raise SerError(f"{self.option_strings[-1]} is given twice, wanted one")
        setattr(namespace, self.dest, values)


_FLAG = {"action": "store_true"}
_HOP = {"type": float, "metavar": "S", "dest": "hop_seconds"}
_SMOOTHING = {**_HOP, "dest": "smoothing_seconds"}
_PACE = {"choices": ("realtime", "fast")}
_PACE_HELP = "default: realtime in the live view, else fast (also with --output alone)"
_HOP_HELP = "seconds from one prediction to the next"
_VERSION = {"action": "version", "version": f"%(prog)s {__version__}"}

_USE_CHANNELS_HELP = (
    "split: each one as a stream of its own; left, right or numbers like 1,3: those alone; "
    "default: mix"
)
USE_CHANNELS: Row = ("--use-channels", _USE_CHANNELS_HELP, {"metavar": "WHICH"})

_SOURCES: tuple[Row, ...] = (
    (
        "--device",
        "a microphone; part of its name will do",
        {"metavar": "NAME|INDEX", "action": Once},
    ),
    ("--file", "an audio file of any rate and channel count", {"metavar": "PATH", "action": Once}),
    # Without a default, which would take the place of what --file gave.
    ("file", "the same as --file", {"nargs": "?", "default": argparse.SUPPRESS, "metavar": "PATH"}),
    ("--stdin", "raw PCM from a pipe, or a WAV, FLAC, Ogg or MP3 file", _FLAG),
    ("--demo", "a synthetic voice, to see it work", _FLAG),
)
_SOURCE_DETAILS: tuple[Row, ...] = (
    ("--no-reconnect", "end when the microphone is lost, instead of opening it again", _FLAG),
    ("--pace", f"of --file and --demo; {_PACE_HELP}", _PACE),
    ("--rate", "of raw PCM on --stdin; default: 16000", {"type": int, "metavar": "HZ"}),
    ("--format", "of raw PCM on --stdin; default: s16le", {"choices": tuple(SAMPLE_BYTES)}),
    ("--channels", "of raw PCM on --stdin; default: 1", {"type": int, "metavar": "N"}),
    USE_CHANNELS,
)
_MODEL: Row = ("--model", "a name of --list-models or an .onnx file", {"metavar": "NAME|PATH"})
_PRIOR_HELP = "odds of everyday talk, mostly neutral, or even ones, as for acted emotion"
_PRIOR = {"choices": ("everyday", "even")}
RECOGNITION: tuple[Row, ...] = (
    _MODEL,
    ("--prior", f"{_PRIOR_HELP}; default: everyday", _PRIOR),
    ("--hop", f"{_HOP_HELP}; default: 0.25", _HOP),
    ("--smoothing", "seconds; 0: none; default: from the model", _SMOOTHING),
    ("--no-vad", "take everything for speech", {"dest": "vad", "action": "store_false"}),
)
_POLICY_HELP = (
    "of a microphone, when predictions come too late: leave the old ones out, give all, or end; "
    "default: latest"
)
_BUDGET_HELP = "of one core; above it predictions come less often: saves energy, makes none faster"
_OVERLOAD: tuple[Row, ...] = (
    ("--policy", _POLICY_HELP, {"choices": ("latest", "block", "error")}),
    ("--cpu-budget", _BUDGET_HELP, {"type": float, "metavar": "PERCENT"}),
)
_EVENTS_HELP = "among the JSON lines also those of gaps, lost devices ...; else they go to stderr"
_UTTERANCES_HELP = "among the JSON lines also one for all that was said between two silences"
_OUTPUT_HELP = (
    "also write .jsonl, .json, .csv, .parquet, .srt, .vtt, .rttm, or .txt for Audacity; may be "
    "repeated; overwrites"
)
_QUIET_HELP = "warnings and errors alone on stderr; no view, no bar, no summary"
_VERBOSE_HELP = "say on stderr what goes on, and all figures at the end; -vv: everything"
_RECORD_HELP = "keep the audio, for 'ser-live replay'; without it nothing is kept"
_OUTPUT: tuple[Row, ...] = (
    ("--json", "JSON lines, also on a terminal", _FLAG),
    ("--events", _EVENTS_HELP, _FLAG),
    ("--utterances", _UTTERANCES_HELP, _FLAG),
    ("--output", _OUTPUT_HELP, {"action": "append", "default": [], "metavar": "FILE"}),
)
_LOUDNESS: tuple[Row, ...] = (
    ("--quiet", _QUIET_HELP, {"dest": "verbose", "action": "store_const", "const": -1}),
    ("-v --verbose", _VERBOSE_HELP, {"action": "count"}),
)
_RECORD: Row = ("--record", _RECORD_HELP, {"metavar": "FILE.wav", "action": Once})
_INSTEAD: tuple[Row, ...] = (
    ("--list-devices", "list microphones and exit", _FLAG),
    ("--list-models", "list shipped models and exit", _FLAG),
    ("--version", "show program's version number and exit", _VERSION),
)
_RECORDING: tuple[Row, ...] = (
    ("replay", "the WAV file; its .wav.jsonl is beside it", {"metavar": "FILE"}),
    ("--pace", _PACE_HELP, _PACE),
    USE_CHANNELS,
)
_VAD_HELP = "let the speech gate decide, or take everything for speech"
_RECOGNIZED = (
    "model", "hop_seconds", "smoothing_seconds", "vad", "prior", "use_channels", "policy",
)  # fmt: skip
_REPLAY_RECOGNITION: tuple[Row, ...] = (
    _MODEL,
    ("--prior", _PRIOR_HELP, _PRIOR),
    ("--hop", _HOP_HELP, _HOP),
    ("--smoothing", "seconds; 0: none", _SMOOTHING),
    ("--vad", _VAD_HELP, {"action": argparse.BooleanOptionalAction}),
)


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
        parser = _live_parser()
        arguments, more = parser.parse_known_args(words)
        if more:
            is_option = any(word.startswith("-") for word in more)
            hint = "" if is_option else "; several recordings are for 'ser-live batch'"
            parser.error(f"unrecognized arguments: {' '.join(more)}{hint}")
        if (arguments.list_devices or arguments.list_models) and len(words) > 1:
            raise SerError("--list-devices and --list-models stand alone; leave the others out")
        if arguments.file in ("-", "/dev/stdin", "/dev/fd/0"):
            raise SerError(f"{arguments.file}: is stdin; give --stdin instead")
        if arguments.file is not None and os.path.isdir(arguments.file):  # noqa: PTH112
            raise SerError(f"{arguments.file}: is a folder, for 'ser-live batch {arguments.file}'")
        _check_source(arguments)
    _check_files(arguments)
    return arguments


def listen_options(arguments: argparse.Namespace) -> "ListenOptions":
    """Return those options of `ser_live.listen` that were given."""
    given = {name: getattr(arguments, name, None) for name in _RECOGNIZED}
    return cast("ListenOptions", {k: v for k, v in given.items() if v is not None})


def _live_parser() -> argparse.ArgumentParser:
    parser = new_parser(PROGRAM, _USAGE, _DESCRIPTION, _EPILOG)
    parser.set_defaults(replay=None)
    source = parser.add_argument_group("source (default: the default microphone)")
    add_options(source.add_mutually_exclusive_group(), _SOURCES)
    add_options(source, _SOURCE_DETAILS)
    add_options(parser.add_argument_group("recognition"), RECOGNITION)
    add_options(parser.add_argument_group("when there is too much to do"), _OVERLOAD)
    _add_outputs(parser, (*_OUTPUT, _RECORD))
    add_options(parser.add_argument_group("instead of listening"), _INSTEAD)
    return parser


def _replay_parser() -> argparse.ArgumentParser:
    program = f"{PROGRAM} replay"
    parser = new_parser(program, f"{program} FILE [OPTIONS]", _REPLAY_DESCRIPTION)
    add_options(parser.add_argument_group("recording"), _RECORDING)
    recognition = parser.add_argument_group("recognition (default: as it was recorded)")
    add_options(recognition, _REPLAY_RECOGNITION)
    _add_outputs(parser, _OUTPUT)
    parser.set_defaults(**dict.fromkeys(("file", "record", "policy", "cpu_budget")))
    parser.set_defaults(stdin=False, demo=False, list_devices=False, list_models=False)
    return parser


def add_options(group: argparse._ActionsContainer, rows: Iterable[Row]) -> None:
    """Add options to a parser or a group of one."""
    for flags, words, settings in rows:
        group.add_argument(*flags.split(), help=words, **settings)


def _add_outputs(parser: argparse.ArgumentParser, rows: Iterable[Row]) -> None:
    group = parser.add_argument_group("output")
    add_options(group, rows)
    add_options(group.add_mutually_exclusive_group(), _LOUDNESS)
    parser.set_defaults(verbose=0)


def _check_source(arguments: argparse.Namespace) -> None:
    """Refuse options that the chosen source would ignore."""
    is_file = arguments.file is not None or arguments.demo
    is_microphone = not (is_file or arguments.stdin)
    belongs = {
        "pace": (is_file, "--file or --demo"),
        "rate": (arguments.stdin, "--stdin"),
        "format": (arguments.stdin, "--stdin"),
        "channels": (arguments.stdin, "--stdin"),
        "no_reconnect": (is_microphone, "a microphone"),
        "policy": (is_microphone, "a microphone: files and pipes wait"),
    }
    for name, (is_used, owner) in belongs.items():
        if not is_used and getattr(arguments, name) not in (None, False):
            raise SerError(f"--{name.replace('_', '-')} belongs to {owner}")
    if arguments.cpu_budget is not None and not 0.0 < arguments.cpu_budget <= 6400.0:
        raise SerError(
            f"--cpu-budget is {arguments.cpu_budget:g}, wanted percent of one core, like 10"
        )


def _check_files(arguments: argparse.Namespace) -> None:
    """Refuse outputs that would overwrite what is read, recorded or redirected to."""
    from ser_live.output import check_outputs  # noqa: PLC0415 - --help needs none of it

    check_outputs(arguments.output)
    recordings = arguments.record, arguments.replay
    kept, read = ([path, f"{path}.jsonl"] if path else [] for path in recordings)
    read += filter(None, (arguments.file, arguments.model))
    streams = [number for number in range(3) if stat.S_ISREG(os.fstat(number).st_mode)]
    for path in (*arguments.output, *kept, *read):
        # What is only read may be stdin as well.
        taken = [number for number in streams if number or path not in read]
        if any(os.path.exists(path) and os.path.samefile(path, number) for number in taken):  # noqa: PTH110, PTH121
            raise SerError(f"{path}: is also stdin, stdout or stderr; choose another name")
    places = {os.path.realpath(path) for path in (*kept, *read)}
    for path in arguments.output:
        if os.path.realpath(path) in places:
            raise SerError(f"--output {path}: is in use as something else; choose another name")
