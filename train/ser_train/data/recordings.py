"""The recordings that a command is given: its arguments, and the clips that they mean."""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ser_live.errors import SerError
from ser_train.corpora import Clip, find_clips, read_manifest, relabel, shortfalls


def _say_nothing(text: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Recordings:
    """Places of clips, and the reading of their labels."""

    folders: tuple[Path, ...] = ()
    manifests: tuple[Path, ...] = ()
    mapping: tuple[tuple[str, str], ...] = ()
    """Old and new labels."""
    dropped: tuple[str, ...] = ()
    """Labels that are left out."""
    all_labels: bool = False
    """Also the labels that a corpus leaves out or merges by default."""
    own_labels: bool = False
    """Also labels that no corpus of ours has."""
    note: Callable[[str], None] = field(default=_say_nothing, compare=False)
    """Told, in a line each, of which corpus a part is missing."""

    @staticmethod
    def part(paths: Iterable[Path]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
        """Part paths into folders and tables (.csv)."""
        paths = tuple(paths)
        tables = tuple(p for p in paths if p.suffix.lower() == ".csv" and not p.is_dir())
        return tuple(path for path in paths if path not in tables), tables

    def find(self) -> tuple[Clip, ...]:
        """Find all clips, in a fixed order; a file that is named twice counts once."""
        if not self.folders and not self.manifests:
            raise SerError(
                "no recordings are named; give --corpus PATH (or --train-dir DIR, or --manifest "
                "FILE.csv)"
            )
        found = _once(clip for path in self.folders for clip in find_clips(path, self.all_labels))
        for line in shortfalls(found, self.all_labels):
            self.note(line)
        own = [clip for table in self.manifests for clip in read_manifest(table)]
        clips = relabel(_once([*found, *own]), self.mapping, self.dropped, self.own_labels)
        return tuple(sorted(clips, key=lambda clip: (clip.corpus, clip.path.name, clip.path)))


def add_recordings(parser: argparse.ArgumentParser) -> None:
    """Add the options that name recordings and say how they are read."""
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
    """Return what `add_recordings` was told; what is missing of a corpus is said on stderr."""
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


def _once(clips: Iterable[Clip]) -> list[Clip]:
    """Leave all out but the first of those that are the same file."""
    unique: dict[Path, Clip] = {}
    for clip in clips:
        unique.setdefault(clip.path.resolve(), clip)
    return list(unique.values())
