"""The command ``ser-export``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ser_live import __version__
from ser_live.command_line import Parser, exit_code_of
from ser_live.errors import SerError
from ser_live.model.card import ModelCard
from ser_train.data.for_export import find_recordings
from ser_train.models.keras_file import read_record
from ser_train.models.registry import MISSING_EXTRA
from ser_train.models.silent_stderr import silent_stderr

_MAX_DROP_POINTS = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Export a model; return the exit status: 0, or 2 after one line on stderr."""
    return exit_code_of("ser-export", lambda: _export(_parser().parse_args(argv)))


def _export(arguments: argparse.Namespace) -> int:
    if not arguments.model.is_file():  # known at once, without the seconds that Keras takes
        raise SerError(f"{arguments.model}: no such file; wanted what ser-train fit wrote")
    if arguments.quantize and not arguments.corpus:
        raise SerError(
            "--quantize needs recordings, for the ranges of its numbers and to measure what it "
            "costs; give --corpus PATH"
        )
    if not arguments.quantize and (arguments.corpus or arguments.max_drop is not None):
        raise SerError("--corpus and --max-drop belong to --quantize; give it as well")
    card = _read_card(arguments.card) if arguments.card else None
    if arguments.model.suffix != ".onnx":
        read_record(arguments.model, card)
        if arguments.quantize:
            find_recordings(arguments.corpus)
    elif not card or arguments.quantize:
        raise SerError(
            f"{arguments.model}: a graph of another program wants --card CARD.json, and no "
            "--quantize; ser-live runs what ser-export made as it is"
        )
    _note("loading TensorFlow")
    try:
        with silent_stderr():
            from ser_export.exporting import export_model  # noqa: PLC0415 - takes seconds
            from ser_export.quantization import Quantization  # noqa: PLC0415
            from ser_train.models.registry import find_network  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SerError(MISSING_EXTRA.format(error)) from error
    if arguments.network:
        find_network(arguments.network)
    drop = _MAX_DROP_POINTS if arguments.max_drop is None else arguments.max_drop
    quantization = Quantization(tuple(arguments.corpus), drop) if arguments.quantize else None
    export = export_model(
        arguments.model, arguments.output, arguments.verify_audio, _note, quantization, card
    )
    if arguments.page:
        export.write_page()
    print(export.summary())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ser-export",
        description="Turn a trained .keras model into one ONNX file that carries its card, after "
        "checking that both give the same probabilities.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    add = parser.add_argument
    path: dict[str, Any] = {"type": Path, "metavar": "PATH"}
    text = "what ser-train fit wrote, or with --card a .keras or .onnx file of another program"
    add("model", **path | {"metavar": "MODEL.keras"}, help=text)
    text = "the model card of a file that has none (docs/own-models.md)"
    add("--card", **path | {"metavar": "CARD.json"}, help=text)
    text = "the file to write; it is replaced in one step, and only after all checks"
    add("-o", "--output", **path | {"metavar": "MODEL.onnx"}, required=True, help=text)
    text = "package.module:name with the layers of a network of your own (default: none is run)"
    add("--network", default="", metavar="NAME", help=text)
    text = "recordings whose windows are compared (default: the built-in demo voice)"
    add("--verify-audio", **path | {"metavar": "FILE"}, nargs="+", default=[], help=text)
    text = "also write the card as MODEL.md beside MODEL.onnx"
    add("--page", action="store_true", help=text)
    text = "compute the convolutions in int8: a smaller file and faster windows"
    add("--quantize", action="store_true", help=text)
    text = (
        "with --quantize: recordings as ser-train takes them, a folder of corpora or a table "
        "path,label,speaker (.csv); speakers that trained the model are left out; may be given "
        "again"
    )
    add("--corpus", **path, action="append", default=[], help=text)
    text = "with --quantize: refuse if UAR falls by more percentage points (default: "
    add("--max-drop", type=_points, metavar="POINTS", help=f"{text}{_MAX_DROP_POINTS:g})")
    return parser


def _read_card(path: Path) -> ModelCard:
    try:
        return ModelCard.from_json(path.read_text("utf-8"), str(path))
    except (OSError, ValueError) as error:
        raise SerError(f"{path}: no model card can be read ({error}), wanted JSON") from error


def _points(text: str) -> float:
    points = float(text)
    if not 0.0 <= points <= 100.0:
        raise argparse.ArgumentTypeError(f"{text} is not within 0 to 100")
    return points


def _note(text: str) -> None:
    print(f"ser-export: {text}", file=sys.stderr, flush=True)
