"""Segments of one emotion, joined from single predictions."""

from dataclasses import dataclass

from ser_live.prediction import Prediction, fields_of

UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Segment:
    """An unbroken run of one label, or of state ``uncertain``.

    Examples
    --------
    >>> from ser_live import Segment
    >>> Segment(0.5, 2.0, "angry", mean_confidence=0.8).to_dict()["label"]
    'angry'
    """

    start_seconds: float
    """On the stream's own clock."""
    end_seconds: float
    """End of the last prediction of the run."""
    label: str
    """The emotion; "uncertain" for a run of that state."""
    mean_confidence: float
    """Mean of its predictions' confidence."""
    channel: str | None = None
    """Its channel, as of `Prediction`."""

    def to_dict(self) -> dict[str, object]:
        """Return the record as plain JSON values; without a channel where it has none."""
        return fields_of(self)


class Segmenter:
    """Join the predictions of a stream into segments, in constant memory.

    A change of label or state ends a segment, and so do silence, warming up and audio that no
    prediction rests on: a gap, or what lies between windows shorter than the hop. The
    first segment of an utterance begins with the audio that its first prediction
    rests on, the later ones with the hop in which they appear; segments of one channel never
    overlap.

    Examples
    --------
    >>> from ser_live import Segmenter, listen, recognize_file
    >>> segmenter = Segmenter()
    >>> segments = [one for item in listen("talk.wav") for one in segmenter.process(item)]
    >>> segments + segmenter.flush() == list(recognize_file("talk.wav").segments)
    True
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Clear the stream: as new."""
        self._runs: dict[str | None, _Run] = {}

    def process(self, prediction: Prediction) -> list[Segment]:
        """Take the next prediction and return the segment of its channel that it ends, if any."""
        run = self._runs.setdefault(prediction.channel, _Run(prediction.channel))
        return run.process(prediction)

    def flush(self) -> list[Segment]:
        """End the open segments and return them; what comes later begins other ones."""
        return [segment for run in self._runs.values() for segment in run.flush()]


class _Run:
    """The predictions of one channel."""

    def __init__(self, channel: str | None) -> None:
        self._channel = channel
        self._before: Prediction | None = None
        self._label: str | None = None  # of the run that is open
        self._start_seconds = 0.0
        self._confidence_sum = 0.0
        self._count = 0
        self._closed_seconds = 0.0  # end of the segment before

    def process(self, prediction: Prediction) -> list[Segment]:
        before, label = self._before, _label(prediction)
        # Audio between two predictions is missing, or lies in no window.
        is_gap = before is not None and prediction.start_seconds > before.end_seconds
        # Silence has no label either, so it ends a segment as another label does.
        ended = self.flush() if is_gap or label != self._label else []
        if label is not None:
            if self._label is None:
                self._start_seconds = self._start_of(prediction, is_gap)
                self._confidence_sum, self._count = 0.0, 0
                self._label = label
            self._confidence_sum += prediction.confidence
            self._count += 1
        self._before = prediction
        return ended

    def flush(self) -> list[Segment]:
        if self._label is None or self._before is None:
            return []
        mean = self._confidence_sum / self._count
        end_seconds = self._before.end_seconds
        segment = Segment(self._start_seconds, end_seconds, self._label, mean, self._channel)
        self._label = None
        self._closed_seconds = segment.end_seconds
        return [segment]

    def _start_of(self, prediction: Prediction, is_gap: bool) -> float:
        """Return the start of a segment that begins with a prediction."""
        before = self._before
        if before is None or is_gap:
            return prediction.start_seconds
        # Audio that the segment before rests on already is no new utterance.
        is_later = _label(before) is not None or prediction.start_seconds < self._closed_seconds
        return before.end_seconds if is_later else prediction.start_seconds


def _label(prediction: Prediction) -> str | None:
    if prediction.state == "speech":
        return prediction.label
    return UNCERTAIN if prediction.state == "uncertain" else None
