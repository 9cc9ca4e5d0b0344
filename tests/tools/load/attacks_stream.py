"""Attacks on a stream: WebSocket frames, messages and audio."""

import asyncio
import json
import struct
from typing import Any

import numpy as np
from websockets.frames import Frame, Opcode

from tools.load.attacks_http import Attack
from tools.load.field import Field
from tools.load.wire import RefusedError, binary_frame, text_frame

_FLOOD_SECONDS = 2.0
_BAD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 1.5, 1e9, 2**63, 10**30, "", "16000", "x" * 5000, "../../etc/passwd",
    "\u202e\x00", [], [[]], {}, {"a": 1}, float("nan"), float("inf"), [1] * 1000,
)  # fmt: skip
_FIELDS = (
    "sample_rate_hz", "channels", "format", "model", "hop_seconds", "window_seconds",
    "smoothing_seconds", "vad", "labels", "type", "unknown",
)  # fmt: skip


async def random_texts(field: Field) -> None:
    """Begin with texts that are no messages."""
    async with field.wire() as line:
        for _ in range(field.rng.integers(1, 40)):
            line.wire.write(text_frame(field.noise(0, 200).decode("latin-1")))


async def random_json(field: Field) -> None:
    """Say JSON of any shape, before or after a proper start."""
    async with field.wire() as line:
        if field.chance(0.5):
            line.begin(field.voice)
        for _ in range(field.rng.integers(1, 40)):
            line.wire.write(text_frame(json.dumps(_any_json(field, 3))))


async def hard_json(field: Field) -> None:
    """Say JSON that is hard to read: deep, long, with huge numbers and keys that come twice."""
    text = field.choice((
        "[" * 100_000,
        '{"type":' * 20_000,
        '{"type":"start","sample_rate_hz":' + "9" * 100_000 + "}",
        '{"type":"start","type":"end","sample_rate_hz":16000}',
        '{"type":"' + "\\u0000" * 1000 + '"}',
        '{"type":"start","sample_rate_hz":16000,"channels":1,"format":"s16le","labels":["'
        + '","'.join("a" * 10 for _ in range(5000)) + '"]}',
        '{"type":"\\ud800"}',
        "NaN",
        '"' + "x" * 900_000 + '"',
    ))  # fmt: skip
    async with field.wire() as line:
        line.wire.write(text_frame(text))


async def bad_options(field: Field) -> None:
    """Ask for streams that cannot be."""
    async with field.wire() as line:
        start = field.voice.start_message()
        for _ in range(field.rng.integers(1, 4)):
            start[field.choice(_FIELDS)] = field.choice(_BAD_VALUES)
        line.wire.write(text_frame(json.dumps(start)))
        line.wire.write(field.voice.frames[0])


async def wrong_order(field: Field) -> None:
    """Say the right things at the wrong time."""
    start, end = field.voice.start_message(), {"type": "end"}
    audio = field.voice.frames[0]
    skip = {"type": "skip", "samples": field.choice((-1, 0, 10**18, 1.5, None, 100))}
    says = [start, start, end, audio, skip, audio, end]
    field.rng.shuffle(says)
    async with field.wire() as line:
        for say in says:
            line.wire.write(say if isinstance(say, bytes) else text_frame(json.dumps(say)))


async def wild_skips(field: Field) -> None:
    """Claim to have lost years of audio."""
    async with field.wire() as line:
        line.begin(field.voice)
        for _ in range(20):
            line.wire.write(field.voice.frames[0])
            line.wire.say(type="skip", samples=int(field.choice((1, 2**20, 2**31, 2**53, 2**62))))
        line.wire.say(type="end")


async def odd_frames(field: Field) -> None:
    """Send audio of lengths that no sample has."""
    async with field.wire() as line:
        line.begin(field.voice)
        for _ in range(field.rng.integers(1, 30)):
            line.wire.write(binary_frame(field.noise(0, 50) * 2 + b"x"))


async def noise(field: Field) -> None:
    """Send random bytes as audio: for floats that is NaN, infinity and far too loud."""
    async with field.wire() as line:
        start = {**field.voice.start_message(), "format": field.choice(("f32le", "s16le"))}
        start["channels"] = int(field.choice((1, 2, 5)))
        start["sample_rate_hz"] = int(field.choice((8000, 16000, 44100, 384000)))
        line.wire.say(**start)
        for _ in range(20):
            line.wire.write(binary_frame(field.rng.bytes(4 * 5 * 2 * 500)))
        poison = np.array([np.nan, np.inf, -np.inf, 1e38, -1e38] * 200, "<f4")
        line.wire.write(binary_frame(poison.tobytes()))
        line.wire.say(type="end")


async def oversize_frames(field: Field) -> None:
    """Announce or send frames beyond every limit."""
    async with field.wire() as line:
        line.begin(field.voice)
        size = int(field.choice((2**20 + 2, 2**31, 2**62, 2**63 - 1)))
        line.wire.write(b"\x82\xff" + struct.pack(">Q", size) + b"\0\0\0\0" + bytes(2**17))
        await asyncio.sleep(0.1)
        if size < 2**22 and line.wire.is_open:
            line.wire.write(bytes(size - 2**17))


async def endless_fragments(field: Field) -> None:
    """Send a message that never ends, in fragments."""
    async with field.wire() as line:
        line.begin(field.voice)
        kind, size = field.choice((Opcode.BINARY, Opcode.TEXT)), int(field.choice((0, 1, 2**15)))
        line.wire.write(Frame(kind, b"x" * size, fin=False).serialize(mask=True))
        more = Frame(Opcode.CONT, b"x" * size, fin=False).serialize(mask=True)
        for _ in range(100):
            line.wire.write(more)
            await asyncio.sleep(0.005)


async def broken_frames(field: Field) -> None:
    """Send frames that RFC 6455 forbids."""
    frame = field.choice((
        b"\x82\x05hello",  # not masked
        b"\xf2\x80\0\0\0\0",  # reserved bits
        bytes([0x80 | int(field.choice((3, 4, 7, 11, 15))), 0x80, 0, 0, 0, 0]),  # unknown kinds
        b"\x09\x80\0\0\0\0",  # a ping in fragments
        b"\x89\xfe\x00\x7e\0\0\0\0" + bytes(126),  # a ping too long
        b"\x88\x81\0\0\0\0\x03",  # a close code cut in half
        b"\x88\x82\0\0\0\0\x03\xed",  # a close code that nobody may send
        b"\x80\x80\0\0\0\0",  # the rest of nothing
        b"\x81\x82\0\0\0\0\xff\xfe",  # text that is none
        b"\x82\xfe\x00\x05\0\0\0\0hello",  # a length written too long
        b"\xc2\x85\0\0\0\0hello",  # compressed, which was not agreed
        field.noise(1, 2000),
    ))  # fmt: skip
    async with field.wire() as line:
        if field.chance(0.7):
            line.begin(field.voice)
        line.wire.write(frame)


async def half_frame(field: Field) -> None:
    """Stop within a frame and wait."""
    async with field.wire() as line:
        line.begin(field.voice)
        line.wire.write(field.voice.frames[0][: int(field.rng.integers(1, 1000))])
        await line.rest(float(field.rng.uniform(0.1, 5.0)))


async def ping_flood(field: Field) -> None:
    """Ping as fast as it goes, and do not listen."""
    ping = Frame(Opcode.PING, b"x" * 125).serialize(mask=True)
    async with field.wire() as line:
        line.wire.transport.pause_reading()
        await _flood(line.wire, ping * 50)


async def message_flood(field: Field) -> None:
    """Say small things as fast as it goes: unknown ones, or skips of nothing."""
    say = field.choice(({"type": "skip", "samples": 0}, {"type": "skip", "samples": 1}, {"x": 1}))
    async with field.wire() as line:
        line.begin(field.voice)
        await _flood(line.wire, text_frame(json.dumps(say)) * 20)


async def audio_flood(field: Field) -> None:
    """Send audio as fast as it is taken, with or without listening."""
    async with field.wire() as line:
        line.begin(field.voice)
        if field.chance(0.5):
            line.wire.transport.pause_reading()
        await _flood(line.wire, b"".join(field.voice.frames[:20]))
        line.wire.transport.resume_reading()


async def crumbs(field: Field) -> None:
    """Send audio sample by sample."""
    crumb = binary_frame(field.voice.samples[0][:1].tobytes())
    async with field.wire() as line:
        line.begin(field.voice)
        await _flood(line.wire, crumb * 100)


async def foreign_origin(field: Field) -> None:
    """Come from a page of somebody else; to be let in is a fault of the server."""
    origin = field.choice((
        "http://evil.example", "https://127.0.0.1.evil.example", "null", "file://", "x",
        f"http://evil.example:{field.address.port}",
    ))  # fmt: skip
    await _must_be_refused(field, origin=origin)


async def wrong_token(field: Field) -> None:
    """Come with a wrong token, where one is wanted; to be let in is a fault of the server."""
    if field.address.token is None:
        return
    headers = field.choice((
        {}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp4"},
        {"Authorization": f"Bearer {field.address.token}x"}, {"Authorization": "Bearer "},
    ))  # fmt: skip
    protocols = field.choice((["ser.v1"], ["ser.v1", "bearer.wrong"], ["bearer."]))
    await _must_be_refused(field, headers=headers, subprotocols=protocols)


async def _must_be_refused(field: Field, **options: Any) -> None:
    try:
        async with field.wire(**options) as line:
            line.begin(field.voice)
            await line.rest()
            if any(message["type"] == "started" for message in line.heard):
                field.note(LET_IN)
    except RefusedError as refused:
        field.note_refusal(refused)


async def _flood(wire: Any, data: bytes) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _FLOOD_SECONDS
    while wire.is_open and loop.time() < deadline:
        if wire.unsent_bytes < 2**18:
            wire.write(data)
        await asyncio.sleep(0.001)


def _any_json(field: Field, depth: int) -> Any:
    kind = field.rng.integers(7 if depth else 4)
    if kind == 6:
        names = (*_FIELDS, "samples", "x")
        return {field.choice(names): _any_json(field, depth - 1) for _ in range(4)}
    if kind == 5:
        return {"type": field.choice(("start", "skip", "end", "ping", "", 5)), "samples": -1}
    if kind == 4:
        return [_any_json(field, depth - 1) for _ in range(3)]
    return field.choice(_BAD_VALUES)


LET_IN = "let in"

STREAM_ATTACKS: tuple[Attack, ...] = (
    random_texts, random_json, hard_json, bad_options, wrong_order, wild_skips, odd_frames, noise,
    oversize_frames, endless_fragments, broken_frames, half_frame, ping_flood, message_flood,
    audio_flood, crumbs, foreign_origin, wrong_token,
)  # fmt: skip
