"""Base of both streams: messages both ways, without the connection that carries them."""

import json
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, Union, Unpack

from ser_live.client.address import DEFAULT_SERVER, Address, require_seconds, require_timeout
from ser_live.client.messages import Item, ServerError, decode
from ser_live.engine.utterances import UtteranceChoice
from ser_live.errors import SerError
from ser_live.events import Event
from ser_live.prediction import Prediction
from ser_live.stream_protocol import (
    COUNTED_BYTES,
    SAMPLE_BYTES,
    SUBPROTOCOL,
    Ended,
    SampleFormat,
    Started,
    require_sample_format,
)
from ser_live.text import quoted, sanitize

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Samples = Union["ArrayLike", bytes, bytearray, memoryview]

_NUMPY_NAMES = {"s16le": "<i2", "f32le": "<f4"}
_OWN_OPTIONS = ("token", "timeout_seconds", "reconnect_seconds")
_USUAL = {"sample_rate_hz": 16000, "channels": 1, "format": "s16le"}
_FRAME_BYTES = 2**16
_TIMEOUT_SECONDS = 10.0
_CLOSE_SECONDS = 5.0
_PONG_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 2.0
# Of these another try may be free: a server that goes, or a proxy that has not noticed.
_PASSING = frozenset({
    "connection_lost", "draining", "close_1012", "overloaded", "streams", "address",
    "http_502", "http_504",
})  # fmt: skip


END_MESSAGE = json.dumps({"type": "end"})


def skip_message(samples: int) -> str:
    """Make the message that so many samples per channel were lost."""
    return json.dumps({"type": "skip", "samples": int(samples)})


class StreamOptions(TypedDict, total=False):
    """Options of a stream; the defaults are in `AsyncStream`."""

    sample_rate_hz: int
    channels: int
    format: SampleFormat
    model: str | None
    hop_seconds: float
    window_seconds: float | None
    smoothing_seconds: float | None
    vad: bool
    prior: str | Mapping[str, float] | None
    labels: Sequence[str] | None
    utterances: UtteranceChoice
    use_channels: str
    token: str | None
    timeout_seconds: float
    reconnect_seconds: float


@dataclass(slots=True, eq=False)
class Link:
    """One of the connections that carry a stream, one after the other."""

    connection: Any
    samples: int = 0
    """Clock of the stream over there, per channel."""
    first_sample: int = 0
    """Place in the whole stream of the first sample that it got."""


class BaseStream:
    """Everything of a stream that does not wait: makes the client's messages, reads the server's.

    Parameters
    ----------
    server : str
        Its address.
    options : StreamOptions
        Of the stream.
    """

    started: Started
    """Settings that the stream runs with; once it is open."""
    ended: Ended
    """Account of all samples; once the iteration is over."""

    def __init__(self, server: str = DEFAULT_SERVER, **options: Unpack[StreamOptions]) -> None:
        self._address = Address.parse(server, options.get("token"))
        self._timeout_seconds = require_timeout(options.get("timeout_seconds", _TIMEOUT_SECONDS))
        reconnect_seconds = options.get("reconnect_seconds", 0.0)
        self._reconnect_seconds = require_seconds(
            "reconnect_seconds", reconnect_seconds, 0, math.inf
        )
        told = {k: v for k, v in options.items() if k not in _OWN_OPTIONS}
        self._told: dict[str, Any] = {**_USUAL, **told}
        self._format = require_sample_format(self._told["format"])
        self._is_over = False
        self._has_ended = False
        self._sent_samples = 0  # per channel, those that were skipped among them
        self._heard_seconds = 0.0
        # The first one is read to its end; the last one takes what is sent.
        self._links: list[Link] = []
        self._pace = _Pace(None)
        self._most_bytes = _FRAME_BYTES

    def _connecting(self) -> dict[str, Any]:
        """Return the arguments of ``websockets.connect``, of either kind."""
        return {
            "subprotocols": [SUBPROTOCOL],
            "additional_headers": self._address.headers,
            "compression": None,
            "open_timeout": self._timeout_seconds,
            "close_timeout": _CLOSE_SECONDS,
            # A server that is busy with what was sent answers when it comes to it.
            "ping_timeout": _PONG_SECONDS,
            # A program that sends a whole recording before it reads is no slow reader.
            "max_queue": None,
            **({"proxy": None} if self._address.is_loopback else {}),
        }

    def _start_message(self) -> str:
        told = {**self._told}
        try:
            # A single text is left to the server, which says what is wrong with it.
            if not isinstance(told.get("labels"), str | None):
                told["labels"] = list(told["labels"])
            return json.dumps({"type": "start", **told}, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise SerError(
                f"the options of the stream are {quoted(told)}, wanted texts and numbers "
                f"({sanitize(error)})"
            ) from error

    def _begin(self, text: str | bytes) -> None:
        """Read the answer to the start message.

        Raises
        ------
        ServerError
            If the server will not have the stream.
        """
        message = decode(text)
        if isinstance(message, ServerError):
            raise message
        if not isinstance(message, Started):
            raise SerError(f"the server began with {quoted(text)}, wanted 'started'")
        self.started = message
        limits = message.limits
        self._pace = _Pace(limits.get("max_bytes_per_second"))
        self._most_bytes = min(_FRAME_BYTES, limits.get("max_frame_bytes") or _FRAME_BYTES)

    def _read(self, text: str | bytes) -> Item | None:
        """Read the next message; None: it is not for the caller, or the stream is over."""
        message = decode(text)
        if isinstance(message, ServerError):
            raise message
        if isinstance(message, Ended):
            end_sample = round(message.seconds * self._told["sample_rate_hz"])
            is_answered = self._has_ended and end_sample >= self._sent_samples
            if message.reason == "draining" and self._reconnect_seconds and not is_answered:
                self._heard_seconds = message.seconds
                return None  # the close that follows leads to another server
            self.ended = message
            self._is_over = True
            return None
        if isinstance(message, Started):
            raise SerError("the server started twice")
        if isinstance(message, Prediction):
            self._heard_seconds = message.end_seconds
        if isinstance(message, Event) and message.kind == "gap" and message.at_seconds == 0.0:
            return self._gap(message)
        return message

    def _gap(self, told: Event) -> Event:
        """Return the gap before a connection, which was told to skip all that came before it."""
        if not (first_sample := self._links[0].first_sample):
            return told
        missing_seconds = first_sample / self._told["sample_rate_hz"] - self._heard_seconds
        detail = f"{missing_seconds:.3f} s are missing: the connection to the server was lost"
        return Event("gap", self._heard_seconds, detail)

    def _due(self, link: Link, message: str | bytes) -> Iterator[str | bytes]:
        """Give what to send for a message; a new connection's clock is put right before."""
        if link.samples < self._sent_samples:
            missing = self._sent_samples - link.samples
            link.samples = link.first_sample = self._sent_samples
            yield skip_message(missing)
        yield message

    def _pause_seconds(self, error: SerError, began: float) -> float:
        """Return how long to wait before the next try to connect, or raise the error."""
        is_passing = not isinstance(error, ServerError) or error.code in _PASSING
        away_seconds = time.monotonic() - began
        if not is_passing or away_seconds >= self._reconnect_seconds:
            raise error
        # Spread out: many clients lose the same server at the same time.
        longest = min(max(away_seconds, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        return random.uniform(0.5, 1.0) * longest

    def _frames(self, samples: Samples) -> Iterator[tuple[bytes, float]]:
        """Cut samples into frames, each with the seconds to wait before it."""
        data = self._pcm(samples)
        # Whole samples of all channels: the server answers a cut one with an error.
        size = max(self._most_bytes - self._most_bytes % self._frame_bytes, self._frame_bytes)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            yield piece, self._pace.wait_seconds(len(piece))

    @property
    def _frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return SAMPLE_BYTES[self._format] * int(self._told["channels"])

    def _pcm(self, samples: Samples) -> bytes:
        if isinstance(samples, bytes | bytearray | memoryview):
            data = bytes(samples)
        else:
            data = _packed(samples, self._format, self._told["channels"])
        if len(data) % self._frame_bytes:
            raise SerError(
                f"{len(data)} bytes are no whole number of samples; wanted a multiple of "
                f"{self._frame_bytes} ({self._format}, {self._told['channels']} channels)"
            )
        return data


class _Pace:
    """Pace of what is sent, below the bytes per second that the server allows."""

    # The server counts by arrival, which is less even than our sending.
    _SHARE = 0.9

    def __init__(self, bytes_per_second: float | None) -> None:
        self._per_second = self._SHARE * bytes_per_second if bytes_per_second else None
        self._free_at = time.monotonic()

    def wait_seconds(self, size: int) -> float:
        """Count bytes that are about to be sent; return how long to wait before."""
        if self._per_second is None:
            return 0.0
        now = time.monotonic()
        wait_seconds = max(0.0, self._free_at - now)
        # As the server counts.
        counted = max(size, COUNTED_BYTES)
        self._free_at = max(self._free_at, now) + counted / self._per_second
        return wait_seconds


def _packed(samples: "ArrayLike", format: SampleFormat, channels: int) -> bytes:
    """Bring samples into the bytes of a format, where that takes nothing from them."""
    # A program that sends bytes needs none of it.
    from ser_live.engine.resample import as_float, checked_block  # noqa: PLC0415

    if format not in _NUMPY_NAMES:
        raise SerError(f"samples came as numbers, the stream was announced as {format}; give bytes")
    array = checked_block(samples, channels)
    if format == "s16le" and array.dtype.kind == "f":
        raise SerError(
            f"samples are {array.dtype}, the stream was announced as s16le; give int16, or make "
            "the stream with format='f32le'"
        )
    if format == "f32le":
        array = as_float(array)
    packed: bytes = array.astype(_NUMPY_NAMES[format], order="C").tobytes()
    return packed
