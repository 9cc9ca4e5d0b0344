"""Uvicorn's protocols with deadlines: who sends or reads too slowly is let go."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

HEAD_SECONDS = 10.0
"""From the connection, or from the last answer, to a whole head of a request."""
WRITE_SECONDS = 60.0
"""So long may the reader of an answer take nothing."""
LINGER_SECONDS = 10.0
"""From the close of a stream to the end of its connection."""
SLICE_BYTES = 1 << 14
"""Of a WebSocket, taken at a time."""


class HttpProtocol(H11Protocol):
    """HTTP by h11, which bounds a head's size; this bounds its time, and that of the answer."""

    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        self._head_came()
        self.resume_writing()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Stop the clock when a head is whole."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._head_came()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Stop the clock: another protocol takes over."""
        self._head_came()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """Wait for the next head."""
        super().on_response_complete()
        self._head_came()
        if not self.transport.is_closing():
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer is on its way; its application hears of it."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return super().send_400_response(msg)
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle.response_started:
            self.transport.close()
        else:
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        """Begin to wait for the reader."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the clock: it has read."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket that can hold nobody up.

    What came in one read is taken in slices, and no further slice before the application has taken
    the messages of the one before: thousands of tiny frames do not stop the other connections, and
    do not heap up. The connection ends soon after its application, whatever the client does.
    """

    _abort_timer: asyncio.TimerHandle | None = None
    _held = b""
    _is_scheduled = False

    def data_received(self, data: bytes) -> None:
        """Take the first slice; keep the rest, and read nothing more meanwhile."""
        data = self._held + data
        super().data_received(data[:SLICE_BYTES])
        self._held = data[SLICE_BYTES:]
        self._go_on_later()

    async def receive(self) -> Any:
        """Give the next message to the application."""
        message = await super().receive()
        self._go_on_later()
        return message

    async def run_asgi(self) -> None:
        """Run the application, then give the connection a while to close by itself."""
        try:
            await super().run_asgi()
        finally:
            if not self.disconnected:
                self._abort_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    async def send(self, message: Any) -> None:
        """Send; the close of a stream does not wait behind what nobody reads."""
        is_over = self.close_sent  # by itself: the client broke the protocol
        if is_over or (message["type"] == "websocket.accept" and self.transport.is_closing()):
            raise ClientDisconnected  # else it would be taken for a fault of the application
        if message["type"] == "websocket.close":
            self.writable.set()
        await super().send(message)
        # A refusal ends the handshake as well; uvicorn would report a fault.
        self.handshake_complete = self.handshake_complete or self.close_sent
        self._go_on_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline and what was kept."""
        super().connection_lost(exc)
        self._held = b""
        if self._abort_timer is not None:
            self._abort_timer.cancel()
            self._abort_timer = None

    def _go_on_later(self) -> None:
        """Take the next slice in the next round of the loop, unless messages wait."""
        if not self._held or self.transport.is_closing():
            return
        self.transport.pause_reading()
        if not self._is_scheduled and not self.read_paused:
            self._is_scheduled = True
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_scheduled = False
        if self._held and not self.transport.is_closing():
            self.data_received(b"")
            if not self._held and not self.read_paused:
                self.transport.resume_reading()
