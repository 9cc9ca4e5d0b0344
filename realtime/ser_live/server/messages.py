"""Messages of a stream, both ways: how each is checked, and its JSON Schema."""

import json
import typing
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic.functional_validators import BeforeValidator
from pydantic_core import PydanticCustomError

from ser_live import stream_protocol
from ser_live.engine.recognizer import SHORTEST_HOP_SECONDS, SHORTEST_WINDOW_SECONDS
from ser_live.engine.resample import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, MOST_CHANNELS
from ser_live.engine.segments import Segment
from ser_live.engine.utterances import Utterance, UtteranceChoice
from ser_live.errors import SerError
from ser_live.events import EventKind
from ser_live.model.card import LONGEST_NAME, LONGEST_WINDOW_SECONDS, MOST_LABELS, MOST_ODDS
from ser_live.model.prior import ORDINARY_NAME, NamedPrior, PriorName
from ser_live.prediction import Prediction
from ser_live.stream_protocol import ErrorCode, SampleFormat
from ser_live.text import quoted, sanitize

Message = dict[str, object]
"""Message of a stream as it is sent: the JSON values of one of the models below."""

_MOST_SAMPLES = 2**53  # beyond it JavaScript counts no single samples
_QUOTED_PATH_PARTS = 4

_NAME = {"minLength": 1, "maxLength": LONGEST_NAME}
_FILE_NAME = {"minLength": 1, "maxLength": 255}
_SHARE = {"maximum": 1}
_SHARES = ("confidence", "mean_confidence", "probabilities", "raw_probabilities")
_BOUNDS: dict[str, dict[str, Any]] = {
    "sample_rate_hz": {"minimum": LOWEST_RATE_HZ, "maximum": HIGHEST_RATE_HZ},
    "channels": {"minimum": 1, "maximum": MOST_CHANNELS},
    "hop_seconds": {"minimum": SHORTEST_HOP_SECONDS, "maximum": LONGEST_WINDOW_SECONDS},
    "window_seconds": {"minimum": SHORTEST_WINDOW_SECONDS, "maximum": LONGEST_WINDOW_SECONDS},
    "prior": {"minimum": 1 / MOST_ODDS, "maximum": MOST_ODDS},
    ORDINARY_NAME: {"maximum": MOST_ODDS},
    "use_channels": {"minLength": 1},
    "channel": {"pattern": "^(left|right|[1-9][0-9]?)$"},
    "stream_id": {"pattern": "^[0-9a-f]{16}$"},
    **dict.fromkeys(("label", "labels"), _NAME),
    **dict.fromkeys(("model", "name"), _FILE_NAME),
    **dict.fromkeys(_SHARES, _SHARE),
}
"""Bounds of values in messages and queries, by name, which the engine checks in its own words.

A number without any is a time or a count: from 0 on.
"""


# A text where a number belongs is a mistake, and so is a field that is unknown.
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Strict(BaseModel):
    model_config = _STRICT


def _parsed(prior: object) -> object:
    """Read odds that came as text, as in a query."""
    if not isinstance(prior, str) or prior in get_args(NamedPrior):
        return prior
    with suppress(ValueError, RecursionError):
        if isinstance(odds := json.loads(prior), dict):
            return odds
    raise PydanticCustomError("prior", 'wanted everyday, even, or odds like {"neutral": 3}')


Labels = Annotated[list[str], Field(min_length=2, max_length=MOST_LABELS)]
"""Labels of a model."""
# A card's own time constant may be longer.
_Smoothing = Annotated[float, Field(json_schema_extra={"maximum": LONGEST_WINDOW_SECONDS})]
_Odds = Annotated[
    dict[str, Annotated[float, Strict()]],  # a text is no number, in a query either
    Field(json_schema_extra={"properties": {ORDINARY_NAME: {"type": "number"}}}),
]


# Not strict: in a query everything is text.
class SessionOptions(BaseModel):
    """Options of a recording, and of a stream in its start message."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    hop_seconds: float = 0.25
    window_seconds: float | None = None
    smoothing_seconds: _Smoothing | None = None
    vad: bool = True
    prior: Annotated[
        NamedPrior | _Odds | None,
        BeforeValidator(_parsed),
        Field(description="Odds of labels, relative to even ones; in a query as JSON"),
    ] = None
    labels: list[str] | None = None
    utterances: UtteranceChoice = False
    use_channels: str = "mix"


class Start(SessionOptions):
    """First message of a client."""

    model_config = _STRICT

    type: Literal["start"]
    sample_rate_hz: int
    channels: int
    format: SampleFormat


class Skip(_Strict):
    """The client lost so many samples per channel; the clock goes on."""

    type: Literal["skip"]
    samples: Annotated[int, Field(ge=0, le=_MOST_SAMPLES)]


class End(_Strict):
    """Nothing more comes."""

    type: Literal["end"]


class StreamModel(_Strict):
    """Model behind a stream."""

    name: str
    labels: Labels
    licence: str


class StreamLimits(_Strict):
    """Limits that a client had better keep to."""

    max_frame_bytes: int
    max_bytes_per_second: int
    max_seconds: float
    idle_seconds: float
    max_unsent: int
    unsent_seconds: float


# A number lets a client see that it missed nothing, and tests that nothing came twice.
class _Numbered(_Strict):
    number: Annotated[int, Field(ge=0, description="0, 1, 2 ... on each connection")]


class EventMessage(_Numbered):
    """Something to know beside the predictions."""

    type: Literal["event"]
    event: EventKind
    at_seconds: float
    detail: str


class ErrorMessage(_Numbered):
    """A mistake: what came, what was wanted, what to do."""

    type: Literal["error"]
    code: ErrorCode
    detail: str
    fatal: bool


# Made from the records that are sent: so the schema cannot fall behind them.
def _mirrored(name: str, record: type, **narrower: Any) -> type[BaseModel]:
    """Make the message that holds exactly the fields of a record, some of a narrower type."""
    hints = typing.get_type_hints(record) | narrower
    own: dict[str, Any] = {field.name: (hints[field.name], ...) for field in fields(record)}
    if "channel" in own:  # only where channels are recognized apart
        own["channel"] = (str, None)
    kind = record.__name__.lower()
    own["type"] = (Literal[kind], ...)
    told, _, _ = (record.__doc__ or "").partition("Examples\n")  # those are of Python
    return create_model(name, __base__=_Numbered, __doc__=told.strip(), **own)


PredictionMessage = _mirrored("PredictionMessage", Prediction)
SegmentMessage = _mirrored("SegmentMessage", Segment)
UtteranceMessage = _mirrored("UtteranceMessage", Utterance)
Started = _mirrored(
    "Started", stream_protocol.Started, model=StreamModel, limits=StreamLimits, prior=PriorName
)
Ended = _mirrored("Ended", stream_protocol.Ended, reason=stream_protocol.Reason)

ClientMessage = Start | Skip | End
_FROM_CLIENT: TypeAdapter[ClientMessage] = TypeAdapter(
    Annotated[ClientMessage, Field(discriminator="type")]
)
_SERVER_MESSAGES: Any = (
    Started
    | PredictionMessage
    | SegmentMessage
    | UtteranceMessage
    | EventMessage
    | ErrorMessage
    | Ended
)
_FROM_SERVER: TypeAdapter[Any] = TypeAdapter(
    Annotated[_SERVER_MESSAGES, Field(discriminator="type")]
)


class MessageError(SerError):
    """A message that the server cannot take; the stream may go on without it.

    Parameters
    ----------
    code : str
        ``bad_json``, ``bad_message`` or ``bad_frame``.
    detail : str
        One line for people.
    """

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code: ErrorCode = code


def read(text: str) -> ClientMessage:
    """Read a message of a client, or raise MessageError."""
    try:
        return _FROM_CLIENT.validate_json(text)
    except ValidationError as error:
        # One line for one mistake; the rest shows when it is mended.
        errors = error.errors(include_url=False, include_context=False)
    first = errors[0]
    if first["type"] == "json_invalid":
        raise MessageError(
            "bad_json",
            f"{quoted(text)} is no JSON ({sanitize(first['msg'])}); wanted one object",
        )
    raise MessageError("bad_message", f"{mistake(errors, 'the message')}; see GET /v1/schema")


def mistake(errors: Sequence[Any], whole: str, from_part: int = 0) -> str:
    """Tell the first of pydantic's errors in one line.

    Parameters
    ----------
    errors : sequence of dict
        What may be of several types has one for each, of which all are told.
    whole : str
        Name of what has no place within it.
    from_part : int
        Part of the place that is told first.
    """
    first, most = errors[0], _QUOTED_PATH_PARTS
    reasons = dict.fromkeys(
        sanitize(one["msg"]) for one in errors if one["loc"][:2] == first["loc"][:2]
    )
    if len(reasons) > 1:
        most = 2  # what follows are the types, in pydantic's words
    place = ".".join(sanitize(part) for part in first["loc"][from_part:most]) or whole
    return f"{place} is {quoted(first.get('input'))}: {', or '.join(reasons)}"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of all messages; a part for each side is under ``$defs``."""
    # What clients send is described as it is read, what the server sends as it is written.
    modes: Any = [("client", "validation", _FROM_CLIENT), ("server", "serialization", _FROM_SERVER)]
    sides: Any
    sides, shared = TypeAdapter.json_schemas(modes)
    parts: dict[str, Any] = {
        "ClientMessage": sides["client", "validation"],
        "ServerMessage": sides["server", "serialization"],
        **shared["$defs"],
    }
    for name, part in parts.items():
        part.pop("discriminator", None)  # a word of OpenAPI: strict validators do not know it
        state_bounds(name, part)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Messages of ser.v1",
        "description": "Text frames of ws /v1/stream; binary frames are interleaved PCM.",
        "anyOf": [{"$ref": "#/$defs/ClientMessage"}, {"$ref": "#/$defs/ServerMessage"}],
        "$defs": parts,
    }


def state_bounds(name: str, schema: dict[str, Any]) -> None:
    """Write the bounds of a value into its schema, and of all values within it into theirs."""
    for own, inner in schema.get("properties", {}).items():
        state_bounds(own, inner)
    parts = [*schema.get("anyOf", ()), schema.get("items"), schema.get("additionalProperties")]
    for part in parts:
        if isinstance(part, dict):
            state_bounds(name, part)
    if "enum" in schema or "const" in schema:
        return
    if (kind := schema.get("type")) in ("number", "integer", "string"):
        lowest = {} if kind == "string" else {"minimum": 0}
        schema |= lowest | _BOUNDS.get(name, {}) | schema
    if schema.get("default", 0) is None and "anyOf" not in schema:  # it is left out then
        del schema["default"]
