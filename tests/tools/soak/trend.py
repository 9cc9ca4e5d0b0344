"""A straight line through points that nobody keeps."""


class Trend:
    """Least squares over any number of points, in constant memory.

    The sums are kept about the means (Welford), so that a day of points loses no digits.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all points: as new."""
        self.count = 0
        self._mean_x = self._mean_y = 0.0
        self._xx = self._xy = 0.0

    def add(self, x: float, y: float) -> None:
        """Take a point."""
        self.count += 1
        from_old_x = x - self._mean_x
        self._mean_x += from_old_x / self.count
        self._mean_y += (y - self._mean_y) / self.count
        self._xx += from_old_x * (x - self._mean_x)
        self._xy += from_old_x * (y - self._mean_y)

    @property
    def slope(self) -> float | None:
        """Rise per unit of x; None of less than two points."""
        return self._xy / self._xx if self._xx > 0.0 else None
