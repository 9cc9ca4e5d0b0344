"""Which event is told of when."""

from collections import deque

from ser_live.events import Event

NEWS_SECONDS = 11.0
"""How long the newest event is shown, fading."""

_TURN_SECONDS = 2.5
_WAIT_SECONDS = 5.0


class NewsTurns:
    """Tell of one event at a time: each has its turn, the newest stays until it has faded."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all events: as new."""
        self._turns: deque[tuple[float, Event]] = deque()

    def add(self, event: Event, now: float) -> None:
        """Put an event behind the others; it takes the place of one of its kind."""
        turn_at = now
        if self._turns:
            last_at, last = self._turns[-1]
            if last.kind == event.kind:
                self._turns.pop()
                turn_at = last_at
            else:
                turn_at = last_at + _TURN_SECONDS
        self._turns.append((min(max(now, turn_at), now + _WAIT_SECONDS), event))

    def at(self, now: float) -> tuple[Event | None, float]:
        """Give the event whose turn it is, and for how long that has been so."""
        while len(self._turns) > 1 and self._turns[1][0] <= now:
            self._turns.popleft()
        if not self._turns or not 0.0 <= now - self._turns[0][0] < NEWS_SECONDS:
            return None, 0.0
        return self._turns[0][1], now - self._turns[0][0]
