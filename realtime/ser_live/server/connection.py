"""The messages of one connection: numbered, bounded, and interrupted where that must be."""

import asyncio
import json
import time
from typing import Any

from starlette.types import Receive, Send

from ser_live.server.close_reasons import Ending, GoneError, StopError
from ser_live.server.settings import COUNTED_BYTES, Limits
from ser_live.server.stream_session import Message

_BURST_SECONDS = 2.0


class Wire:
    """Both directions of a WebSocket that has been accepted.

    One task uses it, and waits for a message or for its reader. `interrupt`, from outside, makes
    that wait end in `StopError`.

    Parameters
    ----------
    receive, send : callable
        Of the connection.
    limits : Limits
        Of a message and of bytes per second.
    """

    def __init__(self, receive: Receive, send: Send, limits: Limits) -> None:
        self._receive = receive
        self._send = send
        self._limits = limits
        self._task = asyncio.current_task()
        self._number = 0
        self._burst_bytes = _BURST_SECONDS * limits.max_bytes_per_second + limits.max_frame_bytes
        self._allowance_bytes = self._burst_bytes
        self._charged_at = time.monotonic()
        self.ending: Ending | None = None
        """What `interrupt` wanted."""
        self.waiting_since: float | None = None
        """When it began to wait for a message; None: it does not."""
        self.sending_since: float | None = None
        """When it began to send the present message; None: there is none."""

    def interrupt(self, ending: Ending, *, even_sending: bool = False) -> None:
        """Stop the wait for a message, now or the next; an earlier interruption stands."""
        if self.ending is not None and not even_sending:
            return
        self.ending = ending
        is_stuck = even_sending and self.sending_since is not None
        if self._task is not None and (is_stuck or self.waiting_since is not None):
            self._task.cancel()

    async def next(self) -> Any:
        """Wait for the next message.

        Raises
        ------
        GoneError
            If the client has left.
        StopError
            If it is too large or too much, or after `interrupt`.
        """
        self.require_no_stop()
        self.waiting_since = time.monotonic()
        try:
            message = await self._receive()
        except asyncio.CancelledError:
            raise self._interrupted() from None
        finally:
            self.waiting_since = None
        if message["type"] == "websocket.disconnect":
            raise GoneError
        self._charge(len(message.get("bytes") or message.get("text") or ""))
        return message

    def require_no_stop(self) -> None:
        """Raise StopError after `interrupt`."""
        if self.ending is not None:
            raise StopError(self.ending.reason, self.ending.detail)

    async def tell(self, message: Message) -> None:
        """Number a message and send it, or raise StopError if nobody reads."""
        message["number"] = self._number
        self._number += 1
        self.sending_since = time.monotonic()
        try:
            await self._send({"type": "websocket.send", "text": json.dumps(message)})
        except asyncio.CancelledError:
            raise self._interrupted() from None
        finally:
            self.sending_since = None

    async def close(self, ending: Ending) -> None:
        """Send the close frame."""
        code, reason = ending.close_code, ending.close_reason
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def _interrupted(self) -> BaseException:
        """Tell an interruption of ours from a cancellation by somebody else."""
        if self.ending is None or self._task is None:
            return asyncio.CancelledError()
        self._task.uncancel()
        return StopError(self.ending.reason, self.ending.detail)

    def _charge(self, size: int) -> None:
        limits, now = self._limits, time.monotonic()
        if size > limits.max_frame_bytes:
            raise StopError(
                "too_large",
                f"a message of {size} bytes came, wanted at most {limits.max_frame_bytes}",
            )
        earned = (now - self._charged_at) * limits.max_bytes_per_second
        self._charged_at = now
        self._allowance_bytes = min(self._burst_bytes, self._allowance_bytes + earned)
        self._allowance_bytes -= max(size, COUNTED_BYTES)
        if self._allowance_bytes < 0:
            raise StopError(
                "rate_limit",
                f"too much came at once, wanted at most {limits.max_bytes_per_second} bytes per "
                f"second (a message counts as {COUNTED_BYTES} at least); send slower",
            )
