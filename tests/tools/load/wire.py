"""One WebSocket connection that costs as little as it can, and may be ended as rudely as wanted.

The protocol is that of the ``websockets`` library (its part without input and output); frames
that were made before go straight to the socket, so that a sender costs next to nothing beside
the server that it measures.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any, cast

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

from ser_live.client.address import Address
from ser_live.stream_protocol import SUBPROTOCOL

LOST = 1006
_OPEN_SECONDS = 30.0
_LARGEST_MESSAGE_BYTES = 2**24


class RefusedError(Exception):
    """The server answered the handshake with a status that is none of success."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status


class Wire(asyncio.Protocol):
    """A connection; made by `open_wire`.

    Parameters
    ----------
    address : Address
        Of the server.
    hear : callable
        Is given each text message as it comes.
    origin : str or None
        Header of that name.
    headers : dict
        Further ones, instead of those of the address.
    subprotocols : sequence of str
        That are offered.
    """

    def __init__(
        self,
        address: Address,
        hear: Callable[[bytes], None],
        origin: str | None = None,
        headers: dict[str, str] | None = None,
        subprotocols: Sequence[str] = (SUBPROTOCOL,),
    ) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[int] = loop.create_future()
        self.transport: asyncio.Transport
        self._hear = hear
        self._headers = address.headers if headers is None else headers
        self._parts: list[bytes] = []
        self._protocol = ClientProtocol(
            parse_uri(address.stream_url),
            origin=None if origin is None else Origin(origin),
            subprotocols=[Subprotocol(name) for name in subprotocols],
            max_size=_LARGEST_MESSAGE_BYTES,
        )

    @property
    def is_open(self) -> bool:
        """Both sides may speak."""
        return self.opened.done() and not self.closed.done() and not self.transport.is_closing()

    @property
    def unsent_bytes(self) -> int:
        """What the socket has not taken yet."""
        return 0 if self.transport.is_closing() else self.transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Send bytes as they are, a frame made before or what is none, if anybody is there."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def say(self, **message: Any) -> None:
        """Send a JSON message."""
        self.write(text_frame(json.dumps(message)))

    def close(self) -> None:
        """Say goodbye as the protocol wants it."""
        self._protocol.send_close(1000)
        self._pass_on()

    def abort(self, reset: bool = False) -> None:
        """Be gone, without a goodbye; with ``reset`` not even TCP has one."""
        if reset and not self.transport.is_closing():
            own = self.transport.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self.transport = cast(asyncio.Transport, transport)  # that of uvloop is of no such class
        request = self._protocol.connect()
        request.headers.update(self._headers)
        self._protocol.send_request(request)
        self._pass_on()

    def data_received(self, data: bytes) -> None:
        """Take what came, and answer what the protocol answers by itself."""
        self._protocol.receive_data(data)
        self._take()

    def eof_received(self) -> None:
        """Take note that nothing more comes."""
        self._protocol.receive_eof()
        self._take()

    def connection_lost(self, error: Exception | None) -> None:
        """Say how it ended."""
        if not self.opened.done():
            self.opened.set_exception(error or ConnectionResetError("closed in the handshake"))
        self.closed.set_result(self._protocol.close_code or LOST)

    def _take(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self._open(event)
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.CONT):
                self._parts.append(bytes(event.data))
                if event.fin:
                    message, self._parts = b"".join(self._parts), []
                    self._hear(message)
        self._pass_on()

    def _open(self, response: Response) -> None:
        if self.opened.done():
            return
        if response.status_code != 101:
            self.opened.set_exception(RefusedError(response.status_code))
        elif self._protocol.handshake_exc is not None:
            self.opened.set_exception(self._protocol.handshake_exc)
        else:
            self.opened.set_result(None)

    def _pass_on(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.write(data)
            else:  # the protocol has said all
                self.transport.close()


async def open_wire(address: Address, hear: Callable[[bytes], None], **options: Any) -> Wire:
    """Connect, and wait until the server has agreed.

    Parameters
    ----------
    address : Address
        Of the server.
    hear : callable
        Is given each text message as it comes.
    **options
        As in `Wire`.

    Raises
    ------
    RefusedError
        If the server will not.
    OSError
        If nobody is there, or the connection was lost.
    """
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(
        lambda: Wire(address, hear, **options), address.host, address.port
    )
    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            await wire.opened
    except WebSocketException as error:
        wire.abort()
        raise ConnectionError(f"no WebSocket: {error}") from error
    except BaseException:
        wire.abort()
        raise
    return wire


def binary_frame(data: bytes) -> bytes:
    """Make a frame that may be sent any number of times, by any connection."""
    return Frame(Opcode.BINARY, data).serialize(mask=True)


def text_frame(text: str) -> bytes:
    """Make a frame of text."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=True)
