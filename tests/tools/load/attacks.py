"""Attacks on a server: over TCP, HTTP and WebSocket."""

import asyncio
import contextlib
import io
import json
import re
import struct
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soundfile
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Opcode

from helpers import serving
from ser_live.stream_protocol import SUBPROTOCOL
from tools.load.client import Voice
from tools.load.server import Server, frame, text_frame

LET_IN = "let in"

_REPLY_SECONDS = 1.0
_FLOOD_SECONDS = 2.0
_LORIS_SECONDS = 12.0  # longer than a server should wait for a request
_ABNORMAL = 1006
_MOST_REPLY_BYTES = 2**20
_MOST_UNSENT_BYTES = 2**18
_STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3})", re.MULTILINE)
_PATHS = (
    "/", "/healthz", "/metrics", "/v1/models", "/v1/stream", "/v1/recognize", "/openapi.json",
    "/page/page.js", "/page/../../../etc/passwd", "/page/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/page//etc/passwd", "/page/%00", "/v1/%ff%fe", "//", "*", "http://example.org/",
    "/v1/recognize?hop_seconds=nan&model=../../etc/passwd", "/v1/recognize?hop_seconds=1e309",
)  # fmt: skip
_BAD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 1.5, 1e9, 2**63, 10**30, "", "16000", "x" * 5000, "../../etc/passwd",
    "\u202e\x00", [], [[]], {}, {"a": 1}, float("nan"), float("inf"), [1] * 1000,
)  # fmt: skip
_FIELDS = (
    "sample_rate_hz", "channels", "format", "model", "hop_seconds", "window_seconds",
    "smoothing_seconds", "vad", "labels", "type", "unknown", "samples",
)  # fmt: skip
_HARD_JSON = (
    "[" * 100_000, '{"type":' * 20_000, '{"type":"start","type":"end"}', '{"type":"\\ud800"}',
    '{"type":"start","sample_rate_hz":' + "9" * 100_000 + "}", "NaN", '"' + "x" * 900_000 + '"',
    '{"type":"start","sample_rate_hz":16000,"labels":["' + '","'.join(["a" * 10] * 5000) + '"]}',
)  # fmt: skip
_SMALL_MESSAGES = ({"type": "skip", "samples": 0}, {"type": "skip", "samples": 1}, {"x": 1})
_BAD_CHUNKS = (
    b"ffffffffffffffff\r\nx", b"-5\r\nhello\r\n", b"zz\r\n", b"5\r\nhello5\r\n",
)  # fmt: skip
_FORBIDDEN_FRAMES = (  # by RFC 6455
    b"\x82\x05hello",  # not masked
    b"\x88\x81\0\0\0\0\x03",  # a close code cut in half
    b"\x80\x80\0\0\0\0",  # the rest of nothing
    b"\x81\x82\0\0\0\0\xff\xfe",  # text that is none
)

Message = dict[str, Any] | str | bytes
"""A JSON message, a text, or bytes as they are, like those of a frame."""


@dataclass(slots=True)
class Attacker:
    """A client that attacks, and notes how the server answers."""

    server: Server
    voice: Voice
    rng: np.random.Generator
    outcomes: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Answers by attack, like "HTTP 400" to "random bytes"; attackers may share it."""
    attack: str = ""
    """The one under way."""

    async def run(self, attack: str) -> None:
        """Run an attack of that name."""
        self.attack = attack
        try:
            await ATTACKS[attack](self)
        except (OSError, ConnectionClosed) as error:  # and TimeoutError
            self.note(type(error).__name__)
        except InvalidStatus as error:
            self.note(f"HTTP {error.response.status_code}")

    def note(self, answer: str) -> None:
        """Count an answer of the server."""
        self.outcomes[self.attack][answer] += 1

    def noise(self, least: int, most: int) -> bytes:
        """Return random bytes, of a random length."""
        return self.rng.bytes(int(self.rng.integers(least, most + 1)))

    def choice(self, *options: Any) -> Any:
        """Return one of the options."""
        return options[self.rng.integers(len(options))]

    def audio(self) -> bytes:
        """Return a proper frame of audio."""
        return frame(self.voice.block(0))

    def request(self, method: str, path: str, *headers: bytes) -> bytes:
        """Return the head of a request with the token, and further headers."""
        own = {"Host": self.server.address.netloc, **self.server.address.headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in own.items())]
        return b"\r\n".join([*(line.encode("latin-1") for line in lines), *headers, b"", b""])

    def upload(self, body: bytes, size: object = None) -> bytes:
        """Return a request that uploads a recording; ``size`` is claimed instead of its own."""
        length = f"Content-Length: {len(body) if size is None else size}".encode()
        return self.request("POST", "/v1/recognize", b"Connection: close", length) + body

    async def send_raw(self, *pieces: bytes, pause_seconds: float = 0.0) -> None:
        """Send bytes over TCP, note the status of the answer, and hang up."""
        address = self.server.address
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            with contextlib.suppress(OSError):
                for piece in pieces:
                    if writer.is_closing():  # the server had enough: uvloop refuses to write
                        break
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(pause_seconds)
            self.note(await _status(reader))
        finally:
            writer.transport.abort()

    @asynccontextmanager
    async def stream(self, **options: Any) -> AsyncIterator[ClientConnection]:
        """Open a WebSocket, wait for an answer after the body, note all answers and be gone."""
        connection = await self.server.connect(**options)
        heard: list[dict[str, Any]] = []
        listening = asyncio.create_task(_listen(connection, heard))
        try:
            yield connection
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REPLY_SECONDS):
                    await connection.wait_closed()
        finally:
            code = connection.close_code  # before our own end
            connection.transport.abort()
            await listening
            for message in heard:
                if message["type"] in ("error", "ended"):
                    self.note(f"{message['type']} {message.get('code') or message['reason']}")
                elif message["type"] == "started" and options:
                    self.note(LET_IN)
            closed = "connection lost" if code == _ABNORMAL else f"close {code}"
            self.note("left open" if code is None else closed)

    async def say(
        self, *messages: Message, pause_seconds: float = 0.0, begins: bool = True, **options: Any
    ) -> None:
        """Open a WebSocket, begin a stream and send messages, whatever the server answers."""
        start: list[Message] = [self.voice.start_message()] if begins else []
        async with self.stream(**options) as connection:
            for message in (*start, *messages):
                if connection.transport.is_closing():
                    break
                _write(connection, message if isinstance(message, bytes) else text_frame(message))
                await asyncio.sleep(pause_seconds)

    async def flood(self, data: bytes, listens: bool = True) -> None:
        """Begin a stream and send the same bytes as fast as they are taken."""
        loop = asyncio.get_running_loop()
        async with self.stream() as connection:
            transport = connection.transport
            _write(connection, text_frame(self.voice.start_message()))
            if not listens:
                transport.pause_reading()
            deadline = loop.time() + _FLOOD_SECONDS
            while not transport.is_closing() and loop.time() < deadline:
                if transport.get_write_buffer_size() < _MOST_UNSENT_BYTES:
                    _write(connection, data)
                await asyncio.sleep(0.001)


def _write(connection: ClientConnection, data: bytes) -> None:
    """Write past the library, unless the server has closed the stream meanwhile."""
    with contextlib.suppress(RuntimeError):  # of uvloop: behind our own end, which answers a close
        connection.transport.write(data)


async def _listen(connection: ClientConnection, heard: list[dict[str, Any]]) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for text in connection:
            heard.append(json.loads(text))


async def _status(reader: asyncio.StreamReader) -> str:
    """Return the worst status of all answers: an attack may hold several requests."""
    reply, nothing = b"", "no answer"
    try:
        async with asyncio.timeout(_REPLY_SECONDS):
            while len(reply) < _MOST_REPLY_BYTES and (more := await reader.read(2**16)):
                reply += more
    except TimeoutError:
        pass
    except OSError as error:
        nothing = type(error).__name__
    found = [status.decode() for status in _STATUS.findall(reply)]
    return f"HTTP {max(found, default='?')}" if reply else nothing


def _broken_requests(a: Attacker) -> Awaitable[None]:
    noise = a.noise(1, 300).replace(b"\n", b"")
    header = a.choice(
        b"X: " + noise, noise, b"X: " + b"a" * 2**17, b"\r\n".join([b"X: y"] * 2000),
        b"Content-Length: -1", b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Authorization: Bearer " + noise, b"Host: other.example", b"Cookie: " + noise * 20,
    )  # fmt: skip
    requests = [a.request("GET", a.choice(*_PATHS), header) for _ in range(5)]
    return a.send_raw(a.choice(b"".join(requests), a.noise(1, 2**16)))


def _slow_loris(a: Attacker) -> Awaitable[None]:
    head, pause_seconds = a.request("GET", "/v1/stream", *[b"X: y"] * 200), 0.2
    pieces = [head[k : k + 1] for k in range(int(_LORIS_SECONDS / pause_seconds))]
    return a.send_raw(*pieces, pause_seconds=pause_seconds)


def _slow_upload(a: Attacker) -> Awaitable[None]:
    drops = [a.noise(1, 50) for _ in range(20)]
    return a.send_raw(a.upload(b"", 100_000_000), *drops, pause_seconds=0.2)


def _cut_recording(a: Attacker) -> Awaitable[None]:
    body = serving.recording(a.voice.samples[:50].ravel(), a.voice.sample_rate_hz, "PCM_16")
    return a.send_raw(a.upload(body[: len(body) // 2], len(body)))


def _answer_bomb(a: Attacker) -> Awaitable[None]:
    """Ask much of a file that holds nothing, and do not wait for the answer."""
    body, channels = io.BytesIO(), int(a.choice(1, 8))
    soundfile.write(body, np.zeros((4_800_000, channels), np.int16), 8000, format="FLAC")
    path = f"/v1/recognize?hop_seconds=0.01&utterances=provisional&use_channels={channels}"
    accept = a.choice(b"Accept: application/x-ndjson", b"Accept: application/json")
    length = f"Content-Length: {len(body.getvalue())}".encode()
    return a.send_raw(a.request("POST", path, accept, length) + body.getvalue())


def _random_messages(a: Attacker) -> Awaitable[None]:
    """Say what is right and what is wrong, in any order."""
    start = a.voice.start_message()

    def message() -> Message:
        skip = {"type": "skip", "samples": a.choice(*_BAD_VALUES, 2**20, 2**53, 10**18)}
        bad = {a.choice(*_FIELDS): a.choice(*_BAD_VALUES) for _ in range(3)}
        text = a.choice(*_HARD_JSON, json.dumps([bad]), a.noise(0, 200).decode("latin-1"))
        audio = a.choice(a.audio(), frame(a.noise(0, 50) * 2 + b"x"))
        found: Message = a.choice(start, {**start, **bad}, bad, skip, {"type": "end"}, audio, text)
        return found

    count = a.rng.integers(1, 40)
    return a.say(*(message() for _ in range(count)), begins=bool(a.rng.integers(2)))


def _wild_skips(a: Attacker) -> Awaitable[None]:
    sizes = [int(a.choice(1, 2**20, 2**31, 2**53, 2**62)) for _ in range(20)]
    skips = [part for size in sizes for part in (a.audio(), {"type": "skip", "samples": size})]
    return a.say(*skips, {"type": "end"})


def _noise(a: Attacker) -> Awaitable[None]:
    start = {
        **a.voice.start_message(), "format": a.choice("f32le", "s16le"),
        "channels": a.choice(1, 2, 5), "sample_rate_hz": a.choice(8000, 16000, 44100, 384000),
    }  # fmt: skip
    poison = np.array([np.nan, np.inf, -np.inf, 1e38, -1e38] * 200, "<f4").tobytes()
    audio = [frame(a.rng.bytes(4 * 5 * 2 * 500) + a.choice(b"", b"x")) for _ in range(20)]
    return a.say(start, *audio, frame(poison), {"type": "end"}, begins=False)


def _oversize_frames(a: Attacker) -> Awaitable[None]:
    size = int(a.choice(2**20 + 2, 2**31, 2**62, 2**63 - 1))
    head = b"\x82\xff" + struct.pack(">Q", size) + b"\0\0\0\0" + bytes(2**17)
    return a.say(head, bytes(size - 2**17) if size < 2**22 else b"", pause_seconds=0.1)


def _foreign_origin(a: Attacker) -> Awaitable[None]:
    origin = a.choice(
        "http://evil.example", "https://127.0.0.1.evil.example", "null", "file://", "x",
        f"http://evil.example:{a.server.address.port}",
    )  # fmt: skip
    return a.say(origin=origin)


async def _wrong_token(a: Attacker) -> None:
    token = a.server.address.token
    if token is None:  # nothing to guess
        return
    bearer = a.choice(None, "Bearer wrong", "Basic eDp4", f"Bearer {token}x", "Bearer ")
    headers = {} if bearer is None else {"Authorization": bearer}
    offered = a.choice((SUBPROTOCOL,), (SUBPROTOCOL, "bearer.wrong"), ("bearer.",))
    await a.say(headers=headers, subprotocols=offered)


ATTACKS: dict[str, Callable[[Attacker], Awaitable[None]]] = {
    "broken requests": _broken_requests,
    "slow loris": _slow_loris,
    "slow upload": _slow_upload,
    "huge upload": lambda a: a.send_raw(a.upload(b"", a.choice(104857601, 10**20, 2**64))),
    "broken chunks": lambda a: a.send_raw(
        a.request("POST", "/v1/recognize", b"Transfer-Encoding: chunked"), a.choice(*_BAD_CHUNKS)
    ),
    "cut recording": _cut_recording,
    "answer bomb": _answer_bomb,
    "random messages": _random_messages,
    "bad options": lambda a: a.say(
        {**a.voice.start_message(), a.choice(*_FIELDS): a.choice(*_BAD_VALUES)}, begins=False
    ),
    "wild skips": _wild_skips,
    "noise": _noise,
    "oversize frames": _oversize_frames,
    "broken frames": lambda a: a.say(
        a.choice(*_FORBIDDEN_FRAMES, a.noise(1, 2000)), begins=bool(a.rng.integers(2))
    ),
    "half frame": lambda a: a.say(a.audio()[: a.rng.integers(1, 1000)], pause_seconds=1.0),
    "ping flood": lambda a: a.flood(frame(b"x" * 125, Opcode.PING) * 50, listens=False),
    "message flood": lambda a: a.flood(text_frame(a.choice(*_SMALL_MESSAGES)) * 20),
    "audio flood": lambda a: a.flood(a.audio() * 20, listens=bool(a.rng.integers(2))),
    "crumbs": lambda a: a.flood(frame(a.voice.block(0)[:2]) * 100),
    "foreign origin": _foreign_origin,
    "wrong token": _wrong_token,
}
