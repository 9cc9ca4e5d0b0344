"""A corpus and its clips: what is known of them, and what a set of clips has."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import LONGEST_NAME, MOST_LABELS
from ser_live.text import quoted, sanitize

LABELS = (
    "neutral",
    "calm",
    "happy",
    "sad",
    "angry",
    "fearful",
    "disgust",
    "surprised",
    "boredom",
    "excited",
    "frustrated",
)
"""Every label, in the order in which models give them: trained models rely on it, so append."""

SUFFIXES = (".wav", ".flac", ".ogg")

Sex = Literal["female", "male"]
Strength = Literal["normal", "strong"]


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording of one emotion."""

    path: Path
    label: str
    speaker: str
    """Unique over all corpora: "ravdess/07"."""
    corpus: str
    sex: Sex | None = None
    """Of the speaker; None where the corpus does not tell."""
    strength: Strength | None = None
    """Intensity that the actor was asked for; None where the corpus does not tell."""
    place: str = dataclasses.field(default="", compare=False)
    """Path in a table of one's own; empty: the file's name tells the clips of the corpus apart."""

    @property
    def name(self) -> str:
        """Corpus and recording, unique over all corpora: "ravdess/03-01-03-01-01-01-07.flac"."""
        return f"{self.corpus}/{self.place or self.path.name}"


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


def relabel(
    clips: Iterable[Clip], mapping: Iterable[tuple[str, str]] = (), dropped: Iterable[str] = ()
) -> tuple[Clip, ...]:
    """Rename labels, leave labels out, and check that the rest can be those of a model.

    Parameters
    ----------
    clips : iterable of Clip
    mapping : iterable of (str, str)
        Old and new label; done before the dropping.
    dropped : iterable of str
        Labels to leave out.

    Raises
    ------
    SerError
        If an old or dropped label does not occur, or if fewer than two labels are left, or more
        or longer ones than a model card holds.
    """
    clips, names = tuple(clips), dict(mapping)
    _require_present(names, {clip.label for clip in clips}, "--map")
    renamed = [dataclasses.replace(clip, label=names.get(clip.label, clip.label)) for clip in clips]
    dropped = set(dropped)
    _require_present(dropped, {clip.label for clip in renamed}, "--drop")
    kept = tuple(clip for clip in renamed if clip.label not in dropped)
    labels = labels_of(kept)
    if len(labels) < 2:
        raise SerError(f"the clips have the labels {list(labels)}, wanted two or more")
    longest = max(labels, key=len)
    if len(labels) > MOST_LABELS or len(longest) > LONGEST_NAME:
        raise SerError(
            f"the clips have {len(labels)} labels, the longest is {quoted(longest)}; wanted at "
            f"most {MOST_LABELS} of {LONGEST_NAME} characters: is it the column of the labels?"
        )
    return kept


def labels_of(clips: Iterable[Clip]) -> tuple[str, ...]:
    """Return the labels that occur, in the order of `in_order`."""
    return in_order(clip.label for clip in clips)


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return each label once, in the order of `LABELS`; own ones behind, sorted."""
    present = set(labels)
    known = tuple(label for label in LABELS if label in present)
    return known + tuple(sorted(present.difference(LABELS)))


def truth_of(clips: Iterable[Clip], labels: Sequence[str]) -> NDArray[np.intp]:
    """Return the index of each clip's label."""
    return np.array([labels.index(clip.label) for clip in clips], np.intp)


def speakers_of(clips: Iterable[Clip]) -> tuple[str, ...]:
    """Return the speakers that occur, sorted."""
    return tuple(sorted({clip.speaker for clip in clips}))


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


def reason(error: Exception) -> str:
    """Return what the system says of an error, without its number and the path."""
    return sanitize(getattr(error, "strerror", None) or error)


def _require_present(wanted: Iterable[str], present: set[str], option: str) -> None:
    for label in wanted:
        if label not in present:
            raise SerError(
                f"{option} names the label {label!r}, but the clips have {sorted(present)}"
            )
