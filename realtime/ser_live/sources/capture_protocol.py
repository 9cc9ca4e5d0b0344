"""Protocol of the capture process: framed messages over a pipe, each of a bounded size."""

import dataclasses
import json
import math
import struct
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.latency import StageLatency
from ser_live.sources.devices import InputDevice

_HEADER = struct.Struct("<cI")  # kind, bytes that follow
_AUDIO = struct.Struct("<dQQIH")  # captured at, missing, dropped, overruns, channels
_MOST_BYTES = 1 << 24  # 43 s of stereo at 48 kHz: a length beyond it is no length


@dataclass(frozen=True, slots=True)
class Opened:
    """The device is open; capture waits for the word to start."""

    name: str
    sample_rate_hz: int
    channels: int


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices that can record."""

    devices: tuple[InputDevice, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """The end, and why."""

    message: str


@dataclass(frozen=True, slots=True)
class Audio:
    """Consecutive frames, and what is missing before them.

    Without any it says that some came, and wait until it is sure where they stand.
    """

    samples: NDArray[np.float32]
    """Shape (frames, channels)."""
    captured_at: float
    """`time.monotonic()` at which the last frame was captured; one clock for all processes."""
    missing_frames: int
    """Frames of the timeline that are lost, before the samples."""
    dropped_frames: int
    """Of these: those that the device gave and the capture process had no room for."""
    overruns: int


Record = Opened | Devices | Failed | StageLatency
Message = Record | Audio
_KINDS: dict[type[Record], bytes] = {Opened: b"O", Devices: b"D", Failed: b"F", StageLatency: b"C"}


def encode(message: Message) -> bytes:
    """Return a message as bytes."""
    if not isinstance(message, Audio):
        payload = json.dumps(dataclasses.asdict(message)).encode()
        return _HEADER.pack(_KINDS[type(message)], len(payload)) + payload
    samples = message.samples.astype("<f4", copy=False)
    head = _AUDIO.pack(
        message.captured_at,
        message.missing_frames,
        message.dropped_frames,
        message.overruns,
        samples.shape[1],
    )
    return _HEADER.pack(b"A", len(head) + samples.nbytes) + head + samples.tobytes()


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
    if (kind != b"A" and kind not in _KINDS.values()) or size > _MOST_BYTES:
        raise SerError(f"the capture process sent {header!r}, wanted a message; start it again")
    payload = stream.read(size)
    if len(payload) < size:
        return None
    try:
        return _audio(payload) if kind == b"A" else _record(kind, json.loads(payload))
    except Exception as error:  # the sender may be damaged or replaced, and send whatever it is
        raise SerError(
            f"the capture process sent a damaged message ({type(error).__name__}: {error}); "
            "start it again"
        ) from error


def _audio(payload: bytes) -> Audio:
    captured_at, missing, dropped, overruns, channels = _AUDIO.unpack_from(payload)
    if not math.isfinite(captured_at):
        raise ValueError(f"captured at {captured_at}")
    samples = np.frombuffer(payload, "<f4", offset=_AUDIO.size).reshape(-1, channels)
    return Audio(samples.astype(np.float32, copy=False), captured_at, missing, dropped, overruns)


def _record(kind: bytes, fields: dict[str, Any]) -> Record:
    match kind:
        case b"O":
            rate_hz, channels = int(fields["sample_rate_hz"]), int(fields["channels"])
            if min(rate_hz, channels) < 1:
                raise ValueError(f"{rate_hz} Hz, {channels} channels")
            return Opened(str(fields["name"]), rate_hz, channels)
        case b"D":
            records = [{**each, "rates_hz": (*each["rates_hz"],)} for each in fields["devices"]]
            return Devices(tuple(InputDevice(**record) for record in records))
        case b"F":
            return Failed(str(fields["message"]))
        case _:
            name, count = str(fields.pop("name")), int(fields.pop("count"))
            return StageLatency(name, count, **{key: float(s) for key, s in fields.items()})
