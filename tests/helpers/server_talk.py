"""A bare client of ``/v1/stream``, for tests that must say wrong things, too."""

import contextlib
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jsonschema
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from websockets import sync
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.sync.client import ClientConnection
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from helpers.serving import FAST_MODEL, Server
from ser_live import StreamRecognizer
from ser_live.output import json_record
from ser_live.sources import DEMO_PATH

Message = dict[str, Any]
TIMEOUT_SECONDS = 30.0

_WALL_CLOCK = ("number", "lag_seconds", "timing")


@dataclass
class Talk:
    """Messages of a server on one connection."""

    messages: list[Message] = field(default_factory=list)
    close_code: int | None = None
    close_reason: str = ""

    def of(self, kind: str) -> list[Message]:
        return [message for message in self.messages if message["type"] == kind]

    @property
    def predictions(self) -> list[Message]:
        return [timeless(message) for message in self.of("prediction")]

    @property
    def segments(self) -> list[Message]:
        return [timeless(message) for message in self.of("segment")]

    @property
    def events(self) -> list[Message]:
        return [timeless(message) for message in self.of("event")]

    @property
    def ended(self) -> Message:
        (ended,) = self.of("ended")
        assert ended is self.messages[-1]
        return ended


VOICE: NDArray[np.float32]
"""The demo, of shape (n, 1)."""
RATE_HZ: int
VOICE, RATE_HZ = soundfile.read(DEMO_PATH, dtype="float32", always_2d=True)
END = json.dumps({"type": "end"})


def start(**options: object) -> str:
    told = {"sample_rate_hz": RATE_HZ, "channels": 1, "format": "f32le", **options}
    return json.dumps({"type": "start", **told})


def connect(server: Server, **options: Any) -> ClientConnection:
    """Connect as a client that offers the protocol and reads as fast as it can."""
    given: dict[str, Any] = {"subprotocols": [Subprotocol("ser.v1")], "max_queue": None}
    given |= {"compression": None, "proxy": None, **options}
    opened: ClientConnection = sync.client.connect(server.ws_url, **given)
    return opened


def refusal(server: Server, **options: Any) -> int:
    """Return the status with which a stream is refused at the handshake: a problem in words."""
    with pytest.raises(InvalidStatus) as refused, connect(server, **options):
        pass
    answer = refused.value.response
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("retry-after" in answer.headers) == (answer.status_code == 503)
    return answer.status_code


def talk(server: Server, sent: Sequence[str | bytes], **options: Any) -> Talk:
    """Send all of it, then listen to the end; the answers must fit the server's own schema."""
    with connect(server, **options) as socket:
        with contextlib.suppress(ConnectionClosed):
            for block in sent:
                socket.send(block)
        said = listen(socket)
    validator = jsonschema.Draft202012Validator(schema(server))
    for message in said.messages:
        validator.validate(message)
    assert [message["number"] for message in said.messages] == list(range(len(said.messages)))
    return said


def listen(socket: ClientConnection, after_seconds: float = 0.0) -> Talk:
    """Take everything up to the close, beginning a while later."""
    time.sleep(after_seconds)
    said = Talk()
    try:
        while True:
            said.messages.append(json.loads(socket.recv(TIMEOUT_SECONDS)))
    except ConnectionClosed:
        said.close_code, said.close_reason = socket.close_code, socket.close_reason or ""
    return said


def schema(server: Server) -> dict[str, Any]:
    """Return the schema of the server's messages."""
    headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
    told = server.get("/v1/schema", headers=headers).json()
    return {"$ref": "#/$defs/ServerMessage", "$defs": told["$defs"]}


def blocks(samples: NDArray[Any], size: int) -> list[str | bytes]:
    """Cut samples of shape (n, channels) into blocks of so many frames."""
    return [samples[at : at + size].tobytes() for at in range(0, len(samples), size)]


def offline(samples: NDArray[Any], rate_hz: int = RATE_HZ, **options: Any) -> list[Message]:
    """Return the predictions of a recognizer for all of it at once."""
    given: dict[str, Any] = {"model": FAST_MODEL, **options}
    recognizer = StreamRecognizer(sample_rate_hz=rate_hz, channels=samples.shape[1], **given)
    predictions = recognizer.process(samples) + recognizer.flush()
    return [timeless(json.loads(json.dumps(json_record(p)))) for p in predictions]


def timeless(message: Message) -> Message:
    """Leave out what differs from run to run."""
    return {key: value for key, value in message.items() if key not in _WALL_CLOCK}


class DeafClient:
    """A client that does not read until it is told to listen, and sends until the server is stuck.

    The server takes nothing more when nothing was read of its answers for a second.
    """

    def __init__(self, server: Server) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
        self._socket.settimeout(TIMEOUT_SECONDS)
        self._socket.connect((server.host, server.port))
        self._protocol = ClientProtocol(parse_uri(server.ws_url))
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        while self._protocol.state is State.CONNECTING:
            self._protocol.receive_data(self._socket.recv(1))
        self._protocol.send_text(start(hop_seconds=0.01, vad=False).encode())
        self._socket.settimeout(1.0)
        with contextlib.suppress(TimeoutError):
            while True:
                self._flush()
                self._protocol.send_binary(VOICE[:RATE_HZ].tobytes())
        self._socket.settimeout(TIMEOUT_SECONDS)

    def listen(self) -> Talk:
        """Read everything at last, up to the close."""
        with contextlib.suppress(ConnectionError):
            while data := self._socket.recv(1 << 16):
                self._protocol.receive_data(data)
                if self._protocol.state is State.CLOSING:
                    break  # half a frame of ours is on its way: there is nothing more to say
        self._protocol.receive_eof()
        frames = [e for e in self._protocol.events_received() if isinstance(e, Frame)]
        said = [json.loads(bytes(f.data)) for f in frames if f.opcode is Opcode.TEXT]
        return Talk(said, self._protocol.close_code, self._protocol.close_reason or "")

    def close(self) -> None:
        self._socket.close()

    def _flush(self) -> None:
        self._socket.sendall(b"".join(self._protocol.data_to_send()))
