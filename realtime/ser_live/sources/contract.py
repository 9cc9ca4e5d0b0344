"""What every source gives and promises."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive samples of a source."""

    samples: NDArray[Any]
    """Shape (frames, channels), int16 or float32; nobody writes into it later."""
    end_captured_at: float | None = None
    """`time.monotonic()` at which the last frame was captured; None where that means nothing."""
    dropped_frames: int = 0
    """Frames lost just before this block by a reader that was too slow."""
    overruns: int = 0
    """Reports of the device, since the last block, that it lost an unknown number of frames."""


@dataclass(frozen=True, slots=True)
class SourceCounters:
    """Where every frame went, at the source's own rate.

    At every moment ``captured == processed + dropped_overrun + dropped_stale + buffered``.
    """

    captured: int = 0
    """Frames that came in."""
    processed: int = 0
    """Frames that were handed on."""
    dropped_overrun: int = 0
    """Frames overwritten in the full buffer because nobody read them in time."""
    dropped_stale: int = 0
    """Frames skipped after that, to be back at the present."""
    buffered: int = 0
    """Frames that wait."""
    overruns: int = 0
    """Times the device said that it lost frames before they came in; how many, nobody knows."""

    @property
    def dropped(self) -> int:
        """Frames lost after they came in, for whatever reason."""
        return self.dropped_overrun + self.dropped_stale


class Source(Protocol):
    """Samples from somewhere.

    Entering opens it: `name`, `sample_rate_hz` and `channels` hold from then on. Capture starts
    with the iteration. `close` ends both within two seconds, from any thread, any number of
    times.
    """

    @property
    def name(self) -> str:
        """What a person calls it."""
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
    def counters(self) -> SourceCounters:
        """Where every frame went up to now."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about what came: damage, remains; one sentence each."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def __iter__(self) -> Iterator[Block]: ...

    def close(self) -> None:
        """Stop capturing and let go of the device or file."""
        ...
