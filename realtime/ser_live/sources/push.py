"""Samples that a program pushes as they come: from a socket, a call, another library."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ser_live.engine.resample import (
    as_float,
    checked_block,
    is_bytes,
    require_channels,
    require_rate,
)
from ser_live.errors import SerError
from ser_live.sources.contract import Block, Notice, SourceCounters
from ser_live.sources.pcm import decode_samples
from ser_live.sources.ring import FrameRing, Wakeup
from ser_live.stream_protocol import SAMPLE_BYTES, SampleFormat, require_sample_format
from ser_live.text import quoted

_BLOCK_SECONDS = 0.25
_LOOK_SECONDS = 0.5
_LONGEST_BUFFER_SECONDS = 3600.0
_ORDERS = {"<": "le", ">": "be"}


class PushSource:
    """Samples that are written by one part of a program and recognized by another.

    Any threads may write, also the event loop in which `ser_live.alisten` runs. At most
    ``buffer_seconds`` wait for the reader. If none come for ``stall_seconds``, what was heard is
    finished as at the end of a stream, with the event ``device_lost``; when they come again, an
    utterance begins, with the event ``device_restored``.

    Parameters
    ----------
    sample_rate_hz, channels : int
        Of the samples.
    dtype : dtype or str
        Of samples that are written as bytes: a numpy type like "int16" or "float32", or a format
        like "s24le" or "mulaw".
    is_live : bool
        True: `write` never waits, and where the buffer runs over, the reader goes on with the
        newest samples; events and counters tell what is lost. False: nothing is lost, and `write`
        waits while the buffer is full; in an event loop,
        ``await asyncio.to_thread(source.write, samples)``.
    buffer_seconds : float
        Audio that waits for the reader, at most; up to 3600.
    stall_seconds : float
        Silence of the writer that ends what was heard.
    name : str
        For messages.
    clock : callable
        Returns the time, in seconds that only grow.

    Raises
    ------
    SerError
        If an argument is out of range.

    Examples
    --------
    >>> from ser_live import PushSource, listen
    >>> source = PushSource(sample_rate_hz=8000, channels=2, dtype="int16")
    >>> source.write(bytes(2 * 2 * 8000))  # a second of silence; usually in another thread
    >>> source.close()
    >>> with listen(source) as predictions:
    ...     print([prediction.state for prediction in predictions])
    ['silence', 'silence', 'silence', 'silence']
    """

    def __init__(
        self,
        sample_rate_hz: int,
        channels: int = 1,
        dtype: DTypeLike = "int16",
        is_live: bool = True,
        buffer_seconds: float = 10.0,
        stall_seconds: float = 5.0,
        name: str = "pushed audio",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for field, seconds in (
            ("buffer_seconds", buffer_seconds),
            ("stall_seconds", stall_seconds),
        ):
            is_time = isinstance(seconds, int | float) and 0.0 < seconds <= _LONGEST_BUFFER_SECONDS
            if not is_time:
                raise SerError(
                    f"{field} is {quoted(seconds)}, wanted seconds above 0, up to "
                    f"{_LONGEST_BUFFER_SECONDS:g}"
                )
        self.sample_rate_hz = require_rate(sample_rate_hz)
        self.channels = require_channels(channels)
        self.is_live = is_live
        self.stall_seconds = stall_seconds
        self.name = name
        self._format = _format_of(dtype)
        self._held = b""  # of a frame whose other bytes are to come
        frames = max(1, round(buffer_seconds * sample_rate_hz))
        self._ring = FrameRing(frames, channels, sample_rate_hz)
        self._clock = clock
        self._writing = threading.Lock()
        self._written, self._taken = Wakeup(), Wakeup()
        self._is_ended = self._is_left = False
        self._restarts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_left = True
        self.close()

    def __iter__(self) -> Iterator[Block | Notice]:
        begun_at, is_stalled = self._clock(), False
        while not self._is_left:
            is_last = self._is_ended  # asked first: what was written before is still read
            block = self._ring.read(max(1, round(_BLOCK_SECONDS * self.sample_rate_hz)))
            if block is not None:
                self._taken.set()
                if is_stalled:
                    is_stalled = False
                    self._restarts += 1
                    yield Notice("device_restored", f"{self.name}: samples come again")
                yield block
            elif is_last:
                return
            elif not is_stalled and self._quiet_seconds(begun_at) >= self.stall_seconds:
                is_stalled = True
                yield Notice("device_lost", f"{self.name}: no samples for {self.stall_seconds:g} s")
            else:
                self._written.wait(_LOOK_SECONDS)

    @property
    def counters(self) -> SourceCounters:
        """Account of every frame up to now."""
        return dataclasses.replace(self._ring.counters, restarts=self._restarts)

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence where it ended inside a frame."""
        if not self._is_ended or not self._held:
            return ()
        return (f"{self.name}: ended inside a frame; {len(self._held)} bytes were left over",)

    def write(self, samples: ArrayLike) -> None:
        """Append samples; nothing of them is kept, so that a buffer may be used again.

        Parameters
        ----------
        samples : bytes, bytearray, memoryview or array_like
            Bytes: interleaved, of the source's ``dtype``; those of an unfinished frame wait for the
            next ones. An array: shape (n,) for mono or (n, channels), int16, float32 or float64.

        Raises
        ------
        SerError
            For another shape or type, and after `close`, or after the end of its reader.
        """
        with self._writing:
            frames = self._frames(samples)
            size = max(1, self._ring.frames // 4)  # room comes by and by
            for start in range(0, len(frames), size):
                piece = frames[start : start + size]
                while not self.is_live and not self._is_ended and not self._has_room(len(piece)):
                    self._taken.wait(_LOOK_SECONDS)
                if self._is_ended:
                    break
                self._ring.write(piece, self._clock())
                self._written.set()
            if self._is_ended:
                raise SerError(f"{self.name}: write() after close(), or after its reader has gone")

    def skip_to_newest(self, keep_seconds: float) -> None:
        """Drop the frames that wait, save the newest; the next block says how many that were."""
        if self.is_live:
            self._ring.skip(round(keep_seconds * self.sample_rate_hz))

    def close(self) -> None:
        """End the stream; what was written is still recognized. From any thread, at any time."""
        self._is_ended = True
        self._written.set()
        self._taken.set()

    def _has_room(self, frames: int) -> bool:
        return self._ring.waiting_frames + frames <= self._ring.frames

    def _quiet_seconds(self, begun_at: float) -> float:
        return self._clock() - max(begun_at, self._ring.captured_at)

    def _frames(self, samples: ArrayLike) -> NDArray[np.float32]:
        if not is_bytes(samples):
            if self._held:
                raise SerError(
                    f"{self.name}: an array after {len(self._held)} bytes of an unfinished frame"
                )
            return as_float(checked_block(samples, self.channels))
        data = self._held + bytes(samples)
        whole = len(data) - len(data) % (SAMPLE_BYTES[self._format] * self.channels)
        self._held = data[whole:]
        return as_float(decode_samples(data[:whole], self._format)).reshape(-1, self.channels)


def _format_of(dtype: DTypeLike) -> SampleFormat:
    """Return the format of samples of a numpy type, or of that name."""
    name = str(dtype)
    if dtype is not None and name not in SAMPLE_BYTES:
        with suppress(TypeError, ValueError):
            code = np.dtype(dtype).str  # like <i2
            kind, bits = code[1].replace("i", "s"), 8 * int(code[2:])
            name = f"{kind}{bits}{_ORDERS.get(code[0], '')}"
    if name not in SAMPLE_BYTES:
        raise SerError(
            f"dtype is {quoted(dtype)}, wanted int16, int32, float32, float64, uint8, or one of "
            f"{', '.join(SAMPLE_BYTES)}"
        )
    return require_sample_format(name)
