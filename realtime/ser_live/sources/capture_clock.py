"""Capture times of frames, from what single blocks say: they come late, lie, and jump."""

from collections import deque

_NOTES = 31  # 1.5 s of blocks: late ones are outvoted, and the drift of the device is followed
_AGREEING = 5
_JUMP_SECONDS = 0.25  # less may be a clock that was estimated better
_JITTER_SECONDS = 0.02  # between what the device's clock says and what has come


class CaptureClock:
    """Capture times by the middle of many blocks, though single ones come late or lie.

    A busy machine delays blocks, and drivers are wrong for a block now and then, in either
    direction. The middle of what the last blocks say, each carried on by the count of frames,
    is moved by neither, and follows the drift of the device.

    A time may lie a little in the future: what a sound server plays can be heard before it is
    audible. That is left as it is, for only then the length of a gap is right.

    Parameters
    ----------
    sample_rate_hz : int
        Of the frames.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._notes: deque[tuple[int, float]] = deque(maxlen=_NOTES)

    def note(self, end_frame: int, captured_at: float) -> None:
        """Note the end of a block and the time at which its last frame was captured."""
        self._notes.append((end_frame, captured_at - end_frame / self.sample_rate_hz))

    def settle(self) -> bool:
        """Return whether the last blocks agree; those before them are then forgotten.

        A device that has just been opened may hand over its first blocks all at once.
        """
        notes = list(self._notes)[-_AGREEING:]
        starts = [start_at for _, start_at in notes]
        if len(notes) < _AGREEING or max(starts) - min(starts) > _JITTER_SECONDS:
            return False
        self._notes = deque(notes, maxlen=_NOTES)
        return True

    def captured_at(self, frame: int) -> float:
        """Return the capture time of the frame before a position; 0 before the first block."""
        notes = list(self._notes)  # the audio thread appends meanwhile
        return _middle(notes) + frame / self.sample_rate_hz if notes else 0.0

    def lost_frames(self, frame: int) -> int:
        """Return how many frames the device lost at a position; 0 if that cannot be told.

        Blocks that were noted before the loss are then forgotten.
        """
        notes = list(self._notes)
        # Blocks are noted by their end: those that end after the position came after the loss.
        before = [note for note in notes if note[0] <= frame]
        after = [note for note in notes if note[0] > frame]
        if not before or not after:
            return 0
        self._notes = deque(after, maxlen=_NOTES)
        lost_seconds = _middle(after) - _middle(before)
        return round(lost_seconds * self.sample_rate_hz) if lost_seconds > _JITTER_SECONDS else 0


class CaptureTimes:
    """Correction of capture times that cannot be true: clocks of devices jump.

    A time far in the future, or far before the one that came last, means that the clock has
    jumped. What it says from then on is shifted, so that the jump shows neither in the length
    of a gap nor in a lag.
    """

    def __init__(self) -> None:
        self._latest: float | None = None
        self._shift_seconds = 0.0

    def begin(self, now: float) -> None:
        """Note that capture begins: nothing can have been captured before."""
        begun_at = now - self._shift_seconds
        self._latest = begun_at if self._latest is None else max(self._latest, begun_at)

    def process(self, captured_at: float, now: float) -> float:
        """Return a capture time corrected; both in seconds of the host's clock.

        It may lie a little in the future, as what a sound server plays itself does: there a gap
        is as long as the times say.
        """
        went_back = self._latest is not None and captured_at < self._latest - _JUMP_SECONDS
        self._latest = captured_at
        if went_back or captured_at + self._shift_seconds > now + _JUMP_SECONDS:
            self._shift_seconds = now - captured_at
        return captured_at + self._shift_seconds


def _middle(notes: list[tuple[int, float]]) -> float:
    # Not `statistics`: its import takes 10 ms of every start, also of the capture process.
    starts = sorted(start_at for _, start_at in notes)
    return starts[len(starts) // 2]
