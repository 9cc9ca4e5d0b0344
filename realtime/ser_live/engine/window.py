"""Ring of spectrum frames that gives the latest stretch as one array."""

import numpy as np
from numpy.typing import NDArray

from ser_live.model.card import SpectrumSpec


class FrameWindow:
    """Keep the latest frames and cut windows that end at the newest one.

    Parameters
    ----------
    spec : SpectrumSpec
        What the frames are.
    longest_samples : int
        Length of the longest window, in samples.
    """

    def __init__(self, spec: SpectrumSpec, longest_samples: int) -> None:
        self.spec = spec
        self.longest_frames = spec.frames_in(longest_samples)
        self._longest_samples = longest_samples
        self._frames = np.empty((self.longest_frames, spec.bins), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget all frames: as new."""
        self.begin(0)

    def begin(self, first_frame: int) -> None:
        """Forget all frames; the next one has this number."""
        self._first = first_frame
        self._count = first_frame

    def process(self, frames: NDArray[np.float32]) -> None:
        """Take frames of shape (n, bins), any ``n >= 0``; they are copied."""
        self._count += len(frames)
        frames = frames[-self.longest_frames :]
        places = np.arange(self._count - len(frames), self._count) % self.longest_frames
        self._frames[places] = frames

    def latest(self, start_sample: int, end_sample: int) -> NDArray[np.float32]:
        """Give the frames that lie whole within a stretch of samples.

        Parameters
        ----------
        start_sample : int
            First sample of the stretch; taken later where the stretch exceeds the longest window.
        end_sample : int
            Samples heard so far: the newest frame ends at or before it.

        Returns
        -------
        ndarray, shape (frames, bins), float32
            A copy; ``frames`` may be 0.
        """
        start_sample = max(start_sample, end_sample - self._longest_samples, 0)
        first = -(-start_sample // self.spec.hop_samples)
        first = max(first, self._first, self._count - self.longest_frames)
        return self._frames[np.arange(first, self._count) % self.longest_frames]
