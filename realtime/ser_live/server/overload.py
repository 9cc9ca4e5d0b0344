"""Overload: from how late predictions are to what the server does about it."""

import asyncio

# Late streams are judged by shares of predictions, so that one slow stream changes nothing.
_SLOW_SECONDS = 0.05
_SLOW_SHARE = 0.2
_LATE_SECONDS = 0.1
_LATE_SHARE = 0.1
_BUSY_SHARE = 0.8
# Half the hop is twice the work: from below this share the engine stays below `_BUSY_SHARE`.
_CALM_SHARE = 0.4
# Quick to help (2 s), slow to come back (10 s): else the hop would swing to and fro.
_HOT_TICKS = 4
_CALM_TICKS = 20
_WIDEST_HOPS = 8


class Overload:
    """Decide from how late predictions are whether streams are refused, and how wide hops are.

    A busy engine alone is no harm: the more wait for it, the more share a run. When live streams
    get late, clients that send faster than real time have to wait first; if that is not enough,
    streams are refused; then hops widen, and they come back when there is room for twice the work.
    """

    def __init__(self) -> None:
        self.is_refusing = False
        self.has_time = asyncio.Event()
        """Set while clients that send faster than real time need not wait for the others."""
        self.has_time.set()
        self.is_beyond_help = False
        """Hops are as wide as they get, and it is too much still."""
        self.hops_per_prediction = 1
        self._hot_ticks = 0
        self._calm_ticks = 0
        self._begin_again()

    @property
    def must_yield(self) -> bool:
        """True while clients that send faster than real time have to wait for the others."""
        return not self.has_time.is_set()

    def note(self, seconds: float) -> None:
        """Take how long a live stream has waited for a prediction that was due."""
        self._count += 1
        self._slow_count += seconds > _SLOW_SECONDS
        self._late_count += seconds > _LATE_SECONDS

    def process(self, busy_share: float) -> str:
        """Judge what was noted since the last time; return a sentence where something changes."""
        late_share = self._late_count / max(1, self._count)
        if self._slow_count > _SLOW_SHARE * self._count:
            self.has_time.clear()
        else:
            self.has_time.set()
        self._begin_again()
        before = (self.is_refusing, self.hops_per_prediction)
        # Late without a busy engine is a slow network or client: nothing here would help.
        is_hot = late_share > _LATE_SHARE and busy_share > _BUSY_SHARE
        self._hot_ticks = self._hot_ticks + 1 if is_hot else 0
        self._calm_ticks = self._calm_ticks + 1 if busy_share < _CALM_SHARE else 0
        self.is_beyond_help = self.is_beyond_help and is_hot
        if self._hot_ticks >= _HOT_TICKS:
            self._harden()
        elif self._calm_ticks >= _CALM_TICKS and self.hops_per_prediction > 1:
            self._calm_ticks = 0
            self.hops_per_prediction //= 2
        elif busy_share < _BUSY_SHARE and self.hops_per_prediction == 1:
            self.is_refusing = False
        if before == (self.is_refusing, self.hops_per_prediction):
            return ""
        refusing = "refuses" if self.is_refusing else "takes"
        return (
            f"{100 * late_share:.0f} % of predictions were late, the engine busy "
            f"{100 * busy_share:.0f} % of the time; the server {refusing} new streams; "
            f"{self.hops_per_prediction} hops to a prediction"
        )

    def _harden(self) -> None:
        self._hot_ticks = 0
        self.is_beyond_help = self.hops_per_prediction == _WIDEST_HOPS
        if self.is_refusing:
            self.hops_per_prediction = min(2 * self.hops_per_prediction, _WIDEST_HOPS)
        self.is_refusing = True

    def _begin_again(self) -> None:
        self._count = self._slow_count = self._late_count = 0
