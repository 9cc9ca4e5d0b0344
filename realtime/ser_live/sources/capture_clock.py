"""When frames were captured, from when they came."""

_PERIOD_SECONDS = 5.0
_JITTER_SECONDS = 0.02  # between what the clocks say and what has come


class CaptureClock:
    """Tell when a frame was captured, though blocks come late.

    Blocks come late at times and early never. So the earliest of the last seconds, carried on by
    the count of frames, says best when the present one was captured: neither a busy machine nor
    a sound server that hands over in portions moves it. It follows the drift of the device.

    Parameters
    ----------
    sample_rate_hz : int
        Of the frames.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.reset()

    def reset(self) -> None:
        """Forget all blocks: as new."""
        self._frames = 0
        self._period_ends_at = 0.0
        self._before: float | None = None
        self._earliest: float | None = None

    def process(self, frames: int, captured_at: float, *, lost: bool) -> int:
        """Take the length of a block and when its last frame was captured, as far as is known.

        Parameters
        ----------
        frames : int
            Of the block, and of what was dropped before it.
        captured_at : float
            `time.monotonic()` when it came, less the age that the driver says.
        lost : bool
            The device says that it lost frames before.

        Returns
        -------
        int
            Frames that were lost before the block; 0 if nobody knows how many.
        """
        self._frames += frames
        start_at = captured_at - self._frames / self.sample_rate_hz
        late_seconds = 0.0 if self._earliest is None else start_at - self._start_at
        missing_frames = 0
        if lost and late_seconds > _JITTER_SECONDS:
            missing_frames = round(late_seconds * self.sample_rate_hz)
            self._frames += missing_frames
            start_at -= missing_frames / self.sample_rate_hz
        if captured_at >= self._period_ends_at:
            self._period_ends_at = captured_at + _PERIOD_SECONDS
            self._before, self._earliest = self._earliest, start_at
        self._earliest = start_at if self._earliest is None else min(self._earliest, start_at)
        return missing_frames

    @property
    def captured_at(self) -> float:
        """When the last frame of the last block was captured."""
        return self._start_at + self._frames / self.sample_rate_hz

    @property
    def _start_at(self) -> float:
        """When the first frame would have been captured, at the pace of the last seconds."""
        known = [start for start in (self._before, self._earliest) if start is not None]
        return min(known, default=0.0)
