"""Facts of a published corpus, and the listing of its folders."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ser_train.corpora.clip import Clip

SUFFIXES = (".wav", ".flac", ".ogg")


@dataclass(frozen=True, slots=True)
class Corpus:
    """A published corpus."""

    name: str
    """Of its module, and the first part of its speakers' names."""
    title: str
    """As its makers write it."""
    licence: str
    """SPDX identifier; LicenseRef-... where its makers wrote an agreement of their own."""
    layout: str
    """By what it is known on a disk: a folder or table in it."""
    speakers: tuple[str, ...]
    """All who speak in the published corpus."""
    counts: tuple[tuple[str, int], ...]
    """Labels and how many clips of each were published."""
    find: Callable[[Path], Iterable[tuple[str, Clip]]]
    """Function that yields the recordings in a folder: the name in the corpus, and the clip.

    Two files of one name are one recording that was copied.
    """
    left_out: tuple[str, ...] = ()
    """Labels that are taken on request only."""
    merged: tuple[tuple[str, str], ...] = ()
    """Old and new labels that are told apart on request only."""

    def size(self, all_labels: bool = False) -> int:
        """Return how many clips a complete copy has, with or without the labels left out."""
        return sum(n for label, n in self.counts if all_labels or label not in self.left_out)


def audio_in(*folders: Path) -> Iterator[Path]:
    """Yield the recordings of each folder that exists, sorted.

    The copies that macOS leaves beside them (``._name.wav``) have no corpus's names.
    """
    for folder in folders:
        if folder.is_dir():
            yield from sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)


def folders_in(folder: Path) -> list[Path]:
    """Return the folders inside a folder, sorted, without hidden ones."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir()
    )
