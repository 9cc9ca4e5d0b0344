"""What a protocol is: which clips take part, and how they are split into folds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ser_live.errors import SerError
from ser_train.corpora import Clip, speakers_of
from ser_train.data.splits import Split, require_apart


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
            require_apart(clips, split)
        learnt = {self.rename(clips[index].label) for index in split.training}
        unknown = sorted({clips[index].label for index in split.test} - learnt)
        if unknown:
            raise SerError(f"fold {fold} tests the label {unknown[0]}, which no training clip has")
        return split

    def rename(self, label: str) -> str:
        """Give the label under which a clip trains."""
        return dict(self.renamed).get(label, label)
