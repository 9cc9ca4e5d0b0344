"""Ways of splitting corpora into folds, so that figures can be compared and repeated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ser_live.errors import SerError
from ser_train.corpora import KNOWN, Clip, speakers_of
from ser_train.selection import Split

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


@dataclass(frozen=True, slots=True)
class Protocol:
    """Which clips take part, and how they are split into folds."""

    name: str
    words: str
    """What a reader must know to believe a figure."""
    speaker_independent: bool
    corpora: tuple[str, ...]
    """All of them must be there; clips of others are left out."""
    fold_names: Callable[[Sequence[Clip]], tuple[str, ...]]
    parting: Callable[[Sequence[Clip], int, int], Split]
    """(clips in a fixed order, fold, seed) to the split of that fold."""
    speakers: tuple[str, ...] = ()
    """Must all be there; empty: whoever is there."""
    labels: tuple[str, ...] = ()
    """Other clips are left out; empty: all labels of the corpora."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Old and new labels of training clips."""
    tested: tuple[str, ...] = ()
    """Labels of test clips, before the renaming; empty: all."""

    def choose(self, clips: Sequence[Clip]) -> tuple[Clip, ...]:
        """Keep the clips that take part.

        Raises
        ------
        SerError
            If a corpus or a speaker is missing.
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
            if clip.corpus in self.corpora and (not self.labels or clip.label in self.labels)
        )
        absent = sorted(set(self.speakers) - set(speakers_of(chosen)))
        if absent:
            raise SerError(
                f"{self.name} needs the speakers {', '.join(absent)}, and no --corpus holds them; "
                "wanted the whole corpus"
            )
        return chosen

    def split(self, clips: Sequence[Clip], fold: int, seed: int) -> Split:
        """Give the roles of the chosen clips in one fold.

        Raises
        ------
        SerError
            If somebody would be heard in training and in the test, if a role is empty, or if a
            label is tested that nobody trains.
        """
        parts = self.parting(clips, fold, seed)
        test = parts.test
        if self.tested:
            test = tuple(index for index in test if clips[index].label in self.tested)
        split = Split(parts.training, parts.validation, test)
        if not split.training or not split.test:
            raise SerError(f"fold {fold} of {self.name} has no clips to train on or to test")
        if self.speaker_independent:
            self._require_disjoint(clips, split)
        learnt = {self.rename(clips[index].label) for index in split.training}
        unknown = sorted({clips[index].label for index in split.test} - learnt)
        if unknown:
            raise SerError(f"fold {fold} tests the label {unknown[0]}, which no training clip has")
        return split

    def rename(self, label: str) -> str:
        """Give the label under which a clip trains."""
        return dict(self.renamed).get(label, label)

    def _require_disjoint(self, clips: Sequence[Clip], split: Split) -> None:
        roles = [
            {clips[index].speaker for index in role}
            for role in (split.training, split.validation, split.test)
        ]
        shared = (roles[0] & roles[1]) | (roles[0] & roles[2]) | (roles[1] & roles[2])
        if shared:
            names = ", ".join(sorted(shared))
            raise SerError(f"{names} would be in two of training, validation and test")


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
    return Split(
        tuple(i for i, clip in enumerate(clips) if clip.speaker not in tested | held),
        tuple(i for i, clip in enumerate(clips) if clip.speaker in held),
        tuple(i for i, clip in enumerate(clips) if clip.speaker in tested),
    )


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
_RANDOM = (
    "speaker-dependent: five random folds over clips, so that every speaker and sentence is also "
    f"in training; not comparable with speaker-independent figures; {_OTHER_FOLDS}"
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
        Protocol(
            name="ravdess-random5",
            words=_RANDOM,
            speaker_independent=False,
            corpora=("ravdess",),
            fold_names=partial(_numbered, _RANDOM_FOLDS),
            parting=_random,
        ),
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
        Protocol(
            name="emodb-random5",
            words=_RANDOM,
            speaker_independent=False,
            corpora=("emodb",),
            fold_names=partial(_numbered, _RANDOM_FOLDS),
            parting=_random,
        ),
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
