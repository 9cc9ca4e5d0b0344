"""One WebSocket connection: messages numbered, bounded and interrupted, and why it closes."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Send

from ser_live.server.messages import Message
from ser_live.server.settings import Limits
from ser_live.stream_protocol import BAD_START, CLOSE_CODES, COUNTED_BYTES, Reason

# A client that its network held up catches up without a fault.
_BURST_SECONDS = 2.0
# A close frame has room for 123.
_MOST_REASON_BYTES = 120


@dataclass(frozen=True, slots=True)
class CloseReason:
    """Why a stream ends."""

    reason: Reason
    detail: str = ""
    """One line: what came, what was wanted, what to do."""

    @property
    def close_code(self) -> int:
        """Code of the close frame."""
        return CLOSE_CODES.get(self.reason, BAD_START)

    @property
    def close_text(self) -> str:
        """The detail, as far as a close frame has room for it."""
        return self.detail.encode()[:_MOST_REASON_BYTES].decode(errors="ignore")


class StopError(Exception):
    """The stream ends here; the parameters are those of `CloseReason`."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail)
        self.close_reason = CloseReason(reason, detail)


class GoneError(Exception):
    """The client has left."""


class Connection:
    """Both directions of a WebSocket that has been accepted.

    One task uses it. `interrupt`, from outside, makes its wait for a message, or for its turn, end
    in `StopError`.

    Parameters
    ----------
    receive, send : callable
        Of the ASGI connection.
    limits : Limits
        Of a message and of bytes per second.
    """

    def __init__(self, receive: Receive, send: Send, limits: Limits) -> None:
        self._receive = receive
        self._send = send
        self._limits = limits
        self._task = asyncio.current_task()
        self._is_interruptible = False
        self._number = 0
        # The largest message is added, else it could never be sent.
        self._burst_bytes = _BURST_SECONDS * limits.max_bytes_per_second + limits.max_frame_bytes
        self._allowance_bytes = self._burst_bytes
        self._charged_at = time.monotonic()
        self.close_reason: CloseReason | None = None
        """Set by `interrupt`."""
        self.waiting_since: float | None = None
        """When it began to wait for a message; None: it does not."""
        self.sending_since: float | None = None
        """When it began to send the present message; None: there is none."""

    def interrupt(self, close_reason: CloseReason, *, even_sending: bool = False) -> None:
        """End the present wait, or the next one; an earlier interruption stands."""
        if self.close_reason is not None and not even_sending:
            return
        self.close_reason = close_reason
        # A client that does not read keeps us in a send, which only a cancellation ends.
        is_stuck = even_sending and self.sending_since is not None
        # Cancelled anywhere else (in the engine, say), samples would be lost from the account.
        if self._task is not None and (is_stuck or self._is_interruptible):
            self._task.cancel()

    async def receive(self) -> Any:
        """Wait for the next message.

        Raises
        ------
        GoneError
            If the client has left.
        StopError
            If it is too large or too much, or after `interrupt`.
        """
        self.waiting_since = time.monotonic()
        try:
            with self._interruptible():
                message = await self._receive()
        finally:
            self.waiting_since = None
        if message["type"] == "websocket.disconnect":
            raise GoneError
        self._charge(len(message.get("bytes") or message.get("text") or ""))
        return message

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for an event, or for so long, or raise StopError after `interrupt`."""
        with self._interruptible(), suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    def require_no_stop(self) -> None:
        """Raise StopError after `interrupt`."""
        if self.close_reason is not None:
            raise StopError(self.close_reason.reason, self.close_reason.detail)

    async def send(self, message: Message) -> None:
        """Number a message and send it, or raise StopError if the client does not read."""
        message["number"] = self._number
        self._number += 1
        self.sending_since = time.monotonic()
        try:
            await self._send({"type": "websocket.send", "text": json.dumps(message)})
        except asyncio.CancelledError:
            raise self._interrupted() from None
        finally:
            self.sending_since = None

    async def close(self, close_reason: CloseReason) -> None:
        """Send the close frame."""
        code, text = close_reason.close_code, close_reason.close_text
        await self._send({"type": "websocket.close", "code": code, "reason": text})

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        self.require_no_stop()
        self._is_interruptible = True
        try:
            yield
        except asyncio.CancelledError:
            raise self._interrupted() from None
        finally:
            self._is_interruptible = False

    def _interrupted(self) -> BaseException:
        """Return what to raise: our own interruption, or a cancellation from elsewhere."""
        if self.close_reason is None or self._task is None:
            return asyncio.CancelledError()
        # Taken back: else a timeout further out would take our interruption for its own.
        self._task.uncancel()
        return StopError(self.close_reason.reason, self.close_reason.detail)

    def _charge(self, size: int) -> None:
        limits, now = self._limits, time.monotonic()
        if size > limits.max_frame_bytes:
            raise StopError(
                "too_large",
                f"a message of {size} bytes came, wanted at most {limits.max_frame_bytes}",
            )
        # A token bucket: time earns bytes, messages spend them.
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
