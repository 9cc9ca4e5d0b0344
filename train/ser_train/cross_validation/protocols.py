"""Ways of splitting corpora into folds, so that figures can be compared and repeated."""

from collections.abc import Callable, Sequence
from functools import partial

from ser_live.errors import SerError
from ser_train.corpora import KNOWN, Clip
from ser_train.cross_validation.protocol import Protocol
from ser_train.data.splits import Split, by_speakers

LUNA_TEST_ACTORS = (
    (2, 5, 14, 15, 16),
    (3, 6, 7, 13, 18),
    (10, 11, 12, 19, 20),
    (8, 17, 21, 23, 24),
    (1, 4, 9, 22),
)
"""Luna-Jimenez et al. 2021, "Multimodal emotion recognition on RAVDESS"."""
LUNA_VALIDATION_ACTORS = ((3, 6), (10, 11), (8, 17), (1, 14), (2, 5))
FOUR_LABELS = ("neutral", "happy", "sad", "angry")
_RANDOM_FOLDS = 5


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


def _everybody(name: str) -> tuple[str, ...]:
    """Give all speakers of a published corpus."""
    (speakers,) = [corpus.speakers for corpus in KNOWN if corpus.name == name]
    return tuple(f"{name}/{speaker}" for speaker in speakers)


def _numbered(folds: int, clips: Sequence[Clip]) -> tuple[str, ...]:
    return tuple(f"fold {fold}" for fold in range(folds))


def _luna(clips: Sequence[Clip], fold: int, seed: int) -> Split:
    tested = {f"ravdess/{actor:02d}" for actor in LUNA_TEST_ACTORS[fold]}
    held = {f"ravdess/{actor:02d}" for actor in LUNA_VALIDATION_ACTORS[fold]}
    return by_speakers(clips, held, tested)


def _random(clips: Sequence[Clip], fold: int, seed: int) -> Split:
    from sklearn.model_selection import KFold  # noqa: PLC0415 - comes with the train extra

    if len(clips) < _RANDOM_FOLDS:
        raise SerError(f"{_RANDOM_FOLDS} random folds need as many clips, got {len(clips)}")
    folds = KFold(_RANDOM_FOLDS, shuffle=True, random_state=seed).split(range(len(clips)))
    training, tested = list(folds)[fold]
    return Split(tuple(training.tolist()), (), tuple(tested.tolist()))


def _groups(group: Callable[[Clip], str], clips: Sequence[Clip]) -> tuple[str, ...]:
    return tuple(sorted({group(clip) for clip in clips}))


def _leave_one_out(
    group: Callable[[Clip], str], clips: Sequence[Clip], fold: int, seed: int
) -> Split:
    left_out = _groups(group, clips)[fold]
    return Split(
        tuple(i for i, clip in enumerate(clips) if group(clip) != left_out),
        (),
        tuple(i for i, clip in enumerate(clips) if group(clip) == left_out),
    )


def _speaker(clip: Clip) -> str:
    return clip.speaker


def _session(clip: Clip) -> str:
    """Both speakers of a dialogue: "iemocap/Ses01" of "iemocap/Ses01F"."""
    return clip.speaker[:-1]


def _corpus(clip: Clip) -> str:
    return clip.corpus


_OTHER_FOLDS = (
    "nobody is held out for the temperature: that of a fold is the one that fits the test clips "
    "of the other folds of the same seed best; last epoch, nothing is chosen"
)


def _random5(corpus: str) -> Protocol:
    return Protocol(
        name=f"{corpus}-random5",
        words="speaker-dependent: five random folds over clips, so that every speaker and "
        "sentence is also in training; not comparable with speaker-independent figures; "
        f"{_OTHER_FOLDS}",
        speaker_independent=False,
        corpora=(corpus,),
        fold_names=partial(_numbered, _RANDOM_FOLDS),
        parting=_random,
    )


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="ravdess-luna5",
            words="speaker-independent: the five actor-disjoint folds of Luna-Jimenez et al. "
            "2021; two further actors only for the temperature; last epoch, no choice on the "
            "test actors",
            speaker_independent=True,
            corpora=("ravdess",),
            fold_names=partial(_numbered, len(LUNA_TEST_ACTORS)),
            parting=_luna,
            speakers=_everybody("ravdess"),
        ),
        _random5("ravdess"),
        Protocol(
            name="emodb-loso",
            words="speaker-independent: each of the ten speakers of EMO-DB is tested by a "
            f"network that the other nine trained; {_OTHER_FOLDS}",
            speaker_independent=True,
            corpora=("emodb",),
            fold_names=partial(_groups, _speaker),
            parting=partial(_leave_one_out, _speaker),
            speakers=_everybody("emodb"),
        ),
        _random5("emodb"),
        Protocol(
            name="nemo-loso",
            words="speaker-independent: each speaker of nEMO that is there is tested by a "
            "network that the others trained, who speak the same sentences; " + _OTHER_FOLDS,
            speaker_independent=True,
            corpora=("nemo",),
            fold_names=partial(_groups, _speaker),
            parting=partial(_leave_one_out, _speaker),
        ),
        Protocol(
            name="iemocap-loso",
            words="speaker-independent: each of the five sessions of IEMOCAP, with both of its "
            "speakers, is tested by a network that the other four trained; angry, happy "
            f"(with excited), neutral and sad; {_OTHER_FOLDS}",
            speaker_independent=True,
            corpora=("iemocap",),
            fold_names=partial(_groups, _session),
            parting=partial(_leave_one_out, _session),
            speakers=_everybody("iemocap"),
            labels=FOUR_LABELS,
        ),
        Protocol(
            name="cross-corpus",
            words="unseen corpus: of RAVDESS (English), EMO-DB (German) and nEMO (Polish), each "
            "is tested by a network that the other two trained, with its angry, happy, neutral "
            "and sad clips; RAVDESS calm trains as neutral and is not tested; labels that a "
            f"corpus lacks are masked in the loss of its clips; {_OTHER_FOLDS}",
            speaker_independent=True,
            corpora=("ravdess", "emodb", "nemo"),
            fold_names=partial(_groups, _corpus),
            parting=partial(_leave_one_out, _corpus),
            renamed=(("calm", "neutral"),),
            tested=FOUR_LABELS,
        ),
    )
}
"""Every protocol by name."""
