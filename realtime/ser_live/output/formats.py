"""Formats of records: JSON Lines, CSV, SubRip, RTTM and labels for Audacity."""

import csv
import io
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ser_live.engine.segments import Segment
from ser_live.engine.utterances import Utterance
from ser_live.errors import SerError
from ser_live.events import Event
from ser_live.prediction import Prediction

Record = Prediction | Segment | Event | Utterance

_COLUMNS = (
    "index",
    "start_seconds",
    "end_seconds",
    "state",
    "label",
    "confidence",
    "changed",
    "degraded",
    "lag_seconds",
)


@dataclass(frozen=True, slots=True)
class Format:
    """Text format that grows record by record and is valid after each."""

    kinds: tuple[type[Record], ...]
    """Types of the records that it has a place for."""
    lines_of: Callable[[Any], str]
    """Returns the lines of the next one of them."""
    head: str = ""
    """Lines before the first record."""

    def text(self, record: Record) -> str:
        """Return the lines of the next record; none if the format has no place for it."""
        return self.lines_of(record) if isinstance(record, self.kinds) else ""


def format_of(
    path: str | os.PathLike[str],
    labels: Sequence[str],
    source_name: str,
    *,
    has_channels: bool = False,
) -> Format:
    """Choose a format by a file's ending.

    Parameters
    ----------
    path : path
        Ends in .jsonl, .csv, .srt, .rttm or .txt, in any case.
    labels : sequence of str
        Of the model.
    source_name : str
        Name of the source, for people.
    has_channels : bool
        Channels are recognized apart: a table has a column for theirs.

    Raises
    ------
    SerError
        For any other ending.
    """
    match ending := Path(path).suffix.lower():
        case ".jsonl":
            return Format((Prediction, Segment, Event, Utterance), _json_line)
        case ".csv":
            columns = (*_COLUMNS, "channel") if has_channels else _COLUMNS
            head = _csv_line([*columns, *(f"probability_{label}" for label in labels)])
            return Format((Prediction,), partial(_csv_row, columns, labels), head)
        case ".srt":
            return Format((Segment,), partial(_subtitle, itertools.count(1)))
        case ".rttm":
            return Format((Segment,), partial(_rttm_line, _without_spaces(source_name)))
        case ".txt":
            return Format((Segment,), _audacity_label)
    raise SerError(
        f"{path}: the ending is {ending or 'missing'}, wanted .jsonl, .csv, .srt, .rttm "
        "or .txt: it says what to write"
    )


def json_record(record: Record) -> dict[str, object]:
    """Return a record as plain JSON values: its ``type``, then its fields.

    The same on stdout, in files and on the wire; `records.schema.json` beside this file describes
    it.
    """
    return {"type": type(record).__name__.lower(), **record.to_dict()}


def _json_line(record: Record) -> str:
    """JSON Lines: everything."""
    return json.dumps(json_record(record), allow_nan=False) + "\n"


def _csv_row(columns: Sequence[str], labels: Sequence[str], prediction: Prediction) -> str:
    """RFC 4180: a row per prediction, a column per label's probability; empty without a value."""
    shares = prediction.probabilities or {}
    fields = [getattr(prediction, name) for name in columns]
    fields = [str(field).lower() if isinstance(field, bool) else field for field in fields]
    return _csv_line([*fields, *(shares.get(label) for label in labels)])


def _csv_line(fields: Sequence[object]) -> str:
    row = io.StringIO(newline="")
    csv.writer(row, lineterminator="\r\n").writerow(fields)
    return row.getvalue()


def _subtitle(numbers: Iterator[int], segment: Segment) -> str:
    """SubRip: a numbered subtitle per segment."""
    start, end = _clock(segment.start_seconds), _clock(segment.end_seconds)
    words = f"{_label_of(segment)} ({100 * segment.mean_confidence:.0f} %)"
    return f"{next(numbers)}\n{start} --> {end}\n{words}\n\n"


def _rttm_line(file_id: str, segment: Segment) -> str:
    """NIST Rich Transcription Time Marked: a SPEAKER line of ten fields per segment."""
    start, end = _milliseconds(segment.start_seconds), _milliseconds(segment.end_seconds)
    times = f"{start / 1000:.3f} {(end - start) / 1000:.3f}"
    words = f"{_without_spaces(segment.label)} {segment.mean_confidence:.3f}"
    # The format wants a number there.
    channel = {None: "1", "left": "1", "right": "2"}.get(segment.channel, segment.channel)
    return f"SPEAKER {file_id} {channel} {times} <NA> <NA> {words} <NA>\n"


def _audacity_label(segment: Segment) -> str:
    """A label track of Audacity: start, end and label of each segment, between tabs."""
    return f"{segment.start_seconds:.6f}\t{segment.end_seconds:.6f}\t{_label_of(segment)}\n"


def _label_of(segment: Segment) -> str:
    label = _on_one_line(segment.label)
    return f"{segment.channel}: {label}" if segment.channel else label


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
