"""The latest samples of a stream, in memory that never moves."""

import numpy as np
from numpy.typing import NDArray


class RecentSamples:
    """Keep so many of the latest samples, in one buffer for the whole life of a stream.

    Parameters
    ----------
    most_samples : int
        What is kept.
    """

    def __init__(self, most_samples: int) -> None:
        # Untouched pages cost nothing: a short stream does not pay for a long memory.
        self._samples = np.empty(most_samples, np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget all samples: as new."""
        self._count = 0

    def process(self, samples: NDArray[np.float32]) -> None:
        """Take samples of shape (n,), any ``n >= 0``; they are copied."""
        size = self._samples.size
        self._count += samples.size
        samples = samples[-size:]
        end = (self._count - 1) % size + 1 if samples.size else 0
        tail = min(samples.size, end)
        self._samples[end - tail : end] = samples[samples.size - tail :]
        rest = samples.size - tail
        self._samples[size - rest :] = samples[:rest]

    def latest(self) -> NDArray[np.float32]:
        """Give what is kept, oldest first: a copy of shape (n,)."""
        size = self._samples.size
        if self._count <= size:
            return self._samples[: self._count].copy()
        return np.roll(self._samples, -(self._count % size))
