"""A wider hop while the machine cannot afford the narrow one."""

_WIDEST_HOPS = 8
_SPAN_SECONDS = 4.0
_CALM_SECONDS = 10.0
_MARGIN = 0.7


class HopGovernor:
    """Decide how many hops there are to a prediction, from what recognition costs.

    The cost is measured over stretches of four seconds of audio. Above the budget the hop
    doubles; it halves again when twice the cost has stayed well below the budget for a while.

    Parameters
    ----------
    budget : float
        Share of one core that recognition may take, above 0.
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.reset()

    def reset(self) -> None:
        """Forget all costs: as new."""
        self.hops_per_prediction = 1
        self.share = 0.0
        self._cost_seconds = 0.0
        self._audio_seconds = 0.0
        self._calm_seconds = 0.0

    def process(self, cost_seconds: float, audio_seconds: float) -> bool:
        """Take what some audio cost; True if the hop changed."""
        self._cost_seconds += cost_seconds
        self._audio_seconds += audio_seconds
        if self._audio_seconds < _SPAN_SECONDS:
            return False
        self.share = self._cost_seconds / self._audio_seconds
        passed_seconds, before = self._audio_seconds, self.hops_per_prediction
        self._cost_seconds = self._audio_seconds = 0.0
        self._calm_seconds += passed_seconds
        if self.share > _MARGIN * self.budget / 2.0:
            self._calm_seconds = 0.0
        if self.share > self.budget:
            self.hops_per_prediction = min(2 * before, _WIDEST_HOPS)
        elif self._calm_seconds >= _CALM_SECONDS and before > 1:
            self.hops_per_prediction = before // 2
            self._calm_seconds = 0.0
        return self.hops_per_prediction != before
