"""Roles of speakers and clips: training, validation, held out."""

import pytest

from helpers.tiny_corpora import clips_of
from ser_live import SerError
from ser_train.corpora import Clip
from ser_train.data.splits import Named, Split, choose_roles, only_named, require_disjoint


def speakers_in(clips: list[Clip], role: tuple[int, ...]) -> set[str]:
    return {clips[index].speaker for index in role}


@pytest.mark.parametrize(("count", "tested"), [(3, 1), (4, 1), (6, 2), (10, 2), (12, 3)])
def test_a_quarter_of_the_speakers_is_held_out(count: int, tested: int) -> None:
    clips = clips_of(**dict.fromkeys("abcdefghijklm"[:count], "hs"))
    split = choose_roles(clips, Named())
    assert split.speaker_independent
    assert len(speakers_in(clips, split.test)) == tested
    assert sorted(split.training + split.validation + split.test) == list(range(len(clips)))
    assert not speakers_in(clips, split.training) & speakers_in(clips, split.test)
    assert bool(split.validation) == (count - tested >= 4)


@pytest.mark.parametrize("speakers", [1, 2])
def test_of_few_speakers_clips_are_held_out_and_every_label_trains(speakers: int) -> None:
    clips = clips_of(**dict.fromkeys("ab"[:speakers], "hhhsssssa"))
    split = choose_roles(clips, Named())
    assert not split.speaker_independent
    assert split.test
    assert not set(split.test) & set(split.training)
    assert {clips[index].label for index in split.training} == {"happy", "sad", "angry"}


def test_a_label_with_one_clip_trains() -> None:
    split = choose_roles(clips_of(a="hs"), Named())
    assert split == Split((0, 1), (), (), speaker_independent=False)


def test_named_speakers_have_their_role() -> None:
    clips = clips_of(a="hs", b="hs", c="hs", d="hs", e="hs")
    named = Named(("x/a", "x/b"), ("x/c",), ("x/d",))
    kept = list(only_named(clips, named))
    assert {clip.speaker for clip in kept} == {"x/a", "x/b", "x/c", "x/d"}
    split = choose_roles(kept, named)
    assert speakers_in(kept, split.training) == {"x/a", "x/b"}
    assert speakers_in(kept, split.validation) == {"x/c"}
    assert speakers_in(kept, split.test) == {"x/d"}


def test_an_ordinary_split_gives_no_speaker_two_roles() -> None:
    with pytest.raises(SerError, match="x/a would have two roles"):
        require_disjoint(clips_of(a="hs"), Split((0, 1), (), (0,)))


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        (Named(("x/z",)), "there is no speaker 'x/z'; there are x/a, x/b"),
        (Named(test=("x/z",)), "there is no speaker 'x/z'"),
        (Named(("x/a",), None, ("x/a",)), "x/a would have two roles"),
        (Named(None, ("x/a",), ("x/a",)), "x/a would have two roles"),
        (Named(None, ("x/a",), ("x/b",)), "no speaker is left to train on"),
        (Named(None, ("x/a", "x/b"), None), "no speaker is left to train on"),
    ],
)
def test_roles_that_cannot_be(named: Named, reason: str) -> None:
    clips = clips_of(a="hs", b="hs")
    with pytest.raises(SerError, match=reason):
        choose_roles(only_named(clips, named), named)
