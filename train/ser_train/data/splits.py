"""Who trains, who is watched and who is tested when a model is adapted to few speakers."""

from collections.abc import Sequence
from dataclasses import dataclass

from ser_live.errors import SerError
from ser_train.corpora import Clip, labels_of, speakers_of
from ser_train.data.selection import (
    Split,
    by_speakers,
    choose_validation_speakers,
    in_two,
    require_disjoint,
    require_present,
)

_HELD_OUT_OF = 4
"""One speaker, or one clip of each label, of so many is held out where nobody is named."""
_FEWEST_SPEAKERS = 3
"""With fewer, clips are held out instead of speakers."""


@dataclass(frozen=True, slots=True)
class Named:
    """The speakers whose role the user has named."""

    training: tuple[str, ...] | None = None
    """None: all others."""
    validation: tuple[str, ...] | None = None
    """None: one of twelve of those that train, where there are four."""
    test: tuple[str, ...] | None = None
    """None: one of four, where there are three; else clips."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Clips by role."""

    split: Split
    speaker_independent: bool
    """False: the test clips are of speakers that train."""


def only_named(clips: Sequence[Clip], named: Named) -> tuple[Clip, ...]:
    """Leave out speakers that no role names, if the training speakers are named.

    Raises
    ------
    SerError
        If a speaker does not occur.
    """
    present = speakers_of(clips)
    roles = (named.training or (), named.validation or (), named.test or ())
    wanted = {speaker for role in roles for speaker in role}
    require_present(wanted, present)
    if named.training is None:
        return tuple(clips)
    return tuple(clip for clip in clips if clip.speaker in wanted)


def choose_roles(clips: Sequence[Clip], named: Named) -> Roles:
    """Give each clip a role: named speakers, else held-out speakers, else held-out clips.

    Raises
    ------
    SerError
        If a speaker has two roles, or a label is left without a clip to train on.
    """
    _require_one_role(named)
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
    return Roles(split, speaker_independent=True)


def _require_one_role(named: Named) -> None:
    twice = in_two(role or () for role in (named.training, named.validation, named.test))
    if twice:
        raise SerError(
            f"{min(twice)} cannot have two roles, wanted each speaker in one of training, "
            "validation and test"
        )


def _evenly(speakers: Sequence[str]) -> list[str]:
    if len(speakers) < _FEWEST_SPEAKERS:
        return []
    count = max(1, round(len(speakers) / _HELD_OUT_OF))
    spacing = len(speakers) / count
    return [speakers[int((k + 0.5) * spacing)] for k in range(count)]


def _by_clips(clips: Sequence[Clip], validation: set[str]) -> Roles:
    """Hold out every fourth clip of each label; never its only one."""
    test: set[int] = set()
    for label in labels_of(clips):
        own = [i for i, c in enumerate(clips) if c.label == label and c.speaker not in validation]
        own.sort(key=lambda i: (clips[i].speaker, i))  # every fourth of each speaker, not of one
        test.update(own[1::_HELD_OUT_OF])
    split = Split(
        tuple(i for i, c in enumerate(clips) if i not in test and c.speaker not in validation),
        tuple(i for i, c in enumerate(clips) if c.speaker in validation),
        tuple(sorted(test)),
    )
    if not split.training:
        raise SerError("no speaker is left to train on; name fewer validation speakers")
    return Roles(split, speaker_independent=False)
