"""Clock whose time passes when the test says so."""

import heapq
import itertools
import threading
from collections.abc import Callable


class Alarm:
    """Call that a `VirtualClock` will make; `cancel` takes it back."""

    def __init__(self, at_seconds: float, call: Callable[[], None]) -> None:
        self.at_seconds = at_seconds
        self.call = call
        self.is_cancelled = False

    def cancel(self) -> None:
        """Never call; nothing happens if it was done already."""
        self.is_cancelled = True


class VirtualClock:
    """Clock that stands still until a caller waits on it or advances it.

    What is to happen at a time is handed to `call_at`. Time never jumps over
    such a moment, also while a slow model or a slow handler sleeps: it stops there, makes the
    call, and goes on. Calls are made in the thread that lets time pass. An hour costs nothing.

    Parameters
    ----------
    start_seconds : float
        The time at first.
    """

    def __init__(self, start_seconds: float = 1000.0) -> None:
        self._now = start_seconds
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()
        self._in_use = threading.RLock()

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        return self._now

    def call_at(self, at_seconds: float, call: Callable[[], None]) -> Alarm:
        """Ask to be called once when it is so late; at once if that has passed.

        Calls for the same moment are made in the order in which they were asked for.
        """
        alarm = Alarm(at_seconds, call)
        with self._in_use:
            heapq.heappush(self._alarms, (at_seconds, next(self._numbers), alarm))
        return alarm

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.wait(threading.Event(), seconds)

    def wait(self, event: threading.Event, timeout_seconds: float) -> bool:
        """Let time pass until an event is set, at most so long, and return whether it is set."""
        with self._in_use:
            target = self._now + timeout_seconds
            while not event.is_set() and self._next_alarm(target):
                pass
            if not event.is_set():
                self._now = max(self._now, target)
        return event.is_set()

    def _next_alarm(self, target: float) -> bool:
        """Go to the next alarm up to a time and make its call; False if there is none."""
        while self._alarms and self._alarms[0][0] <= target:
            at_seconds, _, alarm = heapq.heappop(self._alarms)
            if not alarm.is_cancelled:
                self._now = max(self._now, at_seconds)
                alarm.call()
                return True
        return False
