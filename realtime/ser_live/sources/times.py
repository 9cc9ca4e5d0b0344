"""Capture times that can be true."""

_JUMP_SECONDS = 0.25  # less may be a clock that was estimated better


class CaptureTimes:
    """Correct capture times that cannot be true: clocks of devices jump.

    A time far in the future, or far before the one that came last, means that the clock has
    jumped. What it says from then on is shifted, so that the jump shows neither in the length
    of a gap nor in a lag.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all times: as new."""
        self._latest: float | None = None
        self._shift_seconds = 0.0

    def begin(self, now: float) -> None:
        """Capture begins: nothing can have been captured before."""
        begun_at = now - self._shift_seconds
        self._latest = begun_at if self._latest is None else max(self._latest, begun_at)

    def process(self, captured_at: float, now: float) -> float:
        """Give a capture time corrected; both in seconds of the host's clock.

        It may lie a little in the future, as what a sound server plays itself does: there a gap
        is as long as the times say.
        """
        went_back = self._latest is not None and captured_at < self._latest - _JUMP_SECONDS
        self._latest = captured_at
        if went_back or captured_at + self._shift_seconds > now + _JUMP_SECONDS:
            self._shift_seconds = now - captured_at
        return captured_at + self._shift_seconds
