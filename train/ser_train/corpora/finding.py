"""The known corpora, and how their clips are found on a disk."""

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from ser_live.errors import SerError
from ser_live.text import sanitize
from ser_train.corpora.corpus import SUFFIXES, Clip, Corpus, folders_in, reason
from ser_train.corpora.labels_in_file_names import CREMA_D, EMODB, RAVDESS, SAVEE, TESS
from ser_train.corpora.labels_in_tables import IEMOCAP, NEMO, OWN_COLUMNS, own_clip, read_manifest

KNOWN: tuple[Corpus, ...] = (RAVDESS, EMODB, NEMO, IEMOCAP, CREMA_D, TESS, SAVEE)
"""Every corpus that is known by name."""

LICENCES = {corpus.name: corpus.licence for corpus in KNOWN} | {
    "ordinary": "LicenseRef-non-commercial"
}
"""SPDX identifiers of the corpora that are known by name; interviews stay with their owners."""

_WANTED = (
    f"{', '.join(f'{corpus.title} ({corpus.layout})' for corpus in KNOWN)}, in the folder or in "
    "its sub-folders; for other recordings write a table path,label,speaker and give that .csv "
    "with --corpus"
)
_NAMES = tuple(corpus.name for corpus in KNOWN)
_MANIFEST = "manifest.csv"
_TALK_SUFFIXES = (*SUFFIXES, ".mp3", ".opus")
_POINTER = b"version https://git-lfs"
_LARGEST_POINTER_BYTES = 1024
_MOST_NAMES = 6


def find_clips(folder: Path, all_labels: bool = False, talk: bool = False) -> tuple[Clip, ...]:
    """Find the clips of every known corpus in a folder and its direct sub-folders.

    Parameters
    ----------
    folder : Path
        A corpus, or a folder that holds corpora.
    all_labels : bool
        Also the labels that a corpus leaves out or merges with others by default.
    talk : bool
        Where it holds no corpus, any recording in it or below: neutral, each its own speaker.

    Returns
    -------
    tuple of Clip
        Sorted by path inside each corpus; a recording that was copied counts once.

    Raises
    ------
    SerError
        If the folder is missing or holds no corpus; the message says what it holds. If what it
        holds is Git LFS's place holders instead of recordings.
    """
    wanted = "recordings, or a table of them (.csv)" if talk else _WANTED
    try:
        if not folder.is_dir():
            what = "a file" if folder.exists() else "missing"
            raise SerError(f"{sanitize(folder)} is {what}, wanted a folder with {wanted}")
        found = [clip for corpus in KNOWN for clip in _recordings(corpus, folder, all_labels)]
        if talk and not found:
            files = sorted(p for p in folder.rglob("[!.]*") if p.suffix.lower() in _TALK_SUFFIXES)
            name = _own_name(folder.resolve().name, _NAMES)
            found = [own_clip(file, str(file.relative_to(folder)), name) for file in files]
        if not found:
            raise SerError(f"{sanitize(folder)} holds {_listing(folder)}; wanted {wanted}")
        _require_recordings(folder, found)
    except (OSError, ValueError) as error:
        raise SerError(f"{sanitize(folder)}: cannot be searched ({reason(error)})") from error
    return tuple(found)


def find_talk(path: Path) -> tuple[Clip, ...]:
    """Find recordings of ordinary talk, whose weak label is neutral.

    Parameters
    ----------
    path : Path
        A table ``path[,label][,speaker]``, a folder with such a table named ``manifest.csv``, a
        known corpus, or any folder: then each recording in it or below has its own speaker.

    Raises
    ------
    SerError
        If it is missing or holds no recording.
    """
    table = path / _MANIFEST if path.is_dir() else path
    if not table.is_file():
        return find_clips(path, talk=True)
    if table.name != _MANIFEST:
        return find_listed(table, ("path",))
    return read_manifest(table, ("path",), _own_name(table.resolve().parent.name, _NAMES))


def find_listed(table: Path, needed: Sequence[str] = OWN_COLUMNS) -> tuple[Clip, ...]:
    """Read a table of one's own, as `read_manifest` does; its name makes it no known corpus."""
    return read_manifest(table, needed, _own_name(table.stem, LICENCES))


def shortfalls(clips: Iterable[Clip], all_labels: bool = False) -> tuple[str, ...]:
    """Return a line for each corpus of which less is there than was published.

    Parameters
    ----------
    clips : iterable of Clip
        As found, before any is left out.
    all_labels : bool
        As `find_clips` was told.
    """
    clips = tuple(clips)
    lines = []
    for corpus in KNOWN:
        mine = [clip for clip in clips if clip.corpus == corpus.name]
        size = corpus.size(all_labels)
        if 0 < len(mine) < size:
            lines.append(f"{corpus.name}: {len(mine)} of {size} clips{_absent(corpus, mine)}")
    return tuple(lines)


def _own_name(name: str, taken: Collection[str]) -> str:
    """Name a corpus of one's own: of a known one it would get speakers, licence and protocols."""
    return f"own-{name}" if name in taken else name


def _absent(corpus: Corpus, clips: Sequence[Clip]) -> str:
    there = {clip.speaker for clip in clips}
    absent = [name for name in corpus.speakers if f"{corpus.name}/{name}" not in there]
    if not absent:
        return ""
    more = f" and {len(absent) - _MOST_NAMES} more" if len(absent) > _MOST_NAMES else ""
    return f"; missing speakers: {', '.join(absent[:_MOST_NAMES])}{more}"


def _recordings(corpus: Corpus, folder: Path, all_labels: bool) -> list[Clip]:
    unique: dict[str, Clip] = {}
    for place in (folder, *folders_in(folder)):
        for name, clip in corpus.find(place):
            unique.setdefault(name, clip)
    clips = sorted(unique.values(), key=lambda clip: clip.path)
    if all_labels:
        return clips
    merged = dict(corpus.merged)
    return [
        dataclasses.replace(clip, label=merged.get(clip.label, clip.label))
        for clip in clips
        if clip.label not in corpus.left_out
    ]


def _require_recordings(folder: Path, clips: Sequence[Clip]) -> None:
    pointers = [clip.path for clip in clips if _is_pointer(clip.path)]
    if pointers:
        raise SerError(
            f"{sanitize(folder)}: {len(pointers)} of {len(clips)} recordings are Git LFS pointers, "
            f"not audio, such as {sanitize(pointers[0].name)}; run 'git lfs pull' in that clone, "
            "or get the recordings as an archive"
        )


def _is_pointer(path: Path) -> bool:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_POINTER_BYTES:
            return False
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:  # reading the recording will say what is wrong with it
        return False


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return "nothing"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return sanitize(", ".join(names[:3])) + more
