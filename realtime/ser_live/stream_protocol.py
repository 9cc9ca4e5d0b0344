"""Names, numbers and records of ser.v1, the protocol of a stream, that server and client share."""

from dataclasses import dataclass
from typing import Any, Literal

from ser_live.errors import SerError
from ser_live.text import quoted

SUBPROTOCOL = "ser.v1"
COUNTED_BYTES = 512
"""Bytes that the smallest message counts for: a flood of tiny ones costs as much as large ones."""

SampleFormat = Literal[
    "s16le", "f32le", "s24le", "s32le", "f64le", "u8", "mulaw", "alaw",
    "s16be", "s24be", "s32be", "f32be", "f64be",
]  # fmt: skip
SAMPLE_BYTES: dict[SampleFormat, int] = {
    "s16le": 2, "f32le": 4, "s24le": 3, "s32le": 4, "f64le": 8, "u8": 1, "mulaw": 1, "alaw": 1,
    "s16be": 2, "s24be": 3, "s32be": 4, "f32be": 4, "f64be": 8,
}  # fmt: skip
"""Formats of raw samples, and the bytes of one."""


def require_sample_format(sample_format: object) -> SampleFormat:
    """Return the format, or raise SerError if it is unknown."""
    for known in SAMPLE_BYTES:
        if sample_format == known:
            return known
    raise SerError(f"format is {quoted(sample_format)}, wanted one of {', '.join(SAMPLE_BYTES)}")


ErrorCode = Literal[
    "bad_json",
    "bad_message",
    "bad_frame",
    "wrong_order",
    "bad_option",
    "unknown_model",
    "too_large",
    "rate_limit",
    "idle",
    "too_long",
    "slow_reader",
    "overloaded",
    "draining",
    "internal",
]
Reason = Literal["end"] | ErrorCode

BAD_START = 4400
"""Close code of every reason that has none of its own: a bad start, too many bad messages."""
CLOSE_CODES: dict[Reason, int] = {
    "end": 1000,
    "draining": 1001,
    "too_large": 1009,
    "internal": 1011,
    "overloaded": 1013,
    "idle": 4408,
    "too_long": 4413,
    "rate_limit": 4429,
    "slow_reader": 4430,
}


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
    prior: str = "even"
    """Odds in force: "everyday" (the model's), "even", or "own" (given by the client)."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Account of every sample of a stream that is over, per channel.

    ``received_samples`` = ``processed_samples`` + ``dropped_samples``.
    """

    reason: str
    """end: the client ended it; else the server did, and this is why."""
    received_samples: int
    processed_samples: int
    dropped_samples: int
    skipped_samples: int
    """Samples that the client told were lost."""
    replaced_samples: int
    """NaN or infinite values that became zero."""
    predictions: int
    seconds: float
    """Length of the stream on its own clock."""
