"""The recordings that a command is given: its arguments, and what they mean."""

import argparse
from pathlib import Path

from ser_train.data.selection import Recordings


def add_recordings(parser: argparse.ArgumentParser) -> None:
    """Let a command be given recordings, and say how they are read."""
    _add_paths(parser)
    parser.add_argument(
        "--map",
        type=_pair,
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="rename a label; may be given again",
    )
    parser.add_argument(
        "--drop", action="append", default=[], metavar="LABEL", help="leave a label out"
    )
    parser.add_argument(
        "--all-labels",
        action="store_true",
        help="also the labels that a corpus leaves out or merges by default (IEMOCAP)",
    )
    parser.add_argument(
        "--skip-broken", action="store_true", help="warn of unreadable files, do not stop"
    )
    parser.add_argument(
        "--cache-dir", type=Path, metavar="DIR", help="for computed spectra (default: the user's)"
    )


def recordings_of(options: argparse.Namespace) -> Recordings:
    """Give what `add_recordings` was told; what is missing of a corpus is said on stderr."""
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


def _add_paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="folder of a known corpus (RAVDESS, EMO-DB, nEMO, IEMOCAP, CREMA-D, TESS, SAVEE) or "
        "of several, or table path,label,speaker of other recordings (.csv); may be given again",
    )
    parser.add_argument(
        "--train-dir",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="as --corpus, always a folder",
    )
    parser.add_argument(
        "--manifest",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.csv",
        help="as --corpus, always a table",
    )


def _pair(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"{text!r} is not OLD=NEW")
    return old, new
