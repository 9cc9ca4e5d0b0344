"""Emotional speech on disk: which clips there are, with label and speaker."""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ser_live.errors import SerError
from ser_live.quoting import plain, quoted
from ser_train.tables import Row, read_table, reason

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
)
"""Every label, in the order in which models give them."""

LICENCES = {"ravdess": "CC-BY-NC-SA-4.0", "emodb": "CC-BY-4.0", "nemo": "CC-BY-NC-SA-4.0"}
"""SPDX identifiers of the corpora that are known by name."""

SUFFIXES = (".wav", ".flac", ".ogg")
_RAVDESS_NAME = re.compile(r"03-01-0([1-8])-0[12]-0[12]-0[12]-(\d\d)")
_EMODB_NAME = re.compile(r"(\d\d)[ab]\d\d([WLEAFTN])[a-z]")
_EMODB_LABELS = {
    "W": "angry",
    "L": "boredom",
    "E": "disgust",
    "A": "fearful",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}
_NEMO_LABELS = {
    "anger": "angry",
    "fear": "fearful",
    "happiness": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprised": "surprised",
}
_WANTED = (
    "RAVDESS (Actor_01/03-01-...-01.wav), EMO-DB (wav/03a01Fa.wav) or nEMO (data.tsv), "
    "in the folder or in its sub-folders; for other recordings write a table "
    "path,label,speaker and give it with --manifest"
)


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording of one emotion."""

    path: Path
    label: str
    speaker: str
    """Unique over all corpora: "ravdess/07"."""
    corpus: str


def find_clips(folder: Path) -> tuple[Clip, ...]:
    """Find the clips of every known corpus in a folder or its direct sub-folders.

    Parameters
    ----------
    folder : Path
        A corpus, or a folder that holds corpora.

    Returns
    -------
    tuple of Clip
        Sorted by path inside each corpus; never empty.

    Raises
    ------
    SerError
        If the folder is missing or holds no corpus; the message says what it holds.
    """
    try:
        if not folder.is_dir():
            what = "a file" if folder.exists() else "missing"
            raise SerError(f"{plain(folder)} is {what}, wanted a folder with {_WANTED}")
        found = _corpus_in(folder)
        if not found:
            children = sorted(child for child in folder.iterdir() if child.is_dir())
            found = tuple(clip for child in children for clip in _corpus_in(child))
        if not found:
            raise SerError(f"{plain(folder)} holds {_listing(folder)}; wanted {_WANTED}")
    except (OSError, ValueError) as error:
        raise SerError(f"{plain(folder)}: cannot be searched ({reason(error)})") from error
    return found


def read_manifest(path: Path) -> tuple[Clip, ...]:
    """Read a table ``path,label,speaker``; paths count from the table's folder.

    Raises
    ------
    SerError
        If the table is missing, not text, lacks a column, or a row lacks a value.
    """
    columns, rows = read_table(path)
    missing = [name for name in ("path", "label", "speaker") if name not in columns]
    if missing:
        first = plain(",".join(columns))
        raise SerError(f"{plain(path)}: the first line is '{first}', wanted path,label,speaker")
    if not rows:
        raise SerError(f"{plain(path)}: the table has no rows under its first line")
    return tuple(_manifest_clip(path, row) for row in rows)


def relabel(
    clips: Iterable[Clip], mapping: Iterable[tuple[str, str]] = (), dropped: Iterable[str] = ()
) -> tuple[Clip, ...]:
    """Rename labels, leave labels out, and check that the rest is known.

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
        If a label is not in `LABELS` after the renaming, if an old or dropped label does not
        occur, or if fewer than two labels are left.
    """
    clips, names = tuple(clips), dict(mapping)
    _require_present(names, {clip.label for clip in clips}, "--map")
    renamed = [
        Clip(clip.path, names.get(clip.label, clip.label), clip.speaker, clip.corpus)
        for clip in clips
    ]
    dropped = set(dropped)
    _require_present(dropped, {clip.label for clip in renamed}, "--drop")
    kept = tuple(clip for clip in renamed if clip.label not in dropped)
    for clip in kept:
        if clip.label not in LABELS:
            raise SerError(
                f"{plain(clip.path)}: the label {quoted(clip.label)} is unknown; the labels are "
                f"{', '.join(LABELS)}; rename it with --map {plain(clip.label)}=..."
            )
    if len(labels_of(kept)) < 2:
        raise SerError(f"the clips have the labels {list(labels_of(kept))}, wanted two or more")
    return kept


def labels_of(clips: Iterable[Clip]) -> tuple[str, ...]:
    """Give the labels that occur, in the order of `LABELS`."""
    present = {clip.label for clip in clips}
    return tuple(label for label in LABELS if label in present)


def speakers_of(clips: Iterable[Clip]) -> tuple[str, ...]:
    """Give the speakers that occur, sorted."""
    return tuple(sorted({clip.speaker for clip in clips}))


def _require_present(wanted: Iterable[str], present: set[str], option: str) -> None:
    for label in wanted:
        if label not in present:
            raise SerError(
                f"{option} names the label {label!r}, but the clips have {sorted(present)}"
            )


def _corpus_in(folder: Path) -> tuple[Clip, ...]:
    return _ravdess(folder) or _nemo(folder) or _emodb(folder)


def _audio_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def _ravdess(folder: Path) -> tuple[Clip, ...]:
    """Speech only: the channel "02" is song, the modality "01" or "02" is video."""
    folders = [folder, *sorted(folder.glob("Actor_*"))]
    matches = [
        (path, _RAVDESS_NAME.fullmatch(path.stem)) for sub in folders for path in _audio_in(sub)
    ]
    return tuple(
        Clip(path, LABELS[int(match[1]) - 1], f"ravdess/{match[2]}", "ravdess")
        for path, match in matches
        if match
    )


def _emodb(folder: Path) -> tuple[Clip, ...]:
    paths = [*_audio_in(folder), *_audio_in(folder / "wav")]
    matches = [(path, _EMODB_NAME.fullmatch(path.stem)) for path in paths]
    return tuple(
        Clip(path, _EMODB_LABELS[match[2]], f"emodb/{match[1]}", "emodb")
        for path, match in matches
        if match
    )


def _nemo(folder: Path) -> tuple[Clip, ...]:
    """Only the rows whose recording is there; speaker names are padded with spaces."""
    table = folder / "data.tsv"
    if not table.is_file():
        return ()
    present = {path.stem: path for path in (*_audio_in(folder), *_audio_in(folder / "samples"))}
    clips = []
    columns, rows = read_table(table, delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [name for name in ("file_id", "emotion", "speaker_id") if name not in columns]
    if missing and rows:
        raise SerError(f"{plain(table)}: lacks the column {missing[0]}, which nEMO has")
    for row in rows:
        stem = Path(row.take("file_id")).stem
        if stem in present:
            emotion = row.take("emotion")
            label = _NEMO_LABELS.get(emotion, emotion)
            clips.append(Clip(present[stem], label, f"nemo/{row.take('speaker_id')}", "nemo"))
    return tuple(sorted(clips, key=lambda clip: clip.path))


def _manifest_clip(table: Path, row: Row) -> Clip:
    path, label, speaker = (row.take(name) for name in ("path", "label", "speaker"))
    return Clip(table.parent / path, label, f"{table.stem}/{speaker}", table.stem)


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return "nothing"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return plain(", ".join(names[:3])) + more
