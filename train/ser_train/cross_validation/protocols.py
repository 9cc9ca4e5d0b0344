"""Protocols: which clips of which corpora take part, and how they are split into folds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from ser_live.errors import SerError
from ser_train.corpora import KNOWN, Clip, speakers_of
from ser_train.data.splits import Split, by_speakers, require_one_role

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
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Protocol:
    """Choice of the clips that take part, and their split into folds."""

    name: str
    words: str
    """Everything that a reader must know to believe a figure."""
    speaker_independent: bool = True
    corpora: tuple[str, ...] = ()
    """All of them must be there; clips of others are left out. Empty: any take part."""
    group: Callable[[Clip], str] | None = None
    """Of a clip: each fold tests one group, and all others train; None: ``parting`` decides."""
    parting: Callable[[Sequence[Clip], int, int], Split] | None = None
    """(clips in a fixed order, fold, seed) to the split of one of five folds."""
    speakers: tuple[str, ...] = ()
    """Speakers that must all be there; empty: any."""
    labels: tuple[str, ...] = ()
    """Other clips are left out; empty: all labels of the corpora."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Old and new labels of training clips."""
    tested: tuple[str, ...] = ()
    """Labels of test clips, before the renaming; empty: all."""
    fewest_speakers: int = 1

    def choose(self, clips: Sequence[Clip]) -> tuple[Clip, ...]:
        """Keep the clips that take part.

        Raises
        ------
        SerError
            If a corpus or a speaker is missing, or there are too few.
        """
        present = {clip.corpus for clip in clips}
        missing = [corpus for corpus in self.corpora if corpus not in present]
        if missing:
            raise SerError(
                f"{self.name} needs {', '.join(missing)}, and no --corpus holds it; there is "
                f"{', '.join(sorted(present))}"
            )
        chosen = tuple(
            clip
            for clip in clips
            if clip.corpus in (self.corpora or present)
            and (not self.labels or clip.label in self.labels)
        )
        there = speakers_of(chosen)
        if len(there) < self.fewest_speakers:
            raise SerError(
                f"{self.name} needs {self.fewest_speakers} speakers or more, got {', '.join(there)}"
            )
        absent = sorted(set(self.speakers) - set(there))
        if absent:
            raise SerError(
                f"{self.name} needs the speakers {', '.join(absent)}, and no --corpus holds them; "
                "wanted the whole corpus"
            )
        return chosen

    def fold_names(self, clips: Sequence[Clip]) -> tuple[str, ...]:
        """Return the name of each fold."""
        if self.group is None:
            return tuple(f"fold {fold}" for fold in range(_FOLDS))
        return tuple(sorted({self.group(clip) for clip in clips}))

    def split(self, clips: Sequence[Clip], fold: int, seed: int) -> Split:
        """Return the roles of the chosen clips in one fold.

        Raises
        ------
        SerError
            If a speaker would be heard in training and in the test, if a role is empty, or if a
            label is tested that no clip trains.
        """
        parts = (self.parting or self._leave_one_out)(clips, fold, seed)
        test = parts.test
        if self.tested:
            test = tuple(index for index in test if clips[index].label in self.tested)
        split = Split(parts.training, parts.validation, test)
        if not split.training or not split.test:
            raise SerError(f"fold {fold} of {self.name} has no clips to train on or to test")
        if self.speaker_independent:
            require_one_role(*split.speakers(clips))
        learnt = {self.rename(clips[index].label) for index in split.training}
        unknown = sorted({clips[index].label for index in split.test} - learnt)
        if unknown:
            raise SerError(
                f"fold {fold} tests the label {unknown[0]}, which no training clip has; leave it "
                "out (--drop)"
            )
        return split

    def _leave_one_out(self, clips: Sequence[Clip], fold: int, seed: int) -> Split:
        names = [self.group(clip) if self.group else "" for clip in clips]
        left_out = sorted(set(names))[fold]
        return Split(
            tuple(i for i, name in enumerate(names) if name != left_out),
            (),
            tuple(i for i, name in enumerate(names) if name == left_out),
        )

    def rename(self, label: str) -> str:
        """Return the label under which a clip trains."""
        return dict(self.renamed).get(label, label)


def find_protocol(name: str) -> Protocol:
    """Return the protocol of that name.

    Raises
    ------
    SerError
        If there is none; the message lists the names.
    """
    if name not in PROTOCOLS:
        raise SerError(f"there is no protocol {name!r}; the protocols are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _all_speakers(name: str) -> tuple[str, ...]:
    """Return all speakers of a published corpus."""
    (speakers,) = [corpus.speakers for corpus in KNOWN if corpus.name == name]
    return tuple(f"{name}/{speaker}" for speaker in speakers)


def _luna(clips: Sequence[Clip], fold: int, seed: int) -> Split:
    tested = {f"ravdess/{actor:02d}" for actor in LUNA_TEST_ACTORS[fold]}
    held = {f"ravdess/{actor:02d}" for actor in LUNA_VALIDATION_ACTORS[fold]}
    return by_speakers(clips, held, tested)


def _random(clips: Sequence[Clip], fold: int, seed: int) -> Split:
    from sklearn.model_selection import KFold  # noqa: PLC0415 - comes with the train extra

    if len(clips) < _FOLDS:
        raise SerError(f"{_FOLDS} random folds need as many clips, got {len(clips)}")
    return _parted(KFold(_FOLDS, shuffle=True, random_state=seed).split(clips), fold)


def _groups(clips: Sequence[Clip], fold: int, seed: int) -> Split:
    """Test every speaker in one fold, about as many clips in each; alike for every seed."""
    from sklearn.model_selection import GroupKFold  # noqa: PLC0415 - comes with the train extra

    speakers = [clip.speaker for clip in clips]
    return _parted(GroupKFold(_FOLDS).split(clips, groups=speakers), fold)


def _parted(folds: Iterable[Any], fold: int) -> Split:
    training, tested = list(folds)[fold]
    return Split(tuple(training.tolist()), (), tuple(tested.tolist()))


_SPEAKER, _CORPUS = attrgetter("speaker"), attrgetter("corpus")


def _session(clip: Clip) -> str:
    """Both speakers of a dialogue: "iemocap/Ses01" of "iemocap/Ses01F"."""
    return clip.speaker[:-1]


_OTHER_FOLDS = (
    "the temperature of a fold is the one that fits the test clips of the other folds of the same "
    "seed best; last epoch"
)


def _random5(*corpora: str) -> Protocol:
    return Protocol(
        name="-".join((*corpora, "random5")),
        words="speaker-dependent: five random folds over clips, so that every speaker and "
        "sentence is also in training; not comparable with speaker-independent figures; "
        f"{_OTHER_FOLDS}",
        speaker_independent=False,
        corpora=corpora,
        parting=_random,
    )


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="ravdess-luna5",
            words="speaker-independent: the five actor-disjoint folds of Luna-Jimenez et al. "
            f"2021, two further actors held out of each training; {_OTHER_FOLDS}",
            corpora=("ravdess",),
            parting=_luna,
            speakers=_all_speakers("ravdess"),
        ),
        _random5("ravdess"),
        Protocol(
            name="emodb-loso",
            words="speaker-independent: each of the ten speakers of EMO-DB is tested by a "
            f"network that the other nine trained; {_OTHER_FOLDS}",
            corpora=("emodb",),
            group=_SPEAKER,
            speakers=_all_speakers("emodb"),
        ),
        _random5("emodb"),
        Protocol(
            name="nemo-loso",
            words="speaker-independent: each speaker of nEMO that is there is tested by a "
            "network that the others trained, who speak the same sentences; " + _OTHER_FOLDS,
            corpora=("nemo",),
            group=_SPEAKER,
        ),
        Protocol(
            name="iemocap-loso",
            words="speaker-independent: each of the five sessions of IEMOCAP, with both of its "
            "speakers, is tested by a network that the other four trained; angry, happy "
            f"(with excited), neutral and sad; {_OTHER_FOLDS}",
            corpora=("iemocap",),
            group=_session,
            speakers=_all_speakers("iemocap"),
            labels=FOUR_LABELS,
        ),
        Protocol(
            name="cross-corpus",
            words="unseen corpus: of RAVDESS (English), EMO-DB (German) and nEMO (Polish), each "
            "is tested by a network that the other two trained, with its angry, happy, neutral "
            "and sad clips; RAVDESS calm trains as neutral and is not tested; labels that a "
            f"corpus lacks are masked in the loss of its clips; {_OTHER_FOLDS}",
            corpora=("ravdess", "emodb", "nemo"),
            group=_CORPUS,
            renamed=(("calm", "neutral"),),
            tested=FOUR_LABELS,
        ),
        Protocol(
            name="loso",
            words="speaker-independent: each speaker of the recordings is tested by a network that "
            f"all others trained; {_OTHER_FOLDS}",
            group=_SPEAKER,
            fewest_speakers=2,
        ),
        Protocol(
            name="groups5",
            words="speaker-independent: five folds, each of which tests a fifth of the speakers, "
            f"whom its network has not heard; {_OTHER_FOLDS}",
            parting=_groups,
            fewest_speakers=_FOLDS,
        ),
        _random5(),
    )
}
"""All protocols by name; the last three take any recordings, such as a table of one's own."""
