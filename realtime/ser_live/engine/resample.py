"""Conversion of callers' samples to 16 kHz mono float32."""

import threading
import weakref
from typing import Any, TypeGuard

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_live.text import quoted, sanitize

LOWEST_RATE_HZ = 8000
HIGHEST_RATE_HZ = 384000
MOST_CHANNELS = 64
_LOUDEST = 1e6
"""Samples above it are no audio: floats were meant to be divided by full scale."""
FULL_SCALE = 1.0 - 2.0**-15
"""From here on a sample counts as clipped: 32767 and -32768 of int16 do."""
_RELEASE_SECONDS = 1.0
_DTYPES = ("int16", "float32", "float64")
_WANTED = "int16, float32 or float64"


def require_channels(channels: int) -> int:
    """Return the number of channels, or raise SerError if no stream can have so many."""
    return _require("channels", channels, 1, MOST_CHANNELS)


def require_rate(sample_rate_hz: int) -> int:
    """Return the rate, or raise SerError if no stream can have it."""
    return _require("sample_rate_hz", sample_rate_hz, LOWEST_RATE_HZ, HIGHEST_RATE_HZ)


def _require(name: str, value: int, lowest: int, highest: int) -> int:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or not lowest <= value <= highest:
        raise SerError(
            f"{name} is {quoted(value)}, wanted a whole number from {lowest} to {highest}"
        )
    return int(value)


def as_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Return int16 or float samples as float32, 1 being full scale; float32 is not copied."""
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(32768.0)
    return samples.astype(np.float32, copy=False)


def is_bytes(samples: object) -> TypeGuard[bytes | bytearray | memoryview]:
    """Tell whether samples are bytes that do not say of what type they are."""
    if isinstance(samples, memoryview):
        return samples.format in ("B", "b", "c")
    return isinstance(samples, bytes | bytearray)


def clipped_frames(samples: ArrayLike) -> int:
    """Count the frames of a block, shape (n,) or (n, channels), with a channel at full scale."""
    is_clipped = np.abs(as_float(np.asarray(samples))) >= FULL_SCALE
    if is_clipped.ndim == 2:  # numpy is slow along an axis of few
        return int(np.ascontiguousarray(is_clipped.T).any(axis=0).sum())
    return int(np.count_nonzero(is_clipped))


def to_mono(samples: ArrayLike, channels: int) -> NDArray[np.float32]:
    """Check a block of samples and mix it down to mono.

    Parameters
    ----------
    samples : array_like, shape (n,) for mono or (n, channels), int16, float32 or float64
        Full scale is 32767 for int16 and 1.0 for floats. Any strides and byte order. Or bytes
        of interleaved int16.
    channels : int
        Channels of the stream.

    Returns
    -------
    ndarray, shape (n,), float32
        A new array.

    Raises
    ------
    SerError
        For another shape or dtype, NaN, infinity, or values that are no audio.
    """
    block = checked_block(samples, channels)
    check_values(block)
    # Before soxr, whose int16 mode depends on the chunks.
    floats = as_float(block)
    mono: NDArray[np.float32] = floats[:, 0].copy()
    # Channel by channel, not a mean over an axis: the order of additions never depends on n.
    for channel in range(1, channels):
        mono += floats[:, channel]
    if channels > 1:
        mono /= np.float32(channels)
    return mono


def checked_block(samples: ArrayLike, channels: int) -> NDArray[Any]:
    """Return a block of samples as an array, shape (n, channels); SerError if it is none.

    Bytes are interleaved int16, the lower byte first.
    """
    block = _from_bytes(samples, channels) if is_bytes(samples) else _as_array(samples)
    if block.ndim == 1 and channels == 1:
        block = block[:, np.newaxis]
    if block.ndim != 2 or block.shape[1] != channels:
        raise SerError(
            f"samples have shape {block.shape}, wanted (n, {channels})"
            + (" or (n,)" if channels == 1 else "")
        )
    return block


class Resampler:
    """Any rate to 16 kHz, mono float32, in chunks of any length.

    soxr gives the same bits for any chunking of float32 input.

    Parameters
    ----------
    sample_rate_hz : int
        Rate of the input, 8000 to 384000.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self.sample_rate_hz = require_rate(sample_rate_hz)
        self._streams: list[soxr.ResampleStream] = []  # one, or none where the rate is right
        self._in_use = threading.Lock()
        weakref.finalize(self, _release, self._streams, self._in_use)
        self.reset()

    def reset(self) -> None:
        """Clear all samples: as new."""
        self._samples_in = 0
        self._samples_out = 0
        self._held_samples = 0.0
        self._streams.clear()
        if self.sample_rate_hz != SAMPLE_RATE_HZ:
            self._streams.append(
                soxr.ResampleStream(
                    self.sample_rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ"
                )
            )

    @property
    def held_seconds(self) -> float:
        """The most audio that was held back at the end of a call."""
        return self._held_samples / SAMPLE_RATE_HZ

    def process(self, samples: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        """Take samples of shape (n,) and return what is ready at 16 kHz; ``last`` drains."""
        if self.sample_rate_hz == SAMPLE_RATE_HZ:
            return samples
        with self._in_use:
            if not self._streams:
                raise SystemExit  # of a daemon thread, for the interpreter ends
            resampled: NDArray[np.float32] = self._streams[0].resample_chunk(samples, last=last)
        self._samples_in += samples.size
        self._samples_out += resampled.size
        due = self._samples_in * (SAMPLE_RATE_HZ / self.sample_rate_hz)
        # The most ever held, not the present amount: a user plans with the longest delay.
        self._held_samples = max(self._held_samples, due - self._samples_out)
        return resampled


def _release(streams: list[soxr.ResampleStream], in_use: threading.Lock) -> None:
    """Free soxr's part with the resampler, or before the interpreter ends.

    A daemon thread or a suspended generator may hold a resampler until after its end, and soxr
    would print that as a leak.
    """
    is_mine = in_use.acquire(timeout=_RELEASE_SECONDS)  # a fork may have copied a held lock
    streams.clear()
    if is_mine:
        in_use.release()


def _as_array(samples: ArrayLike) -> NDArray[Any]:
    try:
        block = np.asarray(samples)
    except Exception as error:  # lists of several lengths, or any error of a foreign object
        raise SerError(f"samples are no array ({sanitize(error)}); wanted {_WANTED}") from error
    if block.dtype.name not in _DTYPES:
        raise SerError(f"samples are {sanitize(block.dtype)}, wanted {_WANTED}")
    return block


def _from_bytes(data: bytes | bytearray | memoryview, channels: int) -> NDArray[np.int16]:
    frame_bytes, size = 2 * channels, memoryview(data).nbytes
    if size % frame_bytes:
        raise SerError(
            f"samples are {size} bytes, wanted whole frames of {frame_bytes}: int16 of "
            f"{channels} channel{'s' * (channels > 1)}; keep the rest for the next call"
        )
    samples = np.frombuffer(bytes(data), "<i2").astype(np.int16, copy=False)
    return samples.reshape(-1, channels)


def check_values(block: NDArray[np.generic]) -> None:
    """Raise SerError for floats that are not finite, or too large for audio."""
    if block.dtype.kind != "f":
        return
    extremes = np.array([block.min(initial=0.0), block.max(initial=0.0)])
    if not np.isfinite(extremes).all():
        raise SerError(
            "samples hold NaN or infinity, wanted finite numbers; replace them "
            "(numpy.nan_to_num) and find out where they come from"
        )
    if (peak := float(np.abs(extremes).max())) > _LOUDEST:
        is_integer = peak < 2.0**32
        raise SerError(
            f"samples reach {peak:.3g}, wanted floats in [-1, 1]; "
            + ("divide by full scale" if is_integer else "are they integers, declared as floats?")
        )
