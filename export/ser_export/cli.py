"""The command ``ser-export``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_live.command_line import USER_ERROR, Parser
from ser_live.errors import SerError

if TYPE_CHECKING:
    from ser_export.exporting import Export


def main(argv: Sequence[str] | None = None) -> int:
    """Export a model; give the exit status: 0, or 2 after one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        export = _export(arguments)
    except SerError as error:
        print(f"ser-export: error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("ser-export: interrupted", file=sys.stderr)
        return 130
    print(export.summary())
    return 0


def _export(arguments: argparse.Namespace) -> "Export":
    if not arguments.model.is_file():  # known at once, without the seconds that Keras takes
        raise SerError(f"{arguments.model}: no such file; wanted what ser-train fit wrote")
    _note("loading TensorFlow")
    from ser_export.quiet import quiet  # noqa: PLC0415

    try:
        with quiet():
            from ser_export.exporting import export_model  # noqa: PLC0415 - takes seconds
    except ModuleNotFoundError as error:
        raise SerError(
            f"the packages for training are not installed ({error}): pip install 'ser-live[train]'"
        ) from error
    export = export_model(arguments.model, arguments.output, arguments.verify_audio, _note)
    if arguments.page:
        export.write_page()
    return export


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ser-export",
        description="Turn a trained .keras model into one ONNX file that carries its card, after "
        "checking that both give the same probabilities.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL.keras", help="what ser-train fit wrote")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="MODEL.onnx",
        help="the file to write; it is replaced in one step, and only after all checks",
    )
    parser.add_argument(
        "--verify-audio",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="recordings whose windows are compared (default: the built-in demo voice)",
    )
    parser.add_argument(
        "--page", action="store_true", help="also write the card as MODEL.md beside MODEL.onnx"
    )
    return parser


def _note(text: str) -> None:
    print(f"ser-export: {text}", file=sys.stderr, flush=True)
