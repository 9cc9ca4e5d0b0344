"""Attacks below WebSocket: TCP and HTTP."""

import asyncio
import struct
from collections.abc import Awaitable, Callable

from tools.load.field import Field

Attack = Callable[[Field], Awaitable[None]]

_PATHS = (
    "/", "/healthz", "/readyz", "/metrics", "/v1/models", "/v1/stream", "/v1/recognize",
    "/v1/schema", "/openapi.json", "/page/page.js", "/page/../../../etc/passwd",
    "/page/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/page//etc/passwd", "/page/%00", "/v1/%ff%fe",
    "//", "/v1/recognize?hop_seconds=nan&model=../../etc/passwd", "/v1/recognize?hop_seconds=1e309",
    "/v1/recognize?window_seconds=-1&sample_rate_hz=x", "*", "http://example.org/",
)  # fmt: skip
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "BREW")
_SLOW_SECONDS = 12.0  # longer than a server should wait for a request


async def random_bytes(field: Field) -> None:
    """Send what is no protocol at all."""
    await field.raw(field.noise(1, 2**16))


async def tls_hello(field: Field) -> None:
    """Begin to speak TLS, as a browser with the wrong address does."""
    hello = b"\x01\x00\x01\xfc\x03\x03" + field.noise(508, 508)
    await field.raw(b"\x16\x03\x01" + struct.pack(">H", len(hello)) + hello)


async def odd_requests(field: Field) -> None:
    """Ask for what is not there, in ways that are not allowed."""
    requests = [_request(field, field.choice(_METHODS), field.choice(_PATHS)) for _ in range(5)]
    await field.raw(b"".join(requests))


async def broken_headers(field: Field) -> None:
    """Send headers that hold anything, and too many of them."""
    noise = field.noise(1, 300).replace(b"\n", b"")
    headers = field.choice((
        b"X: " + noise,
        noise,
        b"X: " + b"a" * 2**17,
        b"\r\n".join(b"X-%d: y" % number for number in range(2000)),
        b"Content-Length: -1",
        b"Content-Length: 1\r\nContent-Length: 2",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Authorization: Bearer " + noise,
        b"Authorization: " + b"B" * 5000,
        b"Host: other.example",
        b"Cookie: " + noise * 20,
    ))  # fmt: skip
    path = field.choice(_PATHS).encode()
    await field.raw(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n\r\n")


async def broken_handshakes(field: Field) -> None:
    """Ask for a WebSocket in ways that RFC 6455 does not know."""
    headers = [
        b"Host: " + field.address.netloc.encode(),
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: " + field.choice((b"dGhlIHNhbXBsZSBub25jZQ==", b"short", b"\xff\xfe")),
        b"Sec-WebSocket-Version: " + field.choice((b"13", b"8", b"99", b"x")),
        b"Sec-WebSocket-Protocol: " + field.choice((b"ser.v1", b"ser.v9, , ,", b"bearer.\xff")),
        b"Sec-WebSocket-Extensions: " + field.choice((b"permessage-deflate", b"a;b=c;;;", b"\x01")),
    ]
    del headers[field.rng.integers(len(headers))]
    await field.raw(b"GET /v1/stream HTTP/1.1\r\n" + b"\r\n".join(headers) + b"\r\n\r\n")


async def slow_loris(field: Field) -> None:
    """Send a request so slowly that it never ends."""
    request = _request(field, "GET", "/v1/stream")[:-4] + b"\r\nX: y" * 200
    pause_seconds = 0.2
    pieces = [request[k : k + 1] for k in range(int(_SLOW_SECONDS / pause_seconds))]
    await field.raw(*pieces, pause_seconds=pause_seconds)


async def slow_upload(field: Field) -> None:
    """Announce a recording and send it drop by drop."""
    head = _post(field, b"Content-Length: 100000000")
    await field.raw(head, *(field.noise(1, 50) for _ in range(20)), pause_seconds=0.2)


async def huge_upload(field: Field) -> None:
    """Announce more than is allowed, and more than there is."""
    size = field.choice((b"104857601", b"99999999999999999999", b"18446744073709551616"))
    await field.raw(_post(field, b"Content-Length: " + size), field.noise(1, 2**16))


async def broken_chunks(field: Field) -> None:
    """Send a body in chunks that lie about their length."""
    chunk = field.choice(
        (b"ffffffffffffffff\r\nx", b"-5\r\nhello\r\n", b"zz\r\n", b"5\r\nhello5\r\n")
    )
    await field.raw(_post(field, b"Transfer-Encoding: chunked"), chunk + field.noise(0, 500))


async def broken_recordings(field: Field) -> None:
    """Upload what is no recording, or only begins like one."""
    noise = field.noise(0, 5000)
    body = field.choice((
        noise,
        b"",
        b"RIFF" + struct.pack("<I", 2**32 - 1) + b"WAVEfmt " + noise,
        _wav_head(sample_rate_hz=int(field.rng.integers(0, 2**32)), channels=1) + noise,
        _wav_head(sample_rate_hz=16000, channels=int(field.rng.integers(0, 2**16))) + noise,
        b"OggS" + noise,
        b"fLaC\x00\x00\x00\x22" + noise,
        b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + noise,
    ))  # fmt: skip
    await field.raw(_post(field, b"Content-Length: %d" % len(body)) + body)


async def cut_recording(field: Field) -> None:
    """Upload half of a good recording and go."""
    samples = field.voice.samples[:50].tobytes()
    body = _wav_head(field.voice.sample_rate_hz, 1) + samples
    await field.raw(_post(field, b"Content-Length: %d" % len(body)) + body[: len(body) // 2])


async def many_connections(field: Field) -> None:
    """Open connections and say nothing."""
    opened = [
        await asyncio.open_connection(field.address.host, field.address.port) for _ in range(50)
    ]
    await asyncio.sleep(1.0)
    for _, writer in opened:
        writer.transport.abort()
    field.note("left alone")


def _request(field: Field, method: str, path: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {field.address.netloc}", *_token(field)]
    return "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode("latin-1")


def _post(field: Field, header: bytes) -> bytes:
    lines = ["POST /v1/recognize HTTP/1.1", f"Host: {field.address.netloc}", *_token(field)]
    head = "\r\n".join([*lines, "Connection: close"]).encode("latin-1")
    return head + b"\r\n" + header + b"\r\n\r\n"


def _token(field: Field) -> list[str]:
    return [f"{name}: {value}" for name, value in field.address.headers.items()]


def _wav_head(sample_rate_hz: int, channels: int) -> bytes:
    rate_bytes = (sample_rate_hz * channels * 2) % 2**32
    form = struct.pack("<HHIIHH", 1, channels, sample_rate_hz, rate_bytes, channels * 2 % 2**16, 16)
    return b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0" + form + b"data\xff\xff\xff\x7f"


HTTP_ATTACKS: tuple[Attack, ...] = (
    random_bytes, tls_hello, odd_requests, broken_headers, broken_handshakes, slow_loris,
    slow_upload, huge_upload, broken_chunks, broken_recordings, cut_recording, many_connections,
)  # fmt: skip
