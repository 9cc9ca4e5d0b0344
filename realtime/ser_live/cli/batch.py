"""``ser-live batch``: many recordings into one table."""

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ser_live.cli.options import (
    PROGRAM,
    RECOGNITION,
    USE_CHANNELS,
    Once,
    Row,
    add_options,
    listen_options,
    new_parser,
)
from ser_live.command_line import Signals, Stopped, exit_code_of
from ser_live.errors import SerError
from ser_live.standard_streams import stdout_failure
from ser_live.text import sanitize

if TYPE_CHECKING:
    from ser_live.batch import FileResult
    from ser_live.batch.output import BatchOutput
    from ser_live.batch.progress import BatchProgress
    from ser_live.batch.table import RowKind

_DONE = 0
_SOME_FAILED = 1
_PROGRAM = f"{PROGRAM} batch"
_USAGE = f"{_PROGRAM} PATH... [-o FILE] [OPTIONS]"
_DESCRIPTION = """\
Recognize emotion in many recordings, as fast as this machine can, and write one table: CSV, JSON
lines or Parquet. Without --output, JSON lines go to stdout.
"""
_EPILOG = """\
exit codes: 0 done, 1 done and some files failed, 2 a mistake, 130 ended by Ctrl-C, 143 by SIGTERM.

examples:
  ser-live batch calls/ -o calls.csv                    a row for each file
  ser-live batch calls/ -o calls.parquet --segments     a row for each run of one emotion
  ser-live batch calls/ -o calls.parquet --segments --resume    go on where it was interrupted
"""
_PATTERN_HELP = (
    "files to take from folders, like '*.wav'; may be repeated; default: audio and video"
)
_OUTPUT_HELP = "a .csv, .jsonl or .parquet file, and beside it FILE.journal.jsonl, for --resume"
_RESUME_HELP = "go on with what --output holds: finished files are not done again"
_FILES: tuple[Row, ...] = (
    ("paths", "files, and folders that are walked", {"nargs": "+", "metavar": "PATH"}),
    ("--pattern", _PATTERN_HELP, {"action": "append", "default": [], "metavar": "GLOB"}),
    ("-o --output", _OUTPUT_HELP, {"metavar": "FILE", "action": Once}),
    ("--resume", _RESUME_HELP, {"action": "store_true"}),
    ("--jobs", "files at once; default: one for each processor", {"type": int, "metavar": "N"}),
)
_ROWS: tuple[Row, ...] = tuple(
    (
        f"--{flag}",
        f"a row for each {what}",
        {"dest": "kind", "action": "store_const", "const": kind},
    )
    for flag, kind, what in (
        ("summary", "summary", "file (the default)"),
        ("segments", "segment", "run of one emotion"),
        ("predictions", "prediction", "hop"),
        ("utterances", "utterance", "utterance"),
    )
)


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    return exit_code_of(PROGRAM, lambda: _run(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(_PROGRAM, _USAGE, _DESCRIPTION, _EPILOG)
    add_options(parser.add_argument_group("files"), _FILES)
    rows = parser.add_argument_group("rows")
    add_options(rows.add_mutually_exclusive_group(), _ROWS)
    parser.set_defaults(kind="summary")
    add_options(parser.add_argument_group("recognition"), (*RECOGNITION, USE_CHANNELS))
    return parser


def _run(arguments: argparse.Namespace) -> int:
    # --help needs no engine.
    from ser_live.batch import Worker, find_files, number_of_jobs, run  # noqa: PLC0415
    from ser_live.batch.output import BatchOutput  # noqa: PLC0415
    from ser_live.batch.progress import BatchProgress  # noqa: PLC0415

    if arguments.resume and arguments.output is None:
        raise SerError("--resume goes on with a table; name it with --output")
    # Whatever is wrong is told before the work begins.
    worker = Worker(utterances=arguments.kind == "utterance", **listen_options(arguments))
    jobs = number_of_jobs(arguments.jobs)
    files = find_files(arguments.paths, arguments.pattern)
    if not files:
        where = sanitize(" ".join(arguments.paths))
        raise SerError(f"no recordings in {where}; name files, or a --pattern")
    path, kind, is_resumed = arguments.output, arguments.kind, arguments.resume
    table = None if path is None else BatchOutput(path, kind, worker, files, is_resumed=is_resumed)
    with table or contextlib.nullcontext() as output, Signals() as signals:
        left = files if output is None else output.left
        results = run(worker, left, jobs)
        with BatchProgress(PROGRAM, left) as progress, contextlib.closing(results):
            try:
                _tell_changes(output, progress)
                for result in results:
                    with signals.postponed():  # the journal and the table hold the same
                        _keep(result, output, kind)
                        progress.add(result)
                    if output is None and stdout_failure() is not None:
                        break
                if output is not None:
                    output.finish()
                exit_code = _SOME_FAILED if progress.failed else _DONE
            except Stopped as stopped:
                exit_code = stopped.exit_code
        is_open = output is not None and exit_code not in (_DONE, _SOME_FAILED)
        advice = "; --resume goes on with the rest" if is_open else ""
        before = len(files) - len(left)
        advice = (f"; {before} were finished before" if before else "") + advice
        print(f"{PROGRAM}: {progress.closing_line()}{advice}", file=sys.stderr)
        return exit_code


def _tell_changes(output: "BatchOutput | None", progress: "BatchProgress") -> None:
    changed = [] if output is None else output.changed
    if changed:
        more = f" and {len(changed) - 1} more" if changed[1:] else ""
        progress.say(f"{sanitize(changed[0])}{more}: changed since, done again")


def _keep(result: "FileResult", output: "BatchOutput | None", kind: "RowKind") -> None:
    from ser_live.batch.table import rows_of  # noqa: PLC0415 - --help needs no engine

    if output is not None:
        output.add(result)
        return
    for row in rows_of(result, kind):
        print(json.dumps(row), flush=True)
