"""Why a stream ends, and how that is said in a close frame."""

from dataclasses import dataclass

from ser_live.server.messages import Reason

BAD_START = 4400
"""Also of too many bad messages."""

_CLOSE_CODES: dict[Reason, int] = {
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
_MOST_REASON_BYTES = 120


@dataclass(frozen=True, slots=True)
class Ending:
    """What a stream ends with."""

    reason: Reason
    detail: str = ""
    """One line: what came, what was wanted, what to do."""

    @property
    def close_code(self) -> int:
        """Of the close frame."""
        return _CLOSE_CODES.get(self.reason, BAD_START)

    @property
    def close_reason(self) -> str:
        """The detail, as far as a close frame has room for it."""
        return self.detail.encode()[:_MOST_REASON_BYTES].decode(errors="ignore")


class StopError(Exception):
    """The stream ends here.

    Parameters
    ----------
    reason : str
        For programs.
    detail : str
        For people.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail)
        self.ending = Ending(reason, detail)


class GoneError(Exception):
    """The client has left."""
