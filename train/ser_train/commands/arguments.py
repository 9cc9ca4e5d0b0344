"""The command line of ``ser-train``, as argparse reads it."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ser_live import __version__
from ser_live.command_line import Parser
from ser_train.cross_validation.protocols import PROTOCOLS
from ser_train.data.recordings import Recordings
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


def _pair(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"{text!r} is not OLD=NEW")
    return old, new


# Kinds of options: what argparse is told of each beside its name and its help.
_Kind = dict[str, Any]
_SWITCH: _Kind = {"action": "store_true"}
_REPEATED: _Kind = {"action": "append", "default": []}
_FOLDER: _Kind = {"type": Path, "metavar": "DIR"}
_SPEAKERS: _Kind = {"type": _names, "metavar": "A,B"}
_COUNT: _Kind = {"type": _positive, "metavar": "N"}
_SEED: _Kind = {"type": _natural, "metavar": "N", "default": 0}
_MODEL: _Kind = {"type": Path, "metavar": "MODEL"}
_KERAS: _Kind = {"type": Path, "metavar": "MODEL.keras"}


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
    for name, (add_options, text) in _COMMANDS.items():
        add_options(commands.add_parser(name, help=text))
    return parser


def recordings_of(options: argparse.Namespace) -> Recordings:
    """Return the named recordings; what is missing of a corpus is said on stderr."""
    from ser_train.progress import Reporter  # noqa: PLC0415 - rich is not for --help

    folders, tables = Recordings.part(options.corpus)
    return Recordings(
        folders=(*folders, *options.train_dir),
        manifests=(*tables, *options.manifest),
        mapping=tuple(options.map),
        dropped=tuple(options.drop),
        all_labels=options.all_labels,
        note=Reporter().note,
    )


def _add_fit(parser: argparse.ArgumentParser) -> None:
    _add_recordings(parser)
    _add_training(parser)
    add = parser.add_argument
    add(
        "--init",
        **_KERAS,
        help="adapt this model instead of starting afresh: first a new head, then all layers",
    )
    add(
        *("-o", "--output"),
        **_KERAS | {"metavar": "OUT.keras"},
        required=True,
        help="model file to write",
    )
    add(
        "--training-speakers",
        **_SPEAKERS,
        help="train on these alone; who has no role is left out (default: all others)",
    )
    add(
        "--validation-speakers",
        **_SPEAKERS,
        help="watched in training, and for the temperature; 'none' for none "
        "(default: one of twelve of each corpus)",
    )
    add(
        "--test-speakers",
        **_SPEAKERS,
        help="never trained on, measured once at the end; 'none' for none (default: none; with "
        "--init one of four)",
    )
    add(
        "--mask-missing-labels",
        **_SWITCH,
        help="labels that a corpus lacks take no part in the loss of its clips",
    )
    add("--name", help="name in the model card (default: the network's)")
    add("--licence", help="licence of the weights, SPDX (default: the strictest corpus's)")
    add("--description", default="", help="a sentence for the model card")
    add("--limits", default="", help="where it is wrong, for the model card")
    add(
        "--cross-validation",
        **_FOLDER | _REPEATED,
        help="report folder of a cross-validation of this network, whose figures go into the "
        "card (repeatable); without validation speakers the first decides temperature and "
        "threshold",
    )
    add(
        "--run-dir",
        **_FOLDER,
        help="for checkpoints, curves and figures (default: beside the model file)",
    )
    add("--resume", **_SWITCH, help="go on from the last checkpoint")


def _add_cross_validate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--protocol", required=True, metavar="NAME", help=f"one of {', '.join(PROTOCOLS)}")
    _add_recordings(parser)
    add(
        "--also",
        **_FOLDER | _REPEATED,
        help="further corpora, which train in every fold and are never tested; may be given again",
    )
    _add_training(parser)
    add(
        "--init",
        **_KERAS,
        help="let every fold adapt this model, which has heard no tested speaker, instead of "
        "starting afresh",
    )
    add("--seeds", **_COUNT, default=1, help="so many from --seed on (default: 1)")
    add("--folds", type=_numbers, metavar="0,1", help="only these folds (default: all)")
    add(
        "--report-dir",
        **_FOLDER,
        required=True,
        help="for ledger, posteriors and report; folds that it holds are kept",
    )
    add("--run-dir", **_FOLDER, help="for checkpoints (default: runs in the former)")


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", **_FOLDER, help="report folder of a cross-validation")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", **_MODEL, help=".keras; .onnx with --stream or --conditions")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--stream", **_SWITCH, help="play the recordings through the live engine")
    how.add_argument("--conditions", **_SWITCH, help="with noise, in a room, over a telephone")
    _add_recordings(parser)
    add("--speakers", **_SPEAKERS, help="only these speakers (default: all)")
    add("--report-dir", **_FOLDER, help="for plots and figures")
    add("--seed", **_SEED, help="order of the stream (default: 0)")


def _add_ensemble(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("models", **_KERAS, nargs="+", help="two or more that hear alike")
    add(
        *("-o", "--output"),
        **_KERAS | {"metavar": "ALL.keras"},
        required=True,
        help="model file to write",
    )
    add("--name", help="name in the model card (default: the file's)")


def _add_predict(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", **_MODEL, help="a .keras or .onnx file")
    add("files", type=Path, nargs="+", metavar="FILE", help="recordings")
    add("--json", **_SWITCH, help="one JSON object for each recording")


def _add_recordings(parser: argparse.ArgumentParser) -> None:
    """Add the options that name recordings and say how they are read."""
    add = parser.add_argument
    add(
        "--corpus",
        **_FOLDER | _REPEATED | {"metavar": "PATH"},
        help="folder of a known corpus (RAVDESS, EMO-DB, nEMO, IEMOCAP, CREMA-D, TESS, SAVEE) or "
        "of several, or table path,label,speaker of other recordings (.csv); may be given again",
    )
    add("--train-dir", **_FOLDER | _REPEATED, help="as --corpus, always a folder")
    add(
        "--manifest",
        **_FOLDER | _REPEATED | {"metavar": "FILE.csv"},
        help="as --corpus, always a table",
    )
    add(
        "--map",
        **_REPEATED,
        type=_pair,
        metavar="OLD=NEW",
        help="rename a label; may be given again",
    )
    add("--drop", **_REPEATED, metavar="LABEL", help="leave a label out")
    add(
        "--all-labels",
        **_SWITCH,
        help="also the labels that a corpus leaves out or merges by default (IEMOCAP)",
    )
    add("--skip-broken", **_SWITCH, help="warn of unreadable files, do not stop")
    add("--cache-dir", **_FOLDER, help="for computed spectra (default: the user's)")


def _add_training(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    networks = ", ".join(NETWORKS)
    add(
        "--network",
        default="",
        metavar="NAME",
        help=f"one of {networks} (with --init: the model's)",
    )
    add("-B", "--batch", **_COUNT, help="clips in a batch (default: network's)")
    add("--epochs", **_COUNT, help="(default: the network's)")
    add("--seed", **_SEED, help="(default: 0)")
    add("--threads", **_COUNT, help="of TensorFlow (default: all cores)")


_COMMANDS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], str]] = {
    "fit": (_add_fit, "train a model and save it"),
    "cross-validate": (_add_cross_validate, "measure a network by a published protocol"),
    "report": (_add_report, "write the report of finished folds once more"),
    "evaluate": (_add_evaluate, "measure a model on recordings"),
    "ensemble": (_add_ensemble, "make one model of several"),
    "predict": (_add_predict, "name the emotion of recordings"),
}
"""The function that adds the options of each command, and its line of help."""
