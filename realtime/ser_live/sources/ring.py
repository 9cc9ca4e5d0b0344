"""Ring buffer between an audio callback and its reader, and the signal that wakes the reader."""

import mmap
import queue
from collections import deque
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from ser_live.sources.contract import Block, SourceCounters

_MOST_MARKS = 256


class Wakeup:
    """Signal for one waiting thread, which resets itself; an Event costs thrice as much."""

    def __init__(self) -> None:
        self._signals: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """Wake the thread that waits, or the next one that does."""
        if self._signals.empty():  # else it is on its way
            self._signals.put(None)

    def wait(self, timeout_seconds: float) -> None:
        """Wait for a signal, but no longer than that."""
        with suppress(queue.Empty):
            self._signals.get(timeout=max(0.0, timeout_seconds))


class FrameRing:
    """Ring buffer of frames for one writer, which never waits or allocates, and one reader.

    A writer that laps the reader overwrites the oldest frames. The reader finds out by the
    positions, jumps to the present, and says how many frames that cost: one gap instead of a
    gap per block. Positions count frames from the start of the stream and only grow.

    Parameters
    ----------
    frames, channels : int
        Capacity.
    sample_rate_hz : int
        Turns positions into capture times.
    before : SourceCounters
        Counts of rings of other formats before this one, which are added to its own.
    """

    def __init__(
        self,
        frames: int,
        channels: int,
        sample_rate_hz: int,
        before: SourceCounters = SourceCounters(),  # noqa: B008 - frozen
    ) -> None:
        self.before = before
        self.frames = frames
        self.channels = channels
        self.sample_rate_hz = sample_rate_hz
        # Pages of its own, which go back to the system as they came: a device that returns in
        # another format, for hours on end, does not fragment the heap.
        size = frames * channels * np.dtype(np.float32).itemsize
        memory = np.frombuffer(mmap.mmap(-1, max(1, size)), np.float32, frames * channels)
        self._samples = memory.reshape(frames, channels)
        self._claimed = 0  # the writer may be overwriting frames before this, less the capacity
        self._written = (0, 0.0, 0)  # position, capture time and missing frames up to there
        self._consumed = (0, 0, 0)  # the reader's position; of that: overwritten, skipped
        # Position, and up to there: missing frames, overruns. Sums, so that none gets lost where
        # a writer without a reader runs out of marks.
        self._marks: deque[tuple[int, int, int]] = deque()
        self._noted = (0, 0)
        self._told = (0, 0)
        self._owed = 0

    def write(
        self,
        samples: NDArray[np.float32],
        captured_at: float,
        overruns: int = 0,
        missing_frames: int = 0,
    ) -> None:
        """Copy frames in: the writer's only call.

        Parameters
        ----------
        samples : ndarray, shape (n, channels), float32
            ``n`` up to the capacity.
        captured_at : float
            `time.monotonic()` at which the last of them was captured.
        overruns : int
            Times that the device lost frames before these.
        missing_frames : int
            Frames of the timeline lost before these.
        """
        start = self._written[0]
        end = start + len(samples)
        self._claimed = end  # before the first frame is touched: a reader must not trust it
        if overruns or missing_frames:
            self._noted = (self._noted[0] + missing_frames, self._noted[1] + overruns)
            if len(self._marks) < _MOST_MARKS:
                self._marks.append((start, *self._noted))
        first = start % self.frames
        head = min(len(samples), self.frames - first)
        self._samples[first : first + head] = samples[:head]
        self._samples[: len(samples) - head] = samples[head:]
        # One assignment, which no reader sees in halves.
        self._written = (end, captured_at, self._noted[0])

    def read(self, most_frames: int) -> Block | None:
        """Copy out the next frames, at most so many; None while there is none.

        A block ends where frames are missing: they stand before the first frame of a block.
        """
        while True:
            written, captured_at, noted = self._written
            start, overwritten, skipped = self._consumed
            count = min(written - start, most_frames)
            if count == 0:
                return None
            if start >= self._claimed - self.frames:
                count = self._up_to_mark(start, count)
                samples = self._copy(start, count)
                # Only now is it known whether the writer came by while the copy was made.
                if start >= self._claimed - self.frames:
                    break
            self._owed += self._jump(most_frames)
        end = start + count
        self._consumed = (end, overwritten, skipped)
        missing, overruns = self._tell(start)
        # Its own jumps stand before the block as well: for the reader both are one gap.
        missing, self._owed = missing + self._owed, 0
        newer_frames = written - end + noted - self._told[0]
        end_captured_at = captured_at - newer_frames / self.sample_rate_hz
        return Block(samples, end_captured_at, missing, overruns)

    def skip(self, keep_frames: int) -> None:
        """Let the reader jump to the newest frames; the next block says how many were lost."""
        self._owed += self._jump(keep_frames)

    @property
    def written_frames(self) -> int:
        """Frames written since the start."""
        return self._written[0]

    @property
    def captured_at(self) -> float:
        """Capture time of the newest frame; 0 before the first."""
        return self._written[1]

    @property
    def waiting_frames(self) -> int:
        """Frames written and not yet read."""
        return self._written[0] - self._consumed[0]

    @property
    def counters(self) -> SourceCounters:
        """Account of every frame, also of rings before this one, from one look at each end."""
        before = self.before
        (start, overwritten, skipped), written = self._consumed, self._written[0]
        lapped = max(0, written - self.frames - start)
        return SourceCounters(
            captured=before.captured + written,
            processed=before.processed + start - overwritten - skipped,
            dropped_overrun=before.dropped_overrun + overwritten + lapped,
            dropped_stale=before.dropped_stale + skipped,
            buffered=written - start - lapped,
            overruns=before.overruns + self._noted[1],
        )

    def _copy(self, start: int, count: int) -> NDArray[np.float32]:
        first = start % self.frames
        head, rest = self._samples[first : first + count], first + count - self.frames
        return head.copy() if rest <= 0 else np.concatenate((head, self._samples[:rest]))

    def _jump(self, keep_frames: int) -> int:
        """Jump to the newest frames and return how many are lost by that."""
        start, overwritten, skipped = self._consumed
        lapped = max(0, self._claimed - self.frames - start)
        target = max(self._written[0] - keep_frames, start + lapped)
        self._consumed = (target, overwritten + lapped, skipped + target - start - lapped)
        return target - start

    def _up_to_mark(self, start: int, count: int) -> int:
        """Shorten a read from ``start`` so that it ends at the next mark inside it."""
        inside = (mark[0] - start for mark in tuple(self._marks) if mark[0] > start)
        return min(count, next(inside, count))

    def _tell(self, start: int) -> tuple[int, int]:
        """Return missing frames and overruns before a position that were not told yet."""
        told = self._told
        while self._marks and self._marks[0][0] <= start:
            self._told = self._marks.popleft()[1:]
        return self._told[0] - told[0], self._told[1] - told[1]
