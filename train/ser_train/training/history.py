"""What is seen while a network trains."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What was seen in one epoch."""

    loss: float
    validation_uar: float | None
    """None without validation speakers."""
    validation_nll: float | None

    def rounded(self, digits: int) -> "EpochRecord":
        """Give the same with fewer digits, for a file that people read."""
        uar, nll = (
            None if value is None else round(value, digits)
            for value in (self.validation_uar, self.validation_nll)
        )
        return EpochRecord(round(self.loss, digits), uar, nll)
