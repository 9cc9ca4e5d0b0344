"""Messages of a server as records, and its mistakes as errors."""

import contextlib
import functools
import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar, cast

from ser_live.client.address import Address
from ser_live.engine.segments import Segment
from ser_live.engine.utterances import Utterance
from ser_live.errors import SerError
from ser_live.events import Event
from ser_live.prediction import Prediction, Timing
from ser_live.stream_protocol import Ended, ServedModel, Started
from ser_live.text import quoted, sanitize

Item = Prediction | Segment | Utterance | Event
Record = TypeVar("Record")

_STATUS_CODES = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    413: "too_large",
    415: "no_audio",
    429: "rate_limit",
    503: "overloaded",
}


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


def unreachable(address: Address, error: Exception) -> SerError:
    """Return the error for a server that cannot be reached."""
    reason = getattr(error, "strerror", None) or error
    return SerError(f"{address}: cannot reach the server ({sanitize(reason)}); does ser-serve run?")


def refused(address: Address, status: int, body: bytes) -> ServerError:
    """Return the error that an HTTP answer stands for, from its ``problem+json`` if it has one."""
    problem = _problem(body)
    detail = problem.get("detail") or problem.get("title") or f"HTTP status {status}"
    # The status first: programs know these words, and the server's own go into more detail.
    code = _STATUS_CODES.get(status) or problem.get("code") or f"http_{status}"
    return ServerError(str(code), f"{address}: {detail}")


def _problem(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        problem = json.loads(body)
        if isinstance(problem, dict):
            return problem
    return {}


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


def _prediction(message: dict[str, Any]) -> Prediction:
    timing = message.get("timing")
    return record(Prediction, message, timing=timing and record(Timing, timing))


def _started(message: dict[str, Any]) -> Started:
    model = message["model"]
    labels = tuple(model["labels"])
    return record(Started, message, model=record(ServedModel, model, labels=labels))


def record(wanted: Callable[..., Record], message: dict[str, Any], **made: object) -> Record:
    """Take the fields of a record; what a later version of the server adds is left alone."""
    names = {field.name for field in fields(cast(Any, wanted))} & message.keys()
    return wanted(**{name: message[name] for name in names} | made)


_DECODERS: dict[str, Callable[[dict[str, Any]], Started | Ended | Item | ServerError]] = {
    "started": _started,
    "prediction": _prediction,
    "segment": functools.partial(record, Segment),
    "utterance": functools.partial(record, Utterance),
    "event": lambda message: Event(message["event"], message["at_seconds"], message["detail"]),
    "error": lambda message: ServerError(message["code"], message["detail"], message["fatal"]),
    "ended": functools.partial(record, Ended),
}
