"""Recordings that decide on a quantized model: some give the ranges, others are the judges."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import ModelCard
from ser_train.audio import read_audio
from ser_train.corpora import Clip, labels_of, speakers_of
from ser_train.data.recordings import Recordings
from ser_train.data.spectra import first_window, whole_clip_spectrum
from ser_train.models.keras_file import TrainingRecord

_MOST_CALIBRATION_CLIPS = 100
_CALIBRATION_SHARE = 4
"""One clip of so many, where no speaker can be spared."""


@dataclass(frozen=True, slots=True)
class Parted:
    """Clips whose speakers did not train the model."""

    calibration: tuple[Clip, ...]
    judges: tuple[Clip, ...]
    unknown_labels: tuple[str, ...]
    """Whose clips are left out."""
    speaker_independent: bool
    """False: nobody knows who trained the model."""

    def describe(self) -> str:
        """Say whose recordings were used for what."""
        parts = [
            f"{what} {len(clips)} clips of {', '.join(speakers_of(clips))}"
            for what, clips in (("ranges from", self.calibration), ("measured on", self.judges))
        ]
        if self.unknown_labels:
            parts.append(
                f"left out {', '.join(self.unknown_labels)}, which the model does not know"
            )
        if not self.speaker_independent:
            parts.append("the model does not say who was in its training")
        return "; ".join(parts)


def part(recordings: Recordings, card: ModelCard, record: TrainingRecord | None) -> Parted:
    """Find the clips that the model can be asked about, and give each one a role.

    The validation speakers of the training give the ranges and all others are measured; where
    this leaves nobody for one of both, it is a random fourth of the clips and the rest.

    Raises
    ------
    SerError
        If the recordings cannot be found, or none is left: the speakers trained the model, or it
        knows none of the labels.
    """
    trained = set(record.training_speakers) if record else set()
    watched = set(record.validation_speakers) if record else set()
    found = recordings.find()
    known = [clip for clip in found if clip.label in card.labels]
    fresh = [clip for clip in known if clip.speaker not in trained]
    if not known:
        raise SerError(f"the recordings have none of the labels {', '.join(card.labels)}")
    if len(fresh) < 2:
        raise SerError(
            f"{', '.join(speakers_of(known))} were in the model's training and would flatter "
            "it; give recordings of other speakers with --corpus"
        )
    calibration = [clip for clip in fresh if clip.speaker in watched]
    judges = [clip for clip in fresh if clip.speaker not in watched]
    if not (calibration and judges):
        order = np.random.default_rng(0).permutation(len(fresh))
        calibrates = set(order[: max(1, len(fresh) // _CALIBRATION_SHARE)].tolist())
        calibration = [clip for place, clip in enumerate(fresh) if place in calibrates]
        judges = [clip for place, clip in enumerate(fresh) if place not in calibrates]
    unknown = labels_of(clip for clip in found if clip.label not in card.labels)
    return Parted(_some(calibration), tuple(judges), unknown, record is not None)


def _some(clips: Sequence[Clip]) -> tuple[Clip, ...]:
    """Draw at most as many as the ranges need; every third would hear one speaker of three."""
    order = np.random.default_rng(0).permutation(len(clips))[:_MOST_CALIBRATION_CLIPS]
    return tuple(clips[place] for place in sorted(order))


def window_of(clip: Clip, card: ModelCard) -> NDArray[np.float32]:
    """Give the first window of a clip as a live stream hears it, shape (frames, bins)."""
    power = whole_clip_spectrum(clip.path, read_audio(clip.path), card.spectrum)
    return first_window(power, card.spectrum, card.window.seconds)
