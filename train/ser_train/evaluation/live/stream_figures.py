"""All that is measured on a stream."""

from dataclasses import dataclass

from ser_live.prediction import Prediction
from ser_train.evaluation.live.stream_measures import Calibration, Heard, Recall, Times


@dataclass(frozen=True, slots=True)
class FalseEmotion:
    """What the stream named in a minute of a sound without speech."""

    sound: str
    emotion_seconds: float
    """In state ``speech``."""
    uncertain_seconds: float


@dataclass(frozen=True, slots=True)
class OfCorpus:
    """The recordings of one corpus, or of all."""

    name: str
    named: Recall
    """The last stable label of each."""
    offline: Recall
    """The first window of each, without stream and smoothing."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """How honest the smoothed probabilities are."""

    at_the_end: Calibration
    """Of the last label of each recording."""
    throughout: Calibration
    """Of every label."""


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """All figures of one stream."""

    model: str
    protocol: str
    seconds: float
    hop_seconds: float
    recordings: int
    accuracy: tuple[OfCorpus, ...]
    """All recordings come first."""
    unnamed: int
    """Recordings without any label."""
    mixed: int
    """Predictions that still hear a recording before."""
    right_share: float
    """Of all predictions with a label."""
    first: Times
    first_correct: Times
    first_sure_correct: Times
    last_change: Times
    changes_per_minute: float
    uncertain_share: float
    confidence: Confidence | None
    """None where no recording got a label."""
    gains: tuple[tuple[float, float], ...]
    """Gain in dB, and the share of predictions whose state or label differs."""
    false_emotions: tuple[FalseEmotion, ...]


@dataclass(frozen=True, slots=True)
class StreamResult:
    """Figures, and what they were counted on."""

    figures: StreamFigures
    heard: tuple[Heard, ...]
    predictions: tuple[Prediction, ...]
