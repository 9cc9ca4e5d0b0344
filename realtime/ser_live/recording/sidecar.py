"""Lines beside a recording: how it was made, and what the samples alone do not tell."""

import dataclasses
import json
import os
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ser_live.engine.channels import UseChannels
from ser_live.errors import SerError
from ser_live.events import EventKind
from ser_live.model.prior import PriorChoice
from ser_live.text import sanitize

FORMAT_VERSION = 2
"""Of 1 are those without checksums, which do not say whether the stream came to its end."""


@dataclass(frozen=True, slots=True)
class Session:
    """Making of a recording: the first line."""

    version: str
    """Of ser-live."""
    source: str
    """Name of the device or the file."""
    sample_rate_hz: int
    channels: int
    model: str
    """Name of a shipped model, or a path."""
    model_sha256: str
    """Of the model's file."""
    window_seconds: float | None
    """This and the following as in `StreamRecognizer`."""
    hop_seconds: float
    smoothing_seconds: float | None
    vad: bool
    format_version: int = FORMAT_VERSION
    prior: PriorChoice = None
    uncertain_below: float | None = None
    use_channels: UseChannels = "mix"


@dataclass(frozen=True, slots=True)
class BlockMark:
    """A block that is not like the one before it, or the first after 1, 2, 4 ... seconds."""

    at_frame: int
    """Its first frame in the file."""
    frames: int
    """Its length; the blocks after it are as long, up to the next mark."""
    missing_frames: int = 0
    overruns: int = 0
    crc32: int = 0
    """Of its samples, by which a replay knows them again; 0 in format 1."""


@dataclass(frozen=True, slots=True)
class NoticeMark:
    """A notice of the source between two blocks."""

    at_frame: int
    kind: EventKind
    detail: str


@dataclass(frozen=True, slots=True)
class StopMark:
    """Here the recording stopped before the stream did."""

    at_frame: int
    reason: str


@dataclass(frozen=True, slots=True)
class EndMark:
    """Here the stream came to its end; a session that is broken off has none."""

    at_frame: int


Mark = Session | BlockMark | NoticeMark | StopMark | EndMark

_TYPES: dict[str, type[Mark]] = {
    "session": Session,
    "block": BlockMark,
    "notice": NoticeMark,
    "stop": StopMark,
    "end": EndMark,
}
_NAMES = {cls: name for name, cls in _TYPES.items()}


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of the lines of a recording."""
    return Path(f"{os.fspath(path)}.jsonl")


def line_of(mark: Mark) -> str:
    """Return a mark as a line; a block's counts that are 0 are left out."""
    fields = dataclasses.asdict(mark)
    if isinstance(mark, BlockMark):
        fields = {k: v for k, v in fields.items() if v or k in ("at_frame", "frames")}
    return json.dumps({"type": _NAMES[type(mark)], **fields}) + "\n"


def read_session(path: str | os.PathLike[str]) -> Session:
    """Read how a recording was made.

    Raises
    ------
    SerError
        If there are no lines beside it, or the first one is not what it should be.
    """
    first = next(_marks(path), None)
    if not isinstance(first, Session):
        raise SerError(
            f"{sidecar_path(path)}: the first line does not say how the recording was made; "
            f"hear it as plain audio with --file {path}"
        )
    return first


def read_marks(
    path: str | os.PathLike[str],
) -> Iterator[BlockMark | NoticeMark | StopMark | EndMark]:
    """Yield the lines after the first, as they are needed; an unfinished last one is left out.

    Raises
    ------
    SerError
        If a line is not what it should be.
    """
    for mark in _marks(path):
        if not isinstance(mark, Session):
            yield mark


def _marks(path: str | os.PathLike[str]) -> Iterator[Mark]:
    where = sidecar_path(path)
    try:
        with where.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.endswith("\n"):  # a process that was killed leaves half a line
                    yield _mark(line, f"{where}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SerError(
            f"{where}: cannot read it ({reason}); a recording of --record is two files; hear other "
            f"audio with --file {path}"
        ) from error


def _mark(line: str, where: str) -> Mark:
    try:
        fields = json.loads(line)
        mark = _TYPES[fields.pop("type")](**fields)
        _check(mark)
        return mark
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = sanitize(error) if isinstance(error, ValueError) else "missing or unknown fields"
        raise SerError(f"{where}: is not what --record wrote ({reason})") from error


def _check(mark: Mark) -> None:
    for field in dataclasses.fields(mark):
        value = getattr(mark, field.name)
        if field.type is int and (type(value) is not int or value < 0):
            raise ValueError(f"{field.name} is {value!r}, wanted a count")
    match mark:
        case Session() if not 1 <= mark.format_version <= FORMAT_VERSION:
            raise ValueError(f"format {mark.format_version}, wanted 1 to {FORMAT_VERSION}")
        case Session() if not (isinstance(mark.model, str) and isinstance(mark.vad, bool)):
            raise ValueError("model or vad is of another type")
        case NoticeMark() if mark.kind not in typing.get_args(EventKind) or not isinstance(
            mark.detail, str
        ):
            raise ValueError(f"unknown notice {mark.kind!r}")
