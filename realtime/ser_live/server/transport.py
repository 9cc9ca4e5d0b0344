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
    """A WebSocket whose connection ends soon after its application, whatever the client does."""

    _abort_timer: asyncio.TimerHandle | None = None

    async def run_asgi(self) -> None:
        """Run the application, then give the connection a while to close by itself."""
        try:
            await super().run_asgi()
        finally:
            if not self.disconnected:
                self._abort_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    async def send(self, message: Any) -> None:
        """Send; the close of a stream does not wait behind what nobody reads."""
        if message["type"] == "websocket.accept" and self.transport.is_closing():
            raise ClientDisconnected  # else it would be taken for a fault of the application
        if message["type"] == "websocket.close":
            self.writable.set()
        await super().send(message)
        # A refusal ends the handshake as well; uvicorn would report a fault.
        self.handshake_complete = self.handshake_complete or self.close_sent

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        super().connection_lost(exc)
        if self._abort_timer is not None:
            self._abort_timer.cancel()
            self._abort_timer = None
