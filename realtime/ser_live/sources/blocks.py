"""Samples that a program has, or that an iterator of blocks gives."""

import time
from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ser_live.engine.resample import checked_block, is_bytes, require_channels, require_rate
from ser_live.errors import SerError
from ser_live.sources.contract import Block, WaitingSource

AudioBlock = NDArray[Any] | bytes | bytearray | memoryview
"""Samples, shape (n,) or (n, channels), int16 or floats; bytes are int16 of one channel."""


class BlockSource(WaitingSource):
    """Samples of an array, or blocks of an iterator, which is asked when they are needed.

    Entering waits for the first block, which says how many channels there are.

    Parameters
    ----------
    blocks : array, bytes-like or iterable of such
        In an array, samples of shape (n,) or (n, channels), int16 or floats; bytes are int16 of
        one channel. The blocks are copied.
    sample_rate_hz : int or None
        Of the samples; None is refused.
    """

    name = "the samples"
    channels: int

    def __init__(
        self, blocks: AudioBlock | Iterable[AudioBlock], sample_rate_hz: int | None
    ) -> None:
        if sample_rate_hz is None:
            raise SerError("samples come without a rate; say it, as in sample_rate_hz=16000")
        rate_hz = self.sample_rate_hz = require_rate(sample_rate_hz)
        if is_bytes(blocks):
            blocks = checked_block(blocks, 1)
        self._is_whole = isinstance(blocks, np.ndarray)
        self._blocks: Iterator[Any]
        if isinstance(blocks, np.ndarray):
            whole = np.atleast_1d(blocks)
            self._blocks = (whole[at : at + rate_hz] for at in range(0, len(whole), rate_hz))
        else:
            self._blocks = iter(blocks)
        self._first: NDArray[Any] | None = None
        self._is_closed = False

    def __enter__(self) -> Self:
        for first in self._blocks:
            has_columns = not is_bytes(first) and np.ndim(first) == 2
            self.channels = require_channels(np.shape(first)[1] if has_columns else 1)
            self._first = checked_block(first, self.channels).copy()
            return self
        raise SerError(f"{self.name}: ended before the first block, wanted audio")

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Block]:
        if self._first is None:
            raise SerError(f"{self.name}: not open; use the source in a with statement")
        block: NDArray[Any] | None = self._first
        while block is not None and not self._is_closed:
            self._frames += len(block)
            yield Block(block, None if self._is_whole else time.monotonic())
            found = next(self._blocks, None)
            # A copy: an iterator may use one buffer for all of them.
            block = None if found is None else checked_block(found, self.channels).copy()

    def close(self) -> None:
        """End the iteration before its next block."""
        self._is_closed = True
