"""Which clips take part, and in which role."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ser_live.errors import SerError
from ser_train.corpora import Clip, find_clips, read_manifest, relabel, shortfalls, speakers_of

_HELD_OUT_OF = 12
"""One speaker of so many is held out where the user names none."""


def _say_nothing(text: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Recordings:
    """Where clips come from and how their labels are read."""

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
        """Tell folders from tables (.csv)."""
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


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of clips by role; every clip has at most one."""

    training: tuple[int, ...]
    validation: tuple[int, ...]
    """Watched in training, and for the temperature."""
    test: tuple[int, ...]
    """Measured once, at the end."""

    def speakers(self, clips: Sequence[Clip]) -> tuple[tuple[str, ...], ...]:
        """Give who trains, who is watched and who is tested."""
        roles = (self.training, self.validation, self.test)
        return tuple(speakers_of(clips[index] for index in role) for role in roles)


def by_speakers(clips: Sequence[Clip], validation: Iterable[str], test: Iterable[str]) -> Split:
    """Give the clips of each speaker the speaker's role, unchecked; all others train."""
    held, tested = set(validation), set(test)
    return Split(
        tuple(i for i, clip in enumerate(clips) if clip.speaker not in held | tested),
        tuple(i for i, clip in enumerate(clips) if clip.speaker in held),
        tuple(i for i, clip in enumerate(clips) if clip.speaker in tested),
    )


def split_by_speakers(
    clips: Sequence[Clip], validation: Iterable[str], test: Iterable[str]
) -> Split:
    """Give each speaker one role.

    Parameters
    ----------
    clips : sequence of Clip
    validation, test : iterable of str
        Speakers; all others train.

    Raises
    ------
    SerError
        If a speaker does not occur or has two roles, or if nobody is left to train on.
    """
    held, tested, present = set(validation), set(test), set(speakers_of(clips))
    require_present(held | tested, present)
    if held & tested:
        raise SerError(f"{_joined(held & tested)} cannot be both validation and test speaker")
    split = by_speakers(clips, held, tested)
    require_disjoint(clips, split)
    return split


def require_present(wanted: Iterable[str], speakers: Iterable[str]) -> None:
    """Check that all speakers who are named occur.

    Raises
    ------
    SerError
        Naming the first who does not, and all who do.
    """
    unknown = sorted(set(wanted) - set(speakers))
    if unknown:
        raise SerError(f"there is no speaker {unknown[0]!r}; there are {_joined(speakers)}")


def in_two(roles: Iterable[Iterable[str]]) -> set[str]:
    """Give the speakers who have more than one role."""
    counts = Counter(speaker for role in roles for speaker in set(role))
    return {speaker for speaker, count in counts.items() if count > 1}


def require_apart(clips: Sequence[Clip], split: Split) -> None:
    """Check that no speaker has two roles.

    Raises
    ------
    SerError
        Naming the speakers.
    """
    shared = in_two(split.speakers(clips))
    if shared:
        raise SerError(f"{_joined(shared)} would be in two of training, validation and test")


def require_disjoint(clips: Sequence[Clip], split: Split) -> None:
    """Check that no speaker has two roles and that all labels can be learnt.

    Raises
    ------
    SerError
        Naming the speakers, or the labels that no training clip has.
    """
    if not split.training:
        raise SerError("no speaker is left to train on; name fewer validation and test speakers")
    require_apart(clips, split)
    learnt = {clips[index].label for index in split.training}
    missing = {clip.label for clip in clips} - learnt
    if missing:
        raise SerError(f"no training clip has the label {_joined(missing)}; leave it out (--drop)")


def choose_validation_speakers(clips: Sequence[Clip], test: Iterable[str]) -> tuple[str, ...]:
    """Hold out one speaker of twelve of each corpus, evenly spaced, where there are four."""
    tested = set(test)
    chosen: list[str] = []
    for corpus in sorted({clip.corpus for clip in clips}):
        speakers = speakers_of(
            clip for clip in clips if clip.corpus == corpus and clip.speaker not in tested
        )
        count = max(1, round(len(speakers) / _HELD_OUT_OF)) if len(speakers) > 3 else 0
        spacing = len(speakers) / (count + 1)
        chosen += [speakers[round((k + 1) * spacing) - 1] for k in range(count)]
    return tuple(chosen)


def _once(clips: Iterable[Clip]) -> list[Clip]:
    """Leave all out but the first of those that are the same file."""
    unique: dict[Path, Clip] = {}
    for clip in clips:
        unique.setdefault(clip.path.resolve(), clip)
    return list(unique.values())


def _joined(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
