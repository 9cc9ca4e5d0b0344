"""Recordings that a saved model is measured on: their speakers, and where their speech lies."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import ModelCard, SpectrumSpec
from ser_live.model.catalog import find_model
from ser_live.model.classifier import Classifier, load_shared
from ser_live.model.json_records import record_from_json
from ser_live.text import sanitize
from ser_train.audio import read_audio
from ser_train.corpora import Clip, find_talk, speakers_of
from ser_train.corpora.corpus import reason
from ser_train.data.loading import Loaded, has_speech, load_each
from ser_train.data.recordings import Recordings
from ser_train.data.spectra import heard_bounds, speech_bounds, whole_clip_spectrum
from ser_train.data.splits import require_present
from ser_train.files import content_hash, default_cache_folder
from ser_train.models.keras_file import read_record
from ser_train.models.training_record import RECORD_KEY, TrainingRecord, names_of
from ser_train.progress import Reporter

_SPEC = SpectrumSpec()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that ``ser-train evaluate`` is told."""

    model: Path
    recordings: Recordings
    speakers: tuple[str, ...] | None = None
    """None: all, and then no speaker is left for the babble of bad conditions."""
    report_folder: Path | None = None
    """None: no report."""
    skip_broken: bool = False
    seed: int = 0
    """Of the order of the recordings in a stream."""
    cache_folder: Path = dataclasses.field(default_factory=default_cache_folder)
    """Of spectra; what runs live needs none."""
    calibrated: Path | None = None
    """Model file to write, with the temperature and the threshold that the recordings give."""
    ordinary: tuple[Path, ...] = ()
    """Tables and folders of talk, measured in place of ``recordings``; no label is needed."""
    tables: tuple[str, ...] = ()
    """Forms of the tables beside the report: "csv", "latex"."""
    command_line: str = ""
    """For the report."""


@dataclass(frozen=True, slots=True)
class Voice(Loaded):
    """One recording and its speech, in samples at 16 kHz."""

    onset_sample: int
    end_sample: int
    """After the last of the speech."""
    level_dbfs: float
    """Of the speech."""

    def samples(self) -> NDArray[np.float32]:
        """Read the recording, shape (n,)."""
        return read_audio(self.clip.path)

    def speech(self) -> NDArray[np.float32]:
        """Read the recording without the silence around its speech."""
        return self.samples()[self.onset_sample : self.end_sample]


@dataclass(frozen=True, slots=True)
class Ready:
    """A model and what it is to hear."""

    classifier: Classifier
    voices: tuple[Voice, ...]
    others: tuple[Clip, ...]
    """Of all speakers who are not measured."""
    protocol: str
    """Description of the speakers."""


def choose(job: Evaluation, labels: Sequence[str]) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """Find the recordings of the named speakers, and those of all others.

    Raises
    ------
    SerError
        If a speaker does not occur, none is named, or a label is none of ``labels``.
    """
    talk = [clip for path in job.ordinary for clip in find_talk(path)]
    found = talk or job.recordings.find()
    there = speakers_of(found)
    named = there if job.speakers is None else job.speakers
    require_present(named, there)
    if not named:
        raise SerError(f"--speakers names no speaker; there are {', '.join(there)}")
    clips = tuple(clip for clip in found if clip.speaker in named)
    for clip in clips:
        if not talk and clip.label not in labels:
            raise SerError(
                f"{clip.path} has the label {clip.label!r}, which the model does not know; "
                f"leave it out with --drop {clip.label} or rename it with --map"
            )
    return clips, tuple(clip for clip in found if clip.speaker not in named)


def begin(job: Evaluation, report: Reporter, babble: bool = False) -> Ready:
    """Make the folder of the report, load the model and find the recordings, in this order.

    Raises
    ------
    SerError
        If one of them cannot be, a speaker or a label does not fit, or no other speaker is there
        for the babble that is wanted.
    """
    make_report_folder(job.report_folder)
    classifier = load_classifier(job.model)
    clips, others = choose(job, classifier.card.labels)
    if babble and not others:
        raise SerError(
            "the babble needs recordings of speakers who are not measured, and none is left; "
            f"name some of {', '.join(speakers_of(clips))} with --speakers"
        )
    voices = find_voices(clips, "recordings", report, job.skip_broken)
    heard, contents = [v.clip for v in voices], [v.content for v in voices]
    warning = leakage(record_of(Path(classifier.where), classifier.card), heard, contents)
    if warning:
        report.warn(warning)
    protocol = describe_speakers(heard, warning)
    return Ready(classifier, voices, others, protocol)


def load_classifier(model: Path) -> Classifier:
    """Load a ``.keras`` file, an ``.onnx`` file or a shipped model by its name.

    Raises
    ------
    SerError
        If it cannot be loaded.
    """
    if model.suffix != ".keras":
        return load_shared(find_model(model))
    from ser_train.models.inference import KerasClassifier  # noqa: PLC0415 - TensorFlow takes seconds

    return KerasClassifier(model)


def find_voices(
    clips: Sequence[Clip], what: str, report: Reporter, skip: bool
) -> tuple[Voice, ...]:
    """Find the speech in each recording, and leave duplicates out."""
    return load_each(clips, _voice, what, report, skip)


def make_report_folder(folder: Path | None, tables: Sequence[str] = ()) -> None:
    """Make the folder for a report, before anything is measured.

    Raises
    ------
    SerError
        If it cannot be, or tables are wanted without a folder.
    """
    if tables and folder is None:
        raise SerError("--csv and --latex want a folder for the tables; give --report-dir")
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SerError(
            f"--report-dir {sanitize(folder)} cannot be made ({reason(error)}); name another folder"
        ) from error


def window_probabilities(
    classifier: Classifier, voice: Voice, clean: NDArray[np.float32], *others: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Classify the first window of a recording, and of other versions of it, under even odds.

    Parameters
    ----------
    classifier : Classifier
    voice : Voice
    clean : ndarray, shape (n,), float32
        The recording; its speech is where it begins and ends here.
    *others : ndarray, shape (n,), float32
        Versions of it.

    Returns
    -------
    ndarray, shape (1 + others, labels)
    """
    card = classifier.card
    spectra = [
        whole_clip_spectrum(voice.clip.path, samples, card.spectrum) for samples in (clean, *others)
    ]
    start, stop = heard_bounds(*speech_bounds(spectra[0]), card.spectrum, card.window.seconds)
    windows = (spectrum[np.newaxis, start:stop] for spectrum in spectra)
    return np.concatenate([classifier.batch_probabilities(one) for one in windows]).astype(
        np.float64
    )


def record_of(path: Path, card: ModelCard) -> TrainingRecord | None:
    """Read who trained a model from its file, or from the ``.keras`` file that it was made of.

    Returns
    -------
    TrainingRecord or None
        None if it does not say so, and beside it is no file of that name and that model.
    """
    if path.suffix == ".onnx" and path.is_file():
        import onnx  # noqa: PLC0415 - takes its time

        properties = onnx.load(path, load_external_data=False).metadata_props
        for text in (p.value for p in properties if p.key == RECORD_KEY):
            return record_from_json(TrainingRecord, text, f"{sanitize(path)}: {RECORD_KEY}")
    source = path.with_suffix(".keras")
    if not source.is_file():
        return None
    source_card, record = read_record(source)
    return record if source_card == dataclasses.replace(card, golden=None) else None


def leakage(
    record: TrainingRecord | None, clips: Sequence[Clip], contents: Sequence[str] = ()
) -> str:
    """Name the speakers that the model knows, or say that it is not known; "" if none.

    Recordings under another name are known by the hashes of their samples, ``contents``.
    """
    if record is None:
        return "the model file does not say who was in training: the figures may flatter"
    names = names_of(record, clips, contents)
    known, held = (
        ", ".join(names[speaker] for speaker in sorted(names.keys() & {*role}))
        for role in (record.training_speakers, record.validation_speakers)
    )
    if known:
        return f"{known} were in training: the figures flatter"
    return f"{held} set the temperature: ECE and NLL flatter" if held else ""


def describe_speakers(clips: Sequence[Clip], warning: str) -> str:
    """Name the speakers in words, and say whether the model knew them."""
    speakers = speakers_of(clips)
    role = warning or "no speaker of the training was heard (speaker-independent)"
    people = f"{len(speakers)} speakers" if len(speakers) > 1 else f"the speaker {speakers[0]}"
    return f"{people}; {role}"


def _voice(clip: Clip) -> Voice:
    samples = read_audio(clip.path)
    onset, end = speech_bounds(whole_clip_spectrum(clip.path, samples, _SPEC))
    middle = _SPEC.fft_samples // 2  # what a frame says, it says of its middle
    first, last = (frame * _SPEC.hop_samples + middle for frame in (onset, end - 1))
    end_sample = last + _SPEC.hop_samples
    power_of_speech = float(np.square(samples[first:end_sample], dtype=np.float64).mean())
    level_dbfs = 10.0 * math.log10(power_of_speech + 1e-12)
    content = content_hash(samples)
    return Voice(clip, content, has_speech(samples), first, end_sample, level_dbfs)
