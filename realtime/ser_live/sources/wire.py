"""What the capture process tells: framed messages over a pipe, each with a bounded size."""

import dataclasses
import json
import struct
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.latency import StageLatency

_HEADER = struct.Struct("<cI")  # kind, bytes that follow
_AUDIO = struct.Struct("<dQQIH")  # captured at, missing, dropped, overruns, channels
_MOST_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Opened:
    """The device is open; capture waits for the word to start."""

    name: str
    sample_rate_hz: int
    channels: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The end, and why."""

    message: str


@dataclass(frozen=True, slots=True)
class Audio:
    """Consecutive frames, and what is missing before them."""

    samples: NDArray[np.float32]
    """Shape (frames, channels)."""
    captured_at: float
    """`time.monotonic()` at which the last frame was captured; one clock for all processes."""
    missing_frames: int
    """Frames of the timeline that nobody has."""
    dropped_frames: int
    """Of these: those that the device gave and the capture process had no room for."""
    overruns: int


Message = Opened | Failed | StageLatency | Audio
_RECORDS: dict[bytes, type[Opened] | type[Failed] | type[StageLatency]] = {
    b"O": Opened,
    b"F": Failed,
    b"C": StageLatency,
}


def encode(message: Message) -> bytes:
    """Give a message as bytes."""
    if isinstance(message, Audio):
        payload = _AUDIO.pack(
            message.captured_at,
            message.missing_frames,
            message.dropped_frames,
            message.overruns,
            message.samples.shape[1],
        )
        payload += message.samples.astype("<f4", copy=False).tobytes()
        return _HEADER.pack(b"A", len(payload)) + payload
    kind = next(kind for kind, record in _RECORDS.items() if isinstance(message, record))
    payload = json.dumps(dataclasses.asdict(message)).encode()
    return _HEADER.pack(kind, len(payload)) + payload


def read(stream: IO[bytes]) -> Message | None:
    """Read the next message; None at the end, also one inside a message.

    Raises
    ------
    SerError
        For bytes that are no message.
    """
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    kind, size = _HEADER.unpack(header)
    if (kind != b"A" and kind not in _RECORDS) or size > _MOST_BYTES:
        raise SerError(f"the capture process sent {header!r}, wanted a message; start it again")
    payload = stream.read(size)
    if len(payload) < size:
        return None
    try:
        return _decode(kind, payload)
    except (ValueError, TypeError, struct.error) as error:
        raise SerError(f"the capture process sent a damaged message ({error})") from error


def _decode(kind: bytes, payload: bytes) -> Message:
    if kind == b"A":
        captured_at, missing, dropped, overruns, channels = _AUDIO.unpack_from(payload)
        samples = np.frombuffer(payload, "<f4", offset=_AUDIO.size).reshape(-1, channels)
        return Audio(
            samples.astype(np.float32, copy=False), captured_at, missing, dropped, overruns
        )
    fields: dict[str, Any] = json.loads(payload)
    return _RECORDS[kind](**fields)
