"""The command line of ``ser-train``, as argparse reads it."""

import argparse
from pathlib import Path

from ser_live import __version__
from ser_live.command_line import Parser
from ser_train.cross_validation.protocols import PROTOCOLS
from ser_train.data.recordings import add_recordings
from ser_train.models.registry import NETWORKS

_EPILOG = """\
examples:
  ser-train fit -B 64 --epochs 15 --corpus ravdess --network emotion-tcn -o emotion.keras
  ser-train fit --init emotion.keras --corpus mine.csv -o mine.keras
  ser-train cross-validate --protocol ravdess-luna5 --network emotion-tcn \\
      --corpus ravdess --report-dir reports/luna
  ser-train evaluate emotion.keras --corpus emodb
  ser-train predict emotion.keras voice.wav
"""


def make_parser() -> argparse.ArgumentParser:
    """Build the parser; the chosen command is in ``command``."""
    parser = Parser(
        prog="ser-train",
        description="Train, cross-validate, evaluate and try speech emotion models.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_fit(commands.add_parser("fit", help="train a model and save it"))
    _add_cross_validate(
        commands.add_parser("cross-validate", help="measure a network by a published protocol")
    )
    _add_report(commands.add_parser("report", help="write the report of finished folds once more"))
    _add_evaluate(commands.add_parser("evaluate", help="measure a model on recordings"))
    _add_ensemble(commands.add_parser("ensemble", help="make one model of several"))
    _add_predict(commands.add_parser("predict", help="name the emotion of recordings"))
    return parser


def _add_fit(parser: argparse.ArgumentParser) -> None:
    add_recordings(parser)
    _add_training(parser)
    parser.add_argument(
        "--init",
        type=Path,
        metavar="MODEL.keras",
        help="adapt this model instead of starting afresh: first a new head, then all layers",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT.keras", help="model file to write"
    )
    parser.add_argument(
        "--training-speakers",
        type=_names,
        metavar="A,B",
        help="train on these alone; who has no role is left out (default: all others)",
    )
    parser.add_argument(
        "--validation-speakers",
        type=_names,
        metavar="A,B",
        help="watched in training, and for the temperature; 'none' for none "
        "(default: one of twelve of each corpus)",
    )
    parser.add_argument(
        "--test-speakers",
        type=_names,
        metavar="A,B",
        help="never trained on, measured once at the end; 'none' for none (default: none; with "
        "--init one of four)",
    )
    parser.add_argument(
        "--mask-missing-labels",
        action="store_true",
        help="labels that a corpus lacks take no part in the loss of its clips",
    )
    parser.add_argument("--name", help="name in the model card (default: the network's)")
    parser.add_argument(
        "--licence", help="licence of the weights, SPDX (default: the strictest corpus's)"
    )
    parser.add_argument("--description", default="", help="a sentence for the model card")
    parser.add_argument("--limits", default="", help="where it is wrong, for the model card")
    parser.add_argument(
        "--cross-validation",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="report folder of a cross-validation of this network, whose figures go into the "
        "card (repeatable); without validation speakers the first decides temperature and "
        "threshold",
    )
    parser.add_argument(
        "--run-dir",
        type=Path,
        metavar="DIR",
        help="for checkpoints, curves and figures (default: beside the model file)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")


def _add_cross_validate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--protocol", required=True, metavar="NAME", help=f"one of {', '.join(PROTOCOLS)}"
    )
    add_recordings(parser)
    parser.add_argument(
        "--also",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="further corpora, which train in every fold and are never tested; may be given again",
    )
    _add_training(parser)
    parser.add_argument(
        "--init",
        type=Path,
        metavar="MODEL.keras",
        help="let every fold adapt this model, which has heard no tested speaker, instead of "
        "starting afresh",
    )
    parser.add_argument(
        "--seeds",
        type=_positive,
        default=1,
        metavar="N",
        help="so many from --seed on (default: 1)",
    )
    parser.add_argument(
        "--folds", type=_numbers, metavar="0,1", help="only these folds (default: all)"
    )
    parser.add_argument(
        "--report-dir",
        type=Path,
        required=True,
        metavar="DIR",
        help="for ledger, posteriors and report; folds that it holds are kept",
    )
    parser.add_argument(
        "--run-dir", type=Path, metavar="DIR", help="for checkpoints (default: runs in the former)"
    )


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="report folder of a cross-validation"
    )


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", type=Path, metavar="MODEL", help=".keras; .onnx with --stream or --conditions"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--stream", action="store_true", help="play the recordings through the live engine"
    )
    how.add_argument(
        "--conditions", action="store_true", help="with noise, in a room, over a telephone"
    )
    add_recordings(parser)
    parser.add_argument(
        "--speakers", type=_names, metavar="A,B", help="only these speakers (default: all)"
    )
    parser.add_argument("--report-dir", type=Path, metavar="DIR", help="for plots and figures")
    parser.add_argument(
        "--seed", type=_natural, default=0, metavar="N", help="order of the stream (default: 0)"
    )


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .keras or .onnx file")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="recordings")
    parser.add_argument("--json", action="store_true", help="one JSON object for each recording")


def _add_ensemble(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models", type=Path, nargs="+", metavar="MODEL.keras", help="two or more that hear alike"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="ALL.keras", help="model file to write"
    )
    parser.add_argument("--name", help="name in the model card (default: the file's)")


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--network",
        default="",
        metavar="NAME",
        help=f"one of {', '.join(NETWORKS)} (with --init: the model's)",
    )
    parser.add_argument(
        "-B", "--batch", type=_positive, metavar="N", help="clips in a batch (default: network's)"
    )
    parser.add_argument("--epochs", type=_positive, metavar="N", help="(default: the network's)")
    parser.add_argument("--seed", type=_natural, default=0, metavar="N", help="(default: 0)")
    parser.add_argument(
        "--threads", type=_positive, metavar="N", help="of TensorFlow (default: all cores)"
    )


def _names(text: str) -> tuple[str, ...]:
    if text == "none":
        return ()
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_natural(part) for part in text.split(","))


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is negative")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number
