"""Contract of every source: blocks, notices, counters, and what they promise."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

from numpy.typing import NDArray

from ser_live.events import EventKind
from ser_live.latency import StageLatency


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive samples of a source."""

    samples: NDArray[Any]
    """Shape (frames, channels), int16 or float32; never written to later."""
    end_captured_at: float | None = None
    """`time.monotonic()` at which the last frame was captured; None where that means nothing."""
    missing_frames: int = 0
    """Frames of the timeline lost just before this block: dropped because the reader was too
    slow, or never captured because the device was away."""
    overruns: int = 0
    """Reports of the device, just before this block, that it lost an unknown number of frames."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Message of a source between two blocks; the listener makes an `Event` of it."""

    kind: EventKind
    detail: str
    """One sentence."""


@dataclass(frozen=True, slots=True)
class SourceCounters:
    """Account of every frame, at the source's own rate.

    At every moment ``captured == processed + dropped + buffered``.
    """

    captured: int = 0
    """Frames that the device gave."""
    processed: int = 0
    """Frames that were handed on."""
    dropped_overrun: int = 0
    """Frames overwritten in the full buffer because they were not read in time."""
    dropped_stale: int = 0
    """Frames skipped to be back at the present."""
    dropped_capture: int = 0
    """Frames that the capture process gave up because this process was stopped for too long."""
    buffered: int = 0
    """Frames that wait to be read."""
    overruns: int = 0
    """Times the device said that it lost frames before they came in, an unknown number."""
    restarts: int = 0
    """Times the device was lost and came back."""
    callback: StageLatency | None = None
    """Cost of the audio callback; None where there is none."""

    @property
    def dropped(self) -> int:
        """Frames lost after they came in, for whatever reason."""
        return self.dropped_overrun + self.dropped_stale + self.dropped_capture


class Source(Protocol):
    """Samples from somewhere.

    Entering opens it: `name`, `sample_rate_hz` and `channels` hold from then on. Capture starts
    with the iteration. `close` ends both within two seconds, from any thread, any number of
    times.
    """

    @property
    def name(self) -> str:
        """Name for people."""
        ...

    @property
    def sample_rate_hz(self) -> int:
        """Rate of its samples."""
        ...

    @property
    def channels(self) -> int:
        """Channels of its samples."""
        ...

    @property
    def is_live(self) -> bool:
        """True if it cannot wait: frames that are not read in time are lost."""
        ...

    @property
    def counters(self) -> SourceCounters:
        """Account of every frame up to now."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Damage and remains that people should know of, one sentence each."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def __iter__(self) -> Iterator[Block | Notice]: ...

    def skip_to_newest(self, keep_seconds: float) -> None:
        """Drop the frames that wait, save the newest; the next block says how many that were.

        Nothing happens where the source can wait.
        """
        ...

    def close(self) -> None:
        """Stop capturing and close the device or file."""
        ...


class WaitingSource:
    """Base of sources that wait for their reader, so that no frame is dropped."""

    is_live = False
    _frames = 0
    _notes: tuple[str, ...] = ()

    @property
    def counters(self) -> SourceCounters:
        """Account of every frame up to now."""
        return SourceCounters(captured=self._frames, processed=self._frames)

    @property
    def notes(self) -> tuple[str, ...]:
        """Damage and remains that were met, one sentence each."""
        return self._notes

    def skip_to_newest(self, keep_seconds: float) -> None:
        """Do nothing: the source waits."""


@runtime_checkable
class Expectant(Protocol):
    """A source that wakes its reader less often if it knows when something is due."""

    def expect(self, seconds: float) -> None:
        """Take the hint that nothing is due before so much more than what was given."""
        ...
