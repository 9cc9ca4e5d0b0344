"""Formats of records: JSON, tables, subtitles, RTTM and labels for Audacity."""

import html
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ser_live.engine.segments import Segment
from ser_live.engine.utterances import Utterance
from ser_live.errors import SerError
from ser_live.events import Event
from ser_live.output.tables import (
    csv_lines,
    flat,
    prediction_columns,
    require_pyarrow,
    write_parquet,
)
from ser_live.prediction import Prediction

Record = Prediction | Segment | Event | Utterance
About = Callable[[], Mapping[str, object]]
"""Returns what is known of a stream at its end, for `Document`."""

_ALL = (Prediction, Segment, Event, Utterance)
_WANTED = ".jsonl, .json, .csv, .parquet, .srt, .vtt, .rttm or .txt"


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


@dataclass(frozen=True, slots=True)
class Document:
    """Format of a file that is written whole, at the end of a stream."""

    kinds: tuple[type[Record], ...]
    """Types of the records that it has a place for."""
    data_of: Callable[[Sequence[Any]], bytes]
    """Returns the file of all of them."""


def format_of(
    path: str | os.PathLike[str],
    labels: Sequence[str] = (),
    source_name: str = "",
    about: About = dict,
    *,
    has_channels: bool = False,
) -> Format | Document:
    """Choose a format by a file's ending.

    Parameters
    ----------
    path : path
        Ends in .jsonl, .json, .csv, .parquet, .srt, .vtt, .rttm or .txt, in any case.
    labels : sequence of str
        Of the model.
    source_name : str
        Name of the source, for people.
    about : callable
        Returns what stands before the records of a .json file.
    has_channels : bool
        Channels are recognized apart: a table has a column for theirs.

    Raises
    ------
    SerError
        For any other ending, and for .parquet without pyarrow.
    """
    columns = prediction_columns(labels, has_channels)
    form: Format | Document
    match ending := Path(path).suffix.lower():
        case ".jsonl":
            form = Format(_ALL, _json_line)
        case ".json":
            form = Document(_ALL, partial(_json_document, about))
        case ".csv":
            form = Format((Prediction,), partial(_csv_row, columns), csv_lines([columns]))
        case ".parquet":
            try:
                require_pyarrow()
            except SerError as error:
                raise SerError(f"{path}: {error}") from error
            form = Document((Prediction,), partial(_parquet, columns))
        case ".srt":
            form = Format((Segment,), partial(_subtitle, itertools.count(1)))
        case ".vtt":
            form = Format((Segment,), _cue, "WEBVTT\n\n")
        case ".rttm":
            form = Format((Segment,), partial(_rttm_line, _without_spaces(source_name)))
        case ".txt":
            form = Format((Segment,), _audacity_label)
        case _:
            given = ending or "missing"
            raise SerError(
                f"{path}: the ending is {given}, wanted {_WANTED}: it says what to write"
            )
    return form


def json_record(record: Record) -> dict[str, object]:
    """Return a record as plain JSON values: its ``type``, then its fields.

    The same on stdout, in files and on the wire; `records.schema.json` beside this file describes
    it.
    """
    return {"type": type(record).__name__.lower(), **record.to_dict()}


def _json_line(record: Record) -> str:
    """JSON Lines: everything."""
    return json.dumps(json_record(record), allow_nan=False) + "\n"


def _json_document(about: About, records: Sequence[Record]) -> bytes:
    """JSON: everything, as ``POST /v1/recognize`` of the server answers; a record per line."""
    parts = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in about().items()]
    for kind in _ALL:
        lines = ",\n".join(_json_line(one).rstrip() for one in records if isinstance(one, kind))
        parts.append(f'"{kind.__name__.lower()}s": [\n{lines}\n]')
    return ("{" + ",\n".join(parts) + "}\n").encode()


def _parquet(columns: Sequence[str], predictions: Sequence[Prediction]) -> bytes:
    """Apache Parquet: the table of .csv."""
    pyarrow, _ = require_pyarrow()
    file = pyarrow.BufferOutputStream()
    write_parquet(file, columns, (flat(prediction.to_dict()) for prediction in predictions))
    return bytes(file.getvalue())


def _csv_row(columns: Sequence[str], prediction: Prediction) -> str:
    """RFC 4180: a row per prediction, a column per label's probability."""
    row = flat(prediction.to_dict())
    return csv_lines([[row.get(name) for name in columns]])


def _subtitle(numbers: Iterator[int], segment: Segment) -> str:
    """SubRip: a numbered subtitle per segment."""
    return f"{next(numbers)}\n{_times(segment).replace('.', ',')}\n{_words(segment)}\n\n"


def _cue(segment: Segment) -> str:
    """WebVTT: a cue per segment."""
    return f"{_times(segment)}\n{html.escape(_words(segment), quote=False)}\n\n"


def _words(segment: Segment) -> str:
    return f"{_label_of(segment)} ({100 * segment.mean_confidence:.0f} %)"


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


def _times(segment: Segment) -> str:
    return f"{_clock(segment.start_seconds)} --> {_clock(segment.end_seconds)}"


def _clock(seconds: float) -> str:
    minutes, milliseconds = divmod(_milliseconds(seconds), 60000)
    hours, minutes = divmod(minutes, 60)
    whole, milliseconds = divmod(milliseconds, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d}.{milliseconds:03d}"


def _on_one_line(text: str) -> str:
    return " ".join(text.split()) or "unnamed"


def _without_spaces(text: str) -> str:
    return _on_one_line(text).replace(" ", "_")
