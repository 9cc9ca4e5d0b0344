"""Formats of records: JSON Lines, CSV, SubRip, RTTM and labels for Audacity."""

import csv
import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from ser_live.engine.segments import Segment
from ser_live.errors import SerError
from ser_live.events import Event
from ser_live.prediction import Prediction

Record = Prediction | Segment | Event


class Format(ABC):
    """Text format that grows record by record and is valid after each."""

    def head(self) -> str:
        """Return the lines before the first record: none, unless the format has a head."""
        return ""

    @abstractmethod
    def text(self, record: Record) -> str:
        """Return the lines of the next record; none if the format has no place for it."""


class JsonLines(Format):
    """JSON Lines: everything, each line tagged by its ``type``."""

    def text(self, record: Record) -> str:
        """Return one line."""
        tagged = {"type": type(record).__name__.lower(), **record.to_dict()}
        return json.dumps(tagged, allow_nan=False) + "\n"


class CsvTable(Format):
    """RFC 4180: a row per prediction, a column per label's probability.

    Parameters
    ----------
    labels : sequence of str
        Of the model.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels

    def head(self) -> str:
        """Return the names of the columns."""
        columns = ("index", "start_seconds", "end_seconds", "state", "label", "confidence")
        more = ("changed", "degraded", "lag_seconds")
        return _csv_row([*columns, *more, *(f"probability_{label}" for label in self.labels)])

    def text(self, record: Record) -> str:
        """Return the row of a prediction; where there is no value, the field is empty."""
        if not isinstance(record, Prediction):
            return ""
        shares = record.probabilities or {}
        return _csv_row(
            [
                record.index,
                record.start_seconds,
                record.end_seconds,
                record.state,
                record.label,
                record.confidence,
                str(record.changed).lower(),
                str(record.degraded).lower(),
                record.lag_seconds,
                *(shares.get(label) for label in self.labels),
            ]
        )


class Subtitles(Format):
    """SubRip: a subtitle per segment."""

    def __init__(self) -> None:
        self._count = 0

    def text(self, record: Record) -> str:
        """Return the numbered block of a segment."""
        if not isinstance(record, Segment):
            return ""
        self._count += 1
        start, end = _clock(record.start_seconds), _clock(record.end_seconds)
        words = f"{_on_one_line(record.label)} ({100 * record.mean_confidence:.0f} %)"
        return f"{self._count}\n{start} --> {end}\n{words}\n\n"


class Rttm(Format):
    """NIST Rich Transcription Time Marked: a SPEAKER line of ten fields per segment.

    Parameters
    ----------
    source_name : str
        Becomes the file's id, without spaces.
    """

    def __init__(self, source_name: str) -> None:
        self.file_id = _without_spaces(source_name)

    def text(self, record: Record) -> str:
        """Return the line of a segment."""
        if not isinstance(record, Segment):
            return ""
        start, end = _milliseconds(record.start_seconds), _milliseconds(record.end_seconds)
        times = f"{start / 1000:.3f} {(end - start) / 1000:.3f}"
        label = _without_spaces(record.label)
        confidence = f"{record.mean_confidence:.3f}"
        return f"SPEAKER {self.file_id} 1 {times} <NA> <NA> {label} {confidence} <NA>\n"


class AudacityLabels(Format):
    """A label track of Audacity: start, end and label of each segment, between tabs."""

    def text(self, record: Record) -> str:
        """Return the line of a segment."""
        if not isinstance(record, Segment):
            return ""
        label = _on_one_line(record.label)
        return f"{record.start_seconds:.6f}\t{record.end_seconds:.6f}\t{label}\n"


def format_of(path: str | os.PathLike[str], labels: Sequence[str], source_name: str) -> Format:
    """Choose a format by a file's ending.

    Parameters
    ----------
    path : path
        Ends in .jsonl, .csv, .srt, .rttm or .txt, in any case.
    labels : sequence of str
        Of the model.
    source_name : str
        Name of the source, for people.

    Raises
    ------
    SerError
        For any other ending.
    """
    formats: dict[str, Format] = {
        ".jsonl": JsonLines(),
        ".csv": CsvTable(labels),
        ".srt": Subtitles(),
        ".rttm": Rttm(source_name),
        ".txt": AudacityLabels(),
    }
    ending = Path(path).suffix.lower()
    if ending not in formats:
        raise SerError(
            f"{path}: the ending is {ending or 'missing'}, wanted .jsonl, .csv, .srt, .rttm "
            "or .txt: it says what to write"
        )
    return formats[ending]


def _csv_row(fields: Sequence[object]) -> str:
    row = io.StringIO(newline="")
    csv.writer(row, lineterminator="\r\n").writerow(fields)
    return row.getvalue()


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def _clock(seconds: float) -> str:
    minutes, milliseconds = divmod(_milliseconds(seconds), 60000)
    hours, minutes = divmod(minutes, 60)
    whole, milliseconds = divmod(milliseconds, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d},{milliseconds:03d}"


def _on_one_line(text: str) -> str:
    return " ".join(text.split()) or "unnamed"


def _without_spaces(text: str) -> str:
    return _on_one_line(text).replace(" ", "_")
