"""Capture times of frames, from what single blocks say: they come late, lie, and jump."""

import time
from collections import deque

_NOTES = 31  # 1.5 s of blocks: late ones are outvoted, and the drift of the device is followed
_AGES = 200  # 10 s: a sound server that was not read for long tells wrong ones for three
_AGREEING = 5
_JUMP_SECONDS = 0.25  # less may be a clock that was estimated better
_JITTER_SECONDS = 0.02  # between blocks of one device
_STEP_SECONDS = 0.05  # less may be a busy machine, and is followed as drift
_MOST_DRIFT = 0.001  # ten times that of a bad crystal
_SURE_SECONDS = 1.0
_TIMES_LONGER = 3.0
_SURE_DECAY = 0.9995  # per block: it halves in a minute
_LONGEST_SECONDS = 5.0  # also: of getting to know a device
# The one that runs on while the system sleeps: named otherwise on macOS, and missing on Windows,
# where `time.monotonic` itself does.
_SLEEP_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def asleep_seconds() -> float:
    """Return how long the system has slept, from any start: `time.monotonic` does not count it.

    A process that has to wait between the two clocks gets too little, never too much.
    """
    return 0.0 if _SLEEP_CLOCK is None else time.clock_gettime(_SLEEP_CLOCK) - time.monotonic()


class CaptureClock:
    """Capture times, and losses that the device does not report, from when blocks arrive.

    A block may arrive late, never early: a busy machine delays it, or the whole process stood
    still. If those after it arrive in time again, nothing is lost. If they stay as late, for
    longer than lateness usually lasts, as many frames are lost: a sound server that was not read
    throws them away, and does not say so. Until that is sure, the frames after the place in
    question should wait, because a gap cannot be put before what was handed on.

    What is captured lies a little before its arrival, as long as the device says. Drivers are
    wrong for a block now and then, in either direction, so the middle of many is taken. It may be
    less than nothing: what a sound server plays can be heard before it is audible. That is left
    as it is, for only then the length of a gap is right.

    Parameters
    ----------
    sample_rate_hz : int
        Of the frames.

    Attributes
    ----------
    is_settled : bool
        The blocks agree. A device that has just been opened may hand over its first ones all at
        once, and none of them is believed.
    sure_frames : int
        Frames of which it is known where on the timeline they stand.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.is_settled = False
        self.sure_frames = 0
        # Of blocks in time: the arrival of frame 0, had all frames come as they did.
        self._starts: deque[float] = deque(maxlen=_NOTES)
        self._ages: deque[float] = deque(maxlen=_AGES)
        self._usual_start = 0.0
        self._end_frame = 0
        # Late blocks of the last second: start, place, arrival.
        self._late: deque[tuple[float, int, float]] = deque()
        self._sure_seconds = 2.0 * _SURE_SECONDS  # it is not known yet how long lateness lasts
        self._losses: deque[tuple[int, int]] = deque()

    def note(self, end_frame: int, arrived_at: float, age_seconds: float | None = None) -> None:
        """Note the arrival of a block.

        Parameters
        ----------
        end_frame : int
            Frames up to its end.
        arrived_at : float
            `time.monotonic()`.
        age_seconds : float or None
            Age of its last frame, as the device says; None: it does not.
        """
        start_frame, self._end_frame = self._end_frame, end_frame
        start = arrived_at - end_frame / self.sample_rate_hz
        late_seconds = start - self._usual_start
        if not self.is_settled:
            self._settle(start)
        elif late_seconds > _STEP_SECONDS:
            self._doubt(start, start_frame, arrived_at)
            return
        else:
            self._follow(late_seconds, (end_frame - start_frame) / self.sample_rate_hz, arrived_at)
        self._starts.append(start)
        if age_seconds is not None:
            self._ages.append(age_seconds)
        self.sure_frames = end_frame if self.is_settled else 0

    def captured_at(self, frame: int) -> float:
        """Return the capture time of the frame before a position; 0 before the first block."""
        starts, ages = list(self._starts), list(self._ages)  # the audio thread appends meanwhile
        if not starts:
            return 0.0
        frame -= sum(frames for place, frames in list(self._losses) if place >= frame)
        age_seconds = _middle(ages) if ages else 0.0
        return _middle(starts) + frame / self.sample_rate_hz - age_seconds

    def next_loss(self) -> int | None:
        """Return the place of the next loss that `take_losses` was not asked for."""
        return self._losses[0][0] if self._losses else None

    def take_losses(self, frame: int) -> int:
        """Return how many frames the device lost up to a position; each loss is told once."""
        lost_frames = 0
        while self._losses and self._losses[0][0] <= frame:
            lost_frames += self._losses.popleft()[1]
        return lost_frames

    def _settle(self, start: float) -> None:
        starts = [*self._starts, start][-_AGREEING:]
        agree = len(starts) == _AGREEING and max(starts) - min(starts) <= _JITTER_SECONDS
        if agree or len(self._starts) == _NOTES - 1:  # on a busy machine they may never
            self.is_settled = True
            self._usual_start = _middle(starts)
            self._starts = deque(starts[:-1], maxlen=_NOTES)

    def _follow(self, late_seconds: float, block_seconds: float, arrived_at: float) -> None:
        """Follow the drift of the device by a block in time."""
        self._sure_seconds = max(_SURE_SECONDS, _SURE_DECAY * self._sure_seconds)
        if self._late:
            lasted_seconds = _TIMES_LONGER * (arrived_at - self._late[0][2])
            self._sure_seconds = max(self._sure_seconds, min(lasted_seconds, _LONGEST_SECONDS))
            self._late.clear()
        most_seconds = _MOST_DRIFT * block_seconds
        if late_seconds >= -_STEP_SECONDS:
            self._usual_start += min(max(late_seconds, -most_seconds), most_seconds)
        elif self._end_frame < _LONGEST_SECONDS * self.sample_rate_hz:
            self._usual_start += late_seconds
        # Else the timeline is ahead, for a loss that was none or a shorter way from the device:
        # frames that were handed on cannot move, so the next loss counts for less.

    def _doubt(self, start: float, start_frame: int, arrived_at: float) -> None:
        """Judge a late block, and with it those before it: whether they will stay as late."""
        late = self._late
        if late and start < late[-1][0] - _JITTER_SECONDS:
            late.pop()  # it waited for what came with this one, and tells nothing
        late.append((start, start_frame, arrived_at))
        starts = [start for start, _, _ in late]
        least = min(starts)
        # From there on no block is less late: if frames are lost, it was just before it.
        place = next(place for start, place, _ in late if start <= least + _JITTER_SECONDS)
        self.sure_frames = max(self.sure_frames, place)
        if len(late) < _AGREEING or arrived_at - late[0][2] < self._sure_seconds:
            return
        if _middle(starts) > least + _STEP_SECONDS:  # ever later: a slow machine, no loss
            late.popleft()
            return
        lost_seconds = least - self._usual_start
        self._losses.append((place, round(lost_seconds * self.sample_rate_hz)))
        self._usual_start = least
        self._starts = deque(starts, maxlen=_NOTES)
        late.clear()
        self.sure_frames = self._end_frame


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


def _middle(values: list[float]) -> float:
    # Not `statistics`: its import takes 10 ms of every start, also of the capture process.
    return sorted(values)[len(values) // 2]
