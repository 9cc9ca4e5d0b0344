"""The recordings that a command is given, and the clips that they mean."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ser_live.errors import SerError
from ser_live.text import sanitize
from ser_train.corpora import LABELS, Clip, find_clips, find_listed, labels_of, relabel, shortfalls
from ser_train.corpora.labels_in_tables import OWN_COLUMNS


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
    with_speakers: bool = True
    """False: a table may lack the speakers; then each recording has its own."""
    note: Callable[[str], None] = field(default=lambda text: None, compare=False)
    """Told, in a line each, of which corpus a part is missing, and of labels that none has."""

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
        needed = OWN_COLUMNS if self.with_speakers else OWN_COLUMNS[:2]
        listed = [clip for table in self.manifests for clip in find_listed(table, needed)]
        clips = relabel(_once([*found, *listed]), self.mapping, self.dropped)
        own = ", ".join(sanitize(name) for name in labels_of(clips) if name not in LABELS)
        if own:
            self.note(f"warning: no known corpus has the label {own}; if it is a slip, use --map")
        return tuple(sorted(clips, key=lambda clip: (clip.corpus, clip.path.name, clip.path)))


def _once(clips: Iterable[Clip]) -> list[Clip]:
    """Leave all out but the first of those that are the same file."""
    unique: dict[Path, Clip] = {}
    for clip in clips:
        unique.setdefault(clip.path.resolve(), clip)
    return list(unique.values())
