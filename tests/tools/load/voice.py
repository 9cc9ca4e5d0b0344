"""What the callers say: the demo voice, over and over, as frames made beforehand."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from ser_live.bench.measurement import continuous_speech
from ser_live.client.conversation import Format
from ser_live.engine.resample import require_rate
from ser_live.errors import SerError
from ser_live.testing.sound import demo_voice
from tools.load.wire import binary_frame


@dataclass(frozen=True, slots=True)
class Voice:
    """Speech in blocks, without an end."""

    sample_rate_hz: int
    format: Format
    block_ms: int
    block_samples: int
    frames: tuple[bytes, ...]
    """One WebSocket frame per block; after the last one comes the first."""
    samples: NDArray[Any]
    """The same, as a recognizer takes it: shape (blocks, block_samples)."""
    is_continuous: bool = False
    """Without pauses."""

    def __str__(self) -> str:
        pauses = "without pauses" if self.is_continuous else "with its pauses"
        rate = f"{self.sample_rate_hz} Hz {self.format}"
        return f"the demo voice {pauses}, {rate}, blocks of {self.block_ms} ms"

    def start_message(self, **options: object) -> dict[str, object]:
        """Give the message that begins a stream of it."""
        return {
            "type": "start",
            "sample_rate_hz": self.sample_rate_hz,
            "channels": 1,
            "format": self.format,
            **{name: value for name, value in options.items() if value is not None},
        }


def make_voice(
    sample_rate_hz: int, format: Format, block_ms: int, is_continuous: bool = False
) -> Voice:
    """Cut the demo voice into blocks.

    Parameters
    ----------
    sample_rate_hz : int
        Rate to have it in.
    format : str
        "s16le" or "f32le".
    block_ms : int
        Length of a block, in milliseconds; a whole number of samples.
    is_continuous : bool
        Leave the pauses out: nothing of a stream is cheap then.
    """
    require_rate(sample_rate_hz)
    if block_ms < 1 or sample_rate_hz * block_ms % 1000:
        raise SerError(
            f"a block is {block_ms} ms, wanted a whole number of samples at {sample_rate_hz} Hz"
        )
    if is_continuous:
        voice = soxr.resample(continuous_speech(), 16000, sample_rate_hz)
    else:
        voice = demo_voice(sample_rate_hz)
    size = sample_rate_hz * block_ms // 1000
    looped = np.resize(voice, (math.ceil(voice.size / size), size))
    samples: NDArray[Any] = looped.astype("<f4")
    if format == "s16le":
        samples = np.clip(np.round(looped * 32768.0), -32768, 32767).astype("<i2")
    frames = tuple(binary_frame(block.tobytes()) for block in samples)
    return Voice(sample_rate_hz, format, block_ms, size, frames, samples, is_continuous)
