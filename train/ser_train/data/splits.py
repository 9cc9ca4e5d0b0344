"""Splits into training, validation and test; each clip has at most one of these roles."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ser_live.errors import SerError
from ser_train.corpora import Clip, labels_of, speakers_of

_VALIDATION_SHARE = 12
"""One speaker of so many is held out for validation where the user names none."""
_TEST_SHARE = 4
"""In an adaptation, one speaker or one clip of each label of so many is held out for the test."""
_FEWEST_SPEAKERS = 3
"""With fewer, an adaptation holds clips out instead of speakers."""


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of clips by role; every clip has at most one."""

    training: tuple[int, ...]
    validation: tuple[int, ...]
    """Watched in training, and for the temperature."""
    test: tuple[int, ...]
    """Measured once, at the end."""
    speaker_independent: bool = True
    """False: the test clips are of speakers that train."""

    def speakers(self, clips: Sequence[Clip]) -> tuple[tuple[str, ...], ...]:
        """Return the speakers who train, who are watched and who are tested."""
        roles = (self.training, self.validation, self.test)
        return tuple(speakers_of(clips[index] for index in role) for role in roles)

    def parted(self, first: int) -> "tuple[Split, Split]":
        """Split again where two lists of clips were joined, after so many of the first."""

        def part(own: bool) -> Split:
            roles = (self.training, self.validation, self.test)
            less = 0 if own else first
            training, validation, test = (
                tuple(i - less for i in role if (i < first) is own) for role in roles
            )
            return Split(training, validation, test, self.speaker_independent)

        return part(True), part(False)


def by_speakers(clips: Sequence[Clip], validation: Iterable[str], test: Iterable[str]) -> Split:
    """Split clips by the role of their speakers, unchecked; all others train."""
    held, tested = set(validation), set(test)
    return Split(
        tuple(i for i, clip in enumerate(clips) if clip.speaker not in held | tested),
        tuple(i for i, clip in enumerate(clips) if clip.speaker in held),
        tuple(i for i, clip in enumerate(clips) if clip.speaker in tested),
    )


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


def require_one_role(*roles: Iterable[str]) -> None:
    """Check that no speaker has two roles.

    Raises
    ------
    SerError
        Naming the speakers.
    """
    counts = Counter(speaker for role in roles for speaker in set(role))
    twice = [speaker for speaker, count in counts.items() if count > 1]
    if twice:
        raise SerError(
            f"{_joined(twice)} would have two roles, wanted each speaker in one of training, "
            "validation and test"
        )


def require_disjoint(clips: Sequence[Clip], split: Split) -> None:
    """Check that no speaker has two roles and that all labels can be learnt.

    Raises
    ------
    SerError
        Naming the speakers, or the labels that no training clip has.
    """
    if not split.training:
        raise SerError("no speaker is left to train on; name fewer validation and test speakers")
    require_one_role(*split.speakers(clips))
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
        count = max(1, round(len(speakers) / _VALIDATION_SHARE)) if len(speakers) > 3 else 0
        spacing = len(speakers) / (count + 1)
        chosen += [speakers[round((k + 1) * spacing) - 1] for k in range(count)]
    return tuple(chosen)


@dataclass(frozen=True, slots=True)
class Named:
    """The speakers whose role the user has named."""

    training: tuple[str, ...] | None = None
    """None: all others."""
    validation: tuple[str, ...] | None = None
    """None: one of twelve of those that train, where there are four."""
    test: tuple[str, ...] | None = None
    """None: one of four, where there are three; else clips."""

    def speakers(self) -> set[str]:
        """Return all who are named."""
        return {*(self.training or ()), *(self.validation or ()), *(self.test or ())}


def only_named(clips: Sequence[Clip], named: Named) -> tuple[Clip, ...]:
    """Leave out speakers that no role names, if the training speakers are named.

    Raises
    ------
    SerError
        If a speaker does not occur.
    """
    wanted = named.speakers()
    require_present(wanted, speakers_of(clips))
    if named.training is None:
        return tuple(clips)
    return tuple(clip for clip in clips if clip.speaker in wanted)


def choose_roles(clips: Sequence[Clip], named: Named) -> Split:
    """Assign each clip a role: named speakers, else held-out speakers, else held-out clips.

    Raises
    ------
    SerError
        If a speaker does not occur or has two roles, or a label is left without a clip to train
        on.
    """
    require_present(named.speakers(), speakers_of(clips))
    require_one_role(named.training or (), named.validation or (), named.test or ())
    validation, test = set(named.validation or ()), set(named.test or ())
    if named.test is None:
        taken = validation | set(named.training or ())
        test = set(_evenly([s for s in speakers_of(clips) if s not in taken]))
        if not test:
            return _by_clips(clips, validation)
    if named.validation is None and named.training is None:
        validation = set(choose_validation_speakers(clips, test))
    split = by_speakers(clips, validation, test)
    require_disjoint(clips, split)
    return split


def _evenly(speakers: Sequence[str]) -> list[str]:
    if len(speakers) < _FEWEST_SPEAKERS:
        return []
    count = max(1, round(len(speakers) / _TEST_SHARE))
    spacing = len(speakers) / count
    return [speakers[int((k + 0.5) * spacing)] for k in range(count)]


def _by_clips(clips: Sequence[Clip], validation: set[str]) -> Split:
    """Hold out every fourth clip of each label; never its only one."""
    others = by_speakers(clips, validation, ())
    test: set[int] = set()
    for label in labels_of(clips):
        own = [i for i in others.training if clips[i].label == label]
        own.sort(key=lambda i: (clips[i].speaker, i))  # every fourth of each speaker, not of one
        test.update(own[1::_TEST_SHARE])
    training = tuple(i for i in others.training if i not in test)
    if not training:
        raise SerError("no speaker is left to train on; name fewer validation speakers")
    return Split(training, others.validation, tuple(sorted(test)), speaker_independent=False)


def _joined(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
