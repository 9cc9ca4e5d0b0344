"""Door of ``ser_export`` to corpora, audio and scores.

Clips whose speakers did not train a model decide on another form of it: some give the ranges of
its numbers, the others measure it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import ModelCard
from ser_train.audio import read_audio
from ser_train.corpora import Clip, labels_of, speakers_of, truth_of
from ser_train.data.recordings import Recordings
from ser_train.data.spectra import first_window, whole_clip_spectrum
from ser_train.files import content_hash, write_atomically
from ser_train.metrics import Scores, score
from ser_train.models.training_record import TrainingRecord, names_of

__all__ = [
    "HeldOutClips",
    "Scores",
    "find_recordings",
    "first_window_of",
    "hold_out",
    "read_audio",
    "score",
    "truth_of",
    "write_atomically",
]

_MOST_CALIBRATION_CLIPS = 100
_CALIBRATION_SHARE = 4
"""One clip of so many, where no speaker can be spared."""


@dataclass(frozen=True, slots=True)
class HeldOutClips:
    """Clips whose speakers did not train the model."""

    calibration: tuple[Clip, ...]
    measured: tuple[Clip, ...]
    unknown_labels: tuple[str, ...]
    """Whose clips are left out."""
    speaker_independent: bool
    """False: the model does not say who was in its training."""

    def describe(self) -> str:
        """Return a line on whose recordings were used for what."""
        parts = [
            f"{what} {len(clips)} clips of {', '.join(speakers_of(clips))}"
            for what, clips in (("ranges from", self.calibration), ("measured on", self.measured))
        ]
        if self.unknown_labels:
            parts.append(
                f"left out {', '.join(self.unknown_labels)}, which the model does not know"
            )
        if not self.speaker_independent:
            parts.append("the model does not say who was in its training")
        return "; ".join(parts)


def find_recordings(paths: Sequence[Path]) -> tuple[Clip, ...]:
    """Find the clips of folders and tables, as ``ser-train`` does."""
    return Recordings(*Recordings.part(paths)).find()


def hold_out(paths: Sequence[Path], card: ModelCard, record: TrainingRecord | None) -> HeldOutClips:
    """Find the clips that the model can be asked about, and give each one a role.

    The validation speakers of the training give the ranges and all others are measured; where
    this leaves no clip for one of both, it is a random fourth of the clips and the rest.

    Parameters
    ----------
    paths : sequence of Path
        Folders of corpora, and tables path,label,speaker (.csv).
    card : ModelCard
    record : TrainingRecord or None
        None: the model does not say who was in its training.

    Raises
    ------
    SerError
        If the recordings cannot be found, or none is left: the speakers trained the model, or it
        knows none of the labels.
    """
    trained = set(record.training_speakers) if record else set()
    watched = set(record.validation_speakers) if record else set()
    found = find_recordings(paths)
    known = [clip for clip in found if clip.label in card.labels]
    fresh = [clip for clip in known if clip.speaker not in trained]
    if record:
        heard = ([content_hash(read_audio(clip.path))] for clip in fresh)
        names = [names_of(record, [clip], own) for clip, own in zip(fresh, heard, strict=True)]
        fresh = [clip for clip, own in zip(fresh, names, strict=True) if not own.keys() & trained]
    if not known:
        raise SerError(f"the recordings have none of the labels {', '.join(card.labels)}")
    if len(fresh) < 2:
        raise SerError(
            f"{', '.join(speakers_of(known))} were in the model's training and would flatter "
            "it; give recordings of other speakers with --corpus"
        )
    calibration = [clip for clip in fresh if clip.speaker in watched]
    measured = [clip for clip in fresh if clip.speaker not in watched]
    if not (calibration and measured):
        order = np.random.default_rng(0).permutation(len(fresh))
        calibrates = set(order[: max(1, len(fresh) // _CALIBRATION_SHARE)].tolist())
        calibration = [clip for place, clip in enumerate(fresh) if place in calibrates]
        measured = [clip for place, clip in enumerate(fresh) if place not in calibrates]
    unknown = labels_of(clip for clip in found if clip.label not in card.labels)
    return HeldOutClips(_some(calibration), tuple(measured), unknown, record is not None)


def _some(clips: Sequence[Clip]) -> tuple[Clip, ...]:
    """Draw at most as many as the ranges need; every third would hear one speaker of three."""
    order = np.random.default_rng(0).permutation(len(clips))[:_MOST_CALIBRATION_CLIPS]
    return tuple(clips[place] for place in sorted(order))


def first_window_of(clip: Clip, card: ModelCard) -> NDArray[np.float32]:
    """Return the first window of a clip as a live stream hears it, shape (frames, bins)."""
    power = whole_clip_spectrum(clip.path, read_audio(clip.path), card.spectrum)
    return first_window(power, card.spectrum, card.window.seconds)
