"""Options of each command of ``ser-train``, as argparse reads them."""

import argparse
from pathlib import Path
from typing import Any

from ser_train.cross_validation.protocols import PROTOCOLS
from ser_train.data.recordings import Recordings
from ser_train.models.registry import NETWORKS
from ser_train.progress import Reporter


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
        raise argparse.ArgumentTypeError(f"{text!r} is not two parts with = between them")
    return old, new


# Kinds of options: what argparse is told of each beside its name and its help.
_Kind = dict[str, Any]
_SWITCH: _Kind = {"action": "store_true"}
_REPEATED: _Kind = {"action": "append", "default": []}
_FOLDER: _Kind = {"type": Path, "metavar": "DIR"}
_FOLDERS: _Kind = _FOLDER | _REPEATED
_SPEAKERS: _Kind = {"type": _names, "metavar": "A,B"}
_REPORT: _Kind = _FOLDER | {"dest": "report_folder"}
_RUN: _Kind = _FOLDER | {"dest": "run_folder"}
_COUNT: _Kind = {"type": _positive, "metavar": "N"}
_SEED: _Kind = {"type": _natural, "metavar": "N", "default": 0}
_MODEL: _Kind = {"type": Path, "metavar": "MODEL"}
_KERAS: _Kind = {"type": Path, "metavar": "MODEL.keras"}
_OUTPUT: _Kind = {"type": Path, "metavar": "OUT.keras", "required": True}


def recordings_of(options: argparse.Namespace) -> Recordings:
    """Return the named recordings; what is missing of a corpus is said on stderr."""
    folders, tables = Recordings.part(options.corpus)
    return Recordings(
        folders=(*folders, *options.train_dir),
        manifests=(*tables, *options.manifest),
        mapping=tuple(options.map),
        dropped=tuple(options.drop),
        all_labels=options.all_labels,
        note=Reporter().note,
    )


def add_fit(parser: argparse.ArgumentParser) -> None:
    """Add the options of a training or an adaptation."""
    _add_recordings(parser)
    _add_training(parser)
    add = parser.add_argument
    add("--init", **_KERAS, help="begin with this model: first a new head learns, then all layers")
    add("-o", "--output", **_OUTPUT, help="model file to write")
    add("--training-speakers", **_SPEAKERS, help="train on these alone (default: on all others)")
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
        "--ordinary",
        **_FOLDERS | {"metavar": "PATH"},
        help="talk without labels, a folder or a table path[,label][,speaker] (.csv): a second "
        "head learns to tell it from the other recordings (repeatable)",
    )
    add(
        "--acted",
        **_FOLDERS | {"metavar": "PATH"},
        help="further acted emotion, as --ordinary, that this head alone hears beside the other "
        "recordings: one corpus it would know by its room (repeatable)",
    )
    add("--mask-missing-labels", **_SWITCH, help="leave labels that a corpus lacks out of its loss")
    add("--name", help="name in the model card (default: the network's)")
    add("--licence", help="licence of the weights, SPDX (default: the strictest corpus's)")
    add("--description", default="", help="a sentence for the model card")
    add("--limits", default="", help="where it is wrong, for the model card")
    add(
        "--cross-validation",
        **_FOLDERS | {"dest": "cross_validations"},
        help="report folder of a cross-validation of this network, whose figures go into the "
        "card (repeatable); without validation speakers the first decides temperature and "
        "threshold",
    )
    add("--run-dir", **_RUN, help="for checkpoints and figures (default: beside the model file)")
    add("--resume", **_SWITCH, help="go on from the last checkpoint")


def add_cross_validate(parser: argparse.ArgumentParser) -> None:
    """Add the options of a cross-validation."""
    add = parser.add_argument
    add(
        "--protocol",
        required=True,
        metavar="NAME",
        help=f"one of {', '.join(PROTOCOLS)}; the last three take any recordings: each speaker "
        "left out, five groups of speakers, or five random folds of clips",
    )
    _add_recordings(parser)
    add("--also", **_FOLDERS, help="corpora that train in every fold, never tested (as --corpus)")
    _add_training(parser)
    add("--init", **_KERAS, help="let every fold adapt this model, which heard no tested speaker")
    add("--seeds", **_COUNT, default=1, help="so many from --seed on (default: 1)")
    add("--folds", type=_numbers, metavar="0,1", help="only these folds (default: all)")
    add(
        "--report-dir",
        **_REPORT,
        required=True,
        help="for ledger, posteriors and report; folds that it holds are kept",
    )
    add("--run-dir", **_RUN, help="for checkpoints (default: runs in the former)")
    _add_tables(parser)


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the folder of a report."""
    parser.add_argument("folder", **_FOLDER, help="report folder of a cross-validation")
    _add_tables(parser)


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Add the two reports of a comparison."""
    add = parser.add_argument
    text = "report folders, A and B, of cross-validate or evaluate, over the same clips"
    add("reports", type=Path, nargs=2, metavar="REPORT", help=text)
    add("--report-dir", **_REPORT, help="for the page, its plot and the figures")
    _add_tables(parser)


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Add the options of a measurement."""
    add = parser.add_argument
    add("model", **_MODEL, help=".keras; with one of the next three also .onnx or a shipped name")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--stream", **_SWITCH, help="play the recordings through the live engine")
    how.add_argument("--conditions", **_SWITCH, help="with noise, from afar, by telephone, as MP3")
    how.add_argument(
        "--ordinary",
        **_FOLDERS | {"metavar": "PATH", "nargs": "+", "action": "extend"},
        help="talk without labels, a folder or a table path[,label][,speaker] (.csv): how often "
        "the live engine is sure of an emotion in it",
    )
    how.add_argument(
        "--calibrated",
        **_KERAS | {"metavar": "OUT.keras"},
        help="also write the model with the temperature and the threshold of uncertainty that "
        "these strangers give",
    )
    _add_recordings(parser)
    _add_own_network(parser)
    add("--speakers", **_SPEAKERS, help="only these speakers (default: all)")
    add("--report-dir", **_REPORT, help="for plots, figures and the answer to each clip")
    _add_tables(parser)
    add("--seed", **_SEED, help="order of the stream (default: 0)")


def add_ensemble(parser: argparse.ArgumentParser) -> None:
    """Add the members of an ensemble and its file."""
    add = parser.add_argument
    add("models", **_KERAS, nargs="+", help="two or more that hear alike")
    add("-o", "--output", **_OUTPUT, help="model file to write")
    _add_own_network(parser)
    add("--name", help="name in the model card (default: the file's)")
    add("--cross-validation", **_FOLDER, help="report with as many seeds that calibrates the mean")


def add_predict(parser: argparse.ArgumentParser) -> None:
    """Add a model and the recordings that it hears."""
    add = parser.add_argument
    add("model", **_MODEL, help="a .keras or .onnx file, or a shipped name")
    add("files", type=Path, nargs="+", metavar="FILE", help="recordings")
    _add_own_network(parser)
    odds_help = "odds of everyday talk, or even ones, as for acted emotion (default: everyday)"
    add("--prior", choices=("everyday", "even"), help=odds_help)
    add("--json", **_SWITCH, help="one JSON object for each recording")


def _add_own_network(parser: argparse.ArgumentParser) -> None:
    """Add the name of code that a model file needs."""
    text = "package.module:name with the layers of a network of your own (default: none is run)"
    parser.add_argument("--network", default="", metavar="NAME", help=text)


def _add_tables(parser: argparse.ArgumentParser) -> None:
    kind: _Kind = {"dest": "tables", "action": "append_const", "default": []}
    for form, title in (("csv", "CSV"), ("latex", "LaTeX (booktabs)")):
        text = f"also write the report's tables as {title}"
        parser.add_argument(f"--{form}", **kind, const=form, help=text)


def _add_recordings(parser: argparse.ArgumentParser) -> None:
    """Add the options that name recordings and say how they are read."""
    add = parser.add_argument
    add(
        "--corpus",
        **_FOLDERS | {"metavar": "PATH"},
        help="folder of a known corpus (RAVDESS, EMO-DB, nEMO, IEMOCAP, CREMA-D, TESS, SAVEE) or "
        "of several, or table path,label,speaker of other recordings (.csv; repeatable)",
    )
    add("--train-dir", **_FOLDERS, help="as --corpus, always a folder")
    add("--manifest", **_FOLDERS | {"metavar": "FILE.csv"}, help="as --corpus, always a table")
    add("--map", **_REPEATED, type=_pair, metavar="OLD=NEW", help="rename a label (repeatable)")
    add("--drop", **_REPEATED, metavar="LABEL", help="leave a label out")
    add("--all-labels", **_SWITCH, help="also labels that a corpus leaves out or merges (IEMOCAP)")
    add("--skip-broken", **_SWITCH, help="leave out unreadable files and those without speech")
    add("--cache-dir", **_FOLDER, help="for computed spectra (default: the user's)")


def _add_training(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    names = ", ".join(NETWORKS)
    add(
        "--network",
        default="",
        metavar="NAME",
        help=f"one of {names}, several joined by +, or your own, package.module:function "
        "(with --init: the model's)",
    )
    add(
        "--encoder",
        type=Path,
        metavar="FILE",
        help="model.safetensors of openai/whisper-tiny.en, which emotion-whisper begins with",
    )
    text = "clips in a batch (default: network's)"
    add("-B", "--batch", **_COUNT, dest="batch_clips", help=text)
    add("--epochs", **_COUNT, help="(default: the network's)")
    add(
        "--set",
        **_REPEATED | {"dest": "settings"},
        type=_pair,
        metavar="recipe.FIELD=VALUE",
        help="change the recipe, such as recipe.learning_rate=0.001 or "
        "recipe.augmentation.noise_snr_db=10,40 (repeatable)",
    )
    add("--seed", **_SEED, help="(default: 0)")
    text = "keep epochs.csv and events for TensorBoard of each training in --run-dir"
    add("--logs", **_SWITCH, help=text)
    add("--threads", **_COUNT, help="of TensorFlow (default: all cores)")
