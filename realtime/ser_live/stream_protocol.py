"""Names and numbers of ser.v1, the protocol of a stream, that server and client share."""

from typing import Literal

SUBPROTOCOL = "ser.v1"
COUNTED_BYTES = 512
"""Bytes that the smallest message counts for: a flood of tiny ones costs as much as large ones."""

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
