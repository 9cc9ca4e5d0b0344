"""Recognition of a whole recording in one call."""

import dataclasses
import os
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from ser_live.engine.channels import channel_names
from ser_live.engine.segments import UNCERTAIN, Segment, Segmenter
from ser_live.engine.utterances import Utterance, UtteranceChoice
from ser_live.errors import SerError
from ser_live.events import Event
from ser_live.live.listener import ListenOptions, listen
from ser_live.prediction import Prediction
from ser_live.sources.files import FileSource
from ser_live.text import quoted

if TYPE_CHECKING:
    import pandas

_BLOCK_SECONDS = 1.0
"""No prediction is waited for, and each block has a price."""


@dataclass(frozen=True, slots=True)
class RecognitionSummary:
    """Seconds and shares of labels and states, in a recording or in one channel of it."""

    seconds: dict[str, float]
    """Of each label of the model (in state speech), then of uncertain, warming_up and silence."""
    mean_confidence: float | None
    """Mean over the predictions with a label, uncertain ones too; None if there are none."""

    @property
    def shares(self) -> dict[str, float]:
        """The seconds as shares of all; 0 for all where there was no prediction."""
        whole = sum(self.seconds.values()) or 1.0
        return {name: seconds / whole for name, seconds in self.seconds.items()}

    def to_dict(self) -> dict[str, object]:
        """Return the record as plain JSON values."""
        return {
            "seconds": self.seconds,
            "shares": self.shares,
            "mean_confidence": self.mean_confidence,
        }


@dataclass(frozen=True)
class Recognition:
    """All that was recognized in one recording; can be pickled.

    Examples
    --------
    >>> from ser_live import recognize_file
    >>> talk = recognize_file("talk.wav")
    >>> talk.audio_seconds, len(talk.predictions)
    (4.0, 16)
    >>> round(sum(talk.summary.shares.values()), 6)
    1.0
    >>> talk.plot("talk.png")
    """

    path: str
    """The recording."""
    model: str
    """Name of the model, as its card says."""
    labels: tuple[str, ...]
    """Emotions that the model tells apart."""
    sample_rate_hz: int
    """Of the recording."""
    audio_seconds: float
    """Length of what could be read of it."""
    channels: tuple[str, ...]
    """Names of the channels that were recognized apart; empty: all as one."""
    predictions: tuple[Prediction, ...]
    """One per hop, as `ser_live.listen` gives them."""
    segments: tuple[Segment, ...]
    """Runs of one label, or of state uncertain."""
    events: tuple[Event, ...]
    """Events beside the predictions: clipping, silence of the input ..."""
    notes: tuple[str, ...]
    """Damage of the recording, one sentence each."""
    utterances: tuple[Utterance, ...] = ()
    """One answer for what was said between two silences; where they were asked for."""

    @cached_property
    def summary(self) -> RecognitionSummary:
        """Seconds and share of each label, of uncertain and of silence; the mean confidence."""
        seconds = dict.fromkeys((*self.labels, UNCERTAIN, "warming_up", "silence"), 0.0)
        end_seconds: defaultdict[str | None, float] = defaultdict(float)  # of the one before
        for one in self.predictions:
            name = one.label if one.state == "speech" else one.state
            seconds[name or UNCERTAIN] += one.end_seconds - end_seconds[one.channel]
            end_seconds[one.channel] = one.end_seconds
        confidences = [one.confidence for one in self.predictions if one.label is not None]
        mean = sum(confidences) / len(confidences) if confidences else None
        return RecognitionSummary(seconds, mean)

    @cached_property
    def by_channel(self) -> dict[str, "Recognition"]:
        """The same for each channel alone; of all as one: ``{"mix": itself}``."""
        return {name: self._only(name) for name in self.channels} or {"mix": self}

    def to_dataframe(self, rows: str = "predictions") -> "pandas.DataFrame":
        """Return a table of pandas, with a column for the probability of each label.

        Parameters
        ----------
        rows : str
            "predictions", "segments", "utterances" or "events".

        Raises
        ------
        SerError
            For other rows, and where pandas is not installed.
        """
        if rows not in ("predictions", "segments", "utterances", "events"):
            raise SerError(
                f"rows is {quoted(rows)}, wanted predictions, segments, utterances or events"
            )
        try:
            import pandas  # noqa: PLC0415 - heavy, and not needed by others
        except ImportError as error:
            raise SerError(
                "to_dataframe() needs pandas, which is not installed; install it with pip "
                "install 'ser-live[pandas]'"
            ) from error
        return pandas.DataFrame([self._row(one.to_dict()) for one in getattr(self, rows)])

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the labels over the waveform, a lane for each channel, into a picture.

        Parameters
        ----------
        path : path
            Its ending says what is written: ``.png``, ``.svg``, ``.pdf`` ...

        Raises
        ------
        SerError
            Where matplotlib (the extra ``plot``) is not installed, if the recording is not there
            any more, or if the picture cannot be written.
        """
        from ser_live.live import timeline  # noqa: PLC0415 - it knows what this is

        timeline.plot(self, path)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from ser_live.live import timeline  # noqa: PLC0415 - it knows what this is

        return timeline.to_html(self)

    def _row(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return a record as a row of a table."""
        shares = record.pop("probabilities", ...)
        if shares is ...:
            return record
        for nested in ("raw_probabilities", "timing"):
            record.pop(nested, None)
        return {**record, **{f"probability_{n}": (shares or {}).get(n) for n in self.labels}}

    def _only(self, channel: str) -> "Recognition":
        return dataclasses.replace(
            self,
            channels=(channel,),
            predictions=tuple(one for one in self.predictions if one.channel == channel),
            segments=tuple(one for one in self.segments if one.channel == channel),
            utterances=tuple(one for one in self.utterances if one.channel == channel),
        )


def recognize_file(
    path: str | os.PathLike[str],
    *,
    utterances: UtteranceChoice = False,
    **options: Unpack[ListenOptions],
) -> Recognition:
    """Recognize emotion in a whole recording, as fast as the machine can.

    It starts no thread, keeps nothing for the next call but the loaded model, and gives what
    `listen` gives of the same recording, bit for bit.

    Parameters
    ----------
    path : path
        An audio file.
    utterances : bool or str
        Also give the utterances, as in `ser_live.listen`.
    **options
        Those of `ser_live.listen`; events are always given.

    Returns
    -------
    Recognition
        Its predictions, segments, summary and notes.

    Raises
    ------
    SerError
        If the recording or the model cannot be read, or an option is of no use.

    Examples
    --------
    >>> from ser_live import recognize_file
    >>> talk = recognize_file("talk.wav", hop_seconds=0.5)
    >>> list(talk.summary.seconds)[-3:]
    ['uncertain', 'warming_up', 'silence']
    >>> talk.notes
    ()
    """
    source = FileSource(path)
    source.block_seconds = _BLOCK_SECONDS
    with listen(source, events=True, utterances=utterances, **options) as listener:
        items = list(listener)
    predictions = tuple(item for item in items if isinstance(item, Prediction))
    segmenter = Segmenter()
    segments = [segment for one in predictions for segment in segmenter.process(one)]
    recognizer = listener.recognizer
    return Recognition(
        path=os.fspath(path),
        model=recognizer.card.name,
        labels=recognizer.labels,
        sample_rate_hz=source.sample_rate_hz,
        audio_seconds=source.counters.processed / source.sample_rate_hz,
        channels=channel_names(recognizer),
        predictions=predictions,
        segments=(*segments, *segmenter.flush()),
        events=tuple(item for item in items if isinstance(item, Event)),
        notes=source.notes,
        utterances=tuple(item for item in items if isinstance(item, Utterance)),
    )
