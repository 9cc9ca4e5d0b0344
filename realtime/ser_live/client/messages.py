"""Messages of a server, as records."""

import dataclasses
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ser_live.engine.segments import Segment
from ser_live.errors import SerError
from ser_live.events import Event
from ser_live.prediction import Prediction, Timing
from ser_live.text import quoted, sanitize

Item = Prediction | Segment | Event
Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """Model behind a stream."""

    name: str
    labels: tuple[str, ...]
    """All that it tells apart."""
    licence: str


@dataclass(frozen=True, slots=True)
class Started:
    """Settings of a stream that has begun."""

    stream_id: str
    """Its name in the server's log."""
    model: ServedModel
    sample_rate_hz: int
    hop_seconds: float
    """From one prediction to the next."""
    window_seconds: float
    smoothing_seconds: float
    delay_seconds: float
    """Delay that no faster machine removes: resampler, half of the window, smoothing."""
    limits: dict[str, Any]
    """Limits of a stream, by name."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Account of every sample of a stream that is over, per channel."""

    reason: str
    """end: you ended it; else the server did, and this is why."""
    received_samples: int
    """processed and dropped ones."""
    processed_samples: int
    dropped_samples: int
    skipped_samples: int
    """That you told were lost."""
    replaced_samples: int
    """NaN or infinite values that became zero."""
    predictions: int
    seconds: float
    """Length of the stream on its own clock."""


class ServerError(SerError):
    """Mistake that the server tells of.

    Parameters
    ----------
    code : str
        For programs: ``bad_frame``, ``rate_limit``, ``overloaded``, ``unauthorized`` ...
    detail : str
        For people: what came, what was wanted, what to do.
    is_fatal : bool
        The stream is over; else it goes on, and so does the iteration.
    """

    def __init__(self, code: str, detail: str, is_fatal: bool = True) -> None:
        super().__init__(f"{sanitize(detail)} ({sanitize(code)})")
        self.code = code
        self.is_fatal = is_fatal


def decode(text: str | bytes) -> Started | Ended | Item | ServerError:
    """Read one message of a stream.

    Raises
    ------
    SerError
        If it is none that this version knows.
    """
    try:
        message = json.loads(text)
        return _DECODERS[message["type"]](message)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SerError(
            f"the server said {quoted(text)}, which is no message of ser.v1 "
            f"({sanitize(repr(error))}); is it a server of ser-live, of about this version?"
        ) from error


def prediction(message: dict[str, Any]) -> Prediction:
    """Make the record of its JSON values."""
    timing = message.get("timing")
    return _record(Prediction, message, timing=timing and _record(Timing, timing))


def segment(message: dict[str, Any]) -> Segment:
    """Make the record of its JSON values."""
    return _record(Segment, message)


def event(message: dict[str, Any]) -> Event:
    """Make the record of its JSON values."""
    return Event(message["event"], message["at_seconds"], message["detail"])


def _started(message: dict[str, Any]) -> Started:
    model = message["model"]
    labels = tuple(model["labels"])
    return _record(Started, message, model=_record(ServedModel, model, labels=labels))


def _ended(message: dict[str, Any]) -> Ended:
    return _record(Ended, message)


def _error(message: dict[str, Any]) -> ServerError:
    return ServerError(message["code"], message["detail"], message["fatal"])


_DECODERS: dict[str, Callable[[dict[str, Any]], Started | Ended | Item | ServerError]] = {
    "started": _started,
    "prediction": prediction,
    "segment": segment,
    "event": event,
    "error": _error,
    "ended": _ended,
}


def _record(wanted: Callable[..., Record], message: dict[str, Any], **made: object) -> Record:
    """Take the fields of a record; what a later version of the server adds is left alone."""
    names, needed = _fields(wanted)
    missing = needed - message.keys() - made.keys()
    if missing:
        raise KeyError(min(missing))
    return wanted(**{name: message[name] for name in names if name in message} | made)


@functools.cache
def _fields(wanted: Any) -> tuple[tuple[str, ...], frozenset[str]]:
    fields = dataclasses.fields(wanted)
    needed = (field.name for field in fields if field.default is dataclasses.MISSING)
    return tuple(field.name for field in fields), frozenset(needed)
