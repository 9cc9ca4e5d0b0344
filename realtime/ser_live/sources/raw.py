"""Raw PCM from a pipe."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Literal, Self

import numpy as np

from ser_live.engine.resample import require_channels, require_rate
from ser_live.errors import SerError
from ser_live.sources.contract import Block, WaitingSource
from ser_live.text import quoted

SampleFormat = Literal["s16le", "f32le"]

_DTYPES = {"s16le": "<i2", "f32le": "<f4"}
_READ_BYTES = 1 << 16


class RawSource(WaitingSource):
    """Interleaved samples without a header, from an open binary stream.

    Bytes may come in any portions: those of an unfinished frame wait for the next ones. The
    stream is read as fast as its samples are taken, so a writer that is too fast has to wait.

    Parameters
    ----------
    stream : binary file
        Usually ``sys.stdin.buffer``; not closed here.
    sample_rate_hz, channels : int
        Format of the samples.
    sample_format : str
        "s16le" or "f32le".
    name : str
        For messages.
    """

    def __init__(
        self,
        stream: BinaryIO,
        sample_rate_hz: int = 16000,
        channels: int = 1,
        sample_format: SampleFormat = "s16le",
        name: str = "stdin",
    ) -> None:
        try:
            self.sample_rate_hz = require_rate(sample_rate_hz)
            self.channels = require_channels(channels)
        except SerError as error:
            raise SerError(f"{name}: {error}") from error
        if sample_format not in tuple(_DTYPES):
            raise SerError(f"{name}: format is {quoted(sample_format)}, wanted s16le or f32le")
        self.name = name
        self.sample_format = sample_format
        self._stream = stream
        self._closed = False

    def __enter__(self) -> Self:
        try:
            is_terminal = self._stream.isatty()
        except ValueError as error:
            raise SerError(f"{self.name}: cannot read ({error})") from error
        if is_terminal:
            raise SerError(
                f"{self.name}: is a terminal, wanted raw PCM from a pipe or a file, as in "
                f"'arecord -t raw -f S16_LE -r {self.sample_rate_hz} | ser-live --stdin'"
            )
        # The parent process may have made the pipe non-blocking: it would seem to end at once.
        with suppress(AttributeError, OSError, ValueError):
            os.set_blocking(self._stream.fileno(), True)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Block]:
        dtype = np.dtype(_DTYPES[self.sample_format])
        frame_bytes = dtype.itemsize * self.channels
        held = b""
        while not self._closed and (data := self._read()):
            held += data
            whole = len(held) // frame_bytes * frame_bytes
            if whole == 0:
                continue
            samples = np.frombuffer(held[:whole], dtype).astype(dtype.newbyteorder("="), copy=False)
            held = held[whole:]
            self._frames += len(samples) // self.channels
            yield Block(samples.reshape(-1, self.channels), time.monotonic())
        if held:
            self._notes = (
                f"{self.name}: ended inside a frame; {len(held)} of its {frame_bytes} bytes "
                "were left over",
            )
        if self._frames == 0 and not self._closed:
            raise SerError(f"{self.name}: ended before the first sample; wanted raw PCM")

    def close(self) -> None:
        """End the iteration before its next read; a read that waits ends with its writer."""
        self._closed = True

    def _read(self) -> bytes:
        # What has come, without waiting for more: a pipe from a microphone is slow.
        read: Any = getattr(self._stream, "read1", self._stream.read)
        try:
            data = read(_READ_BYTES)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SerError(f"{self.name}: cannot read ({reason})") from error
        if not isinstance(data, bytes):
            raise SerError(f"{self.name}: gives {quoted(data)}, wanted bytes; open it as binary")
        return data
