"""Published ways of splitting RAVDESS, so that figures can be compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ser_live.errors import SerError
from ser_train.corpora import Clip
from ser_train.selection import Split, require_disjoint

LUNA_TEST_ACTORS = (
    (2, 5, 14, 15, 16),
    (3, 6, 7, 13, 18),
    (10, 11, 12, 19, 20),
    (8, 17, 21, 23, 24),
    (1, 4, 9, 22),
)
"""Luna-Jimenez et al. 2021, "Multimodal emotion recognition on RAVDESS"."""
LUNA_VALIDATION_ACTORS = ((3, 6), (10, 11), (8, 17), (1, 14), (2, 5))
_RANDOM_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Protocol:
    """A way of splitting a corpus into folds."""

    name: str
    words: str
    """What a reader must know to believe a figure."""
    speaker_independent: bool
    folds: int
    split: Callable[[Sequence[Clip], int, int], Split]
    """(clips sorted by name, fold, seed) to the split of that fold."""


def find_protocol(name: str) -> Protocol:
    """Give the protocol of that name.

    Raises
    ------
    SerError
        If there is none; the message lists the names.
    """
    if name not in PROTOCOLS:
        raise SerError(f"there is no protocol {name!r}; the protocols are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _luna(clips: Sequence[Clip], fold: int, seed: int) -> Split:
    tested = {f"ravdess/{actor:02d}" for actor in LUNA_TEST_ACTORS[fold]}
    held = {f"ravdess/{actor:02d}" for actor in LUNA_VALIDATION_ACTORS[fold]}
    missing = sorted((tested | held) - {clip.speaker for clip in clips})
    if missing:
        raise SerError(f"fold {fold} needs the speakers {', '.join(missing)}; wanted all RAVDESS")
    split = Split(
        tuple(i for i, clip in enumerate(clips) if clip.speaker not in tested | held),
        tuple(i for i, clip in enumerate(clips) if clip.speaker in held),
        tuple(i for i, clip in enumerate(clips) if clip.speaker in tested),
    )
    require_disjoint(clips, split)
    return split


def _random(clips: Sequence[Clip], fold: int, seed: int) -> Split:
    from sklearn.model_selection import KFold  # noqa: PLC0415 - comes with the train extra

    if len(clips) < _RANDOM_FOLDS:
        raise SerError(f"{_RANDOM_FOLDS} random folds need as many clips, got {len(clips)}")
    folds = KFold(_RANDOM_FOLDS, shuffle=True, random_state=seed).split(range(len(clips)))
    training, tested = list(folds)[fold]
    return Split(tuple(training.tolist()), (), tuple(tested.tolist()))


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="ravdess-luna5",
            words="speaker-independent: the five actor-disjoint folds of Luna-Jimenez et al. "
            "2021; two further actors only for the temperature; last epoch, no choice on the "
            "test actors",
            speaker_independent=True,
            folds=len(LUNA_TEST_ACTORS),
            split=_luna,
        ),
        Protocol(
            name="ravdess-random5",
            words="speaker-dependent: five random folds over clips, so that every actor and "
            "sentence is also in training; not comparable with speaker-independent figures; "
            "last epoch, uncalibrated",
            speaker_independent=False,
            folds=_RANDOM_FOLDS,
            split=_random,
        ),
    )
}
"""Every protocol by name."""
