"""Latest frames and samples of a stream: what a model's window is cut from."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from ser_live.model.card import SpectrumSpec

# Half a second: little beside a window, and few pages to join.
_PAGE_SAMPLES = 8000


class FrameWindow:
    """Ring of the latest spectrum frames, cut into windows that end at the newest one.

    Parameters
    ----------
    spec : SpectrumSpec
        Transform that the frames come from.
    longest_samples : int
        Length of the longest window, in samples.
    """

    def __init__(self, spec: SpectrumSpec, longest_samples: int) -> None:
        self.spec = spec
        self.longest_frames = spec.frames_in(longest_samples)
        self._longest_samples = longest_samples
        self._frames = np.empty((self.longest_frames, spec.bins), np.float32)
        self.reset()

    def reset(self, first_frame: int = 0) -> None:
        """Clear all frames: as new; the next one has this number."""
        self._first = first_frame
        self._count = first_frame

    def process(self, frames: NDArray[np.float32]) -> None:
        """Take frames of shape (n, bins), any ``n >= 0``; they are copied."""
        self._count += len(frames)
        # Two frames of one call must not fall on one place of the ring.
        frames = frames[-self.longest_frames :]
        places = np.arange(self._count - len(frames), self._count) % self.longest_frames
        self._frames[places] = frames

    def latest(self, start_sample: int, end_sample: int) -> NDArray[np.float32]:
        """Return the frames that lie whole within a stretch of samples.

        Parameters
        ----------
        start_sample : int
            First sample of the stretch; taken later where the stretch exceeds the longest window.
        end_sample : int
            Samples taken so far: the newest frame ends at or before it.

        Returns
        -------
        ndarray, shape (frames, bins), float32
            A copy; ``frames`` may be 0.
        """
        start_sample = max(start_sample, end_sample - self._longest_samples, 0)
        first = -(-start_sample // self.spec.hop_samples)
        # Neither frames before the first one nor those that newer ones have overwritten.
        first = max(first, self._first, self._count - self.longest_frames)
        return self._frames[np.arange(first, self._count) % self.longest_frames]


class SampleHistory:
    """Latest samples of a stream, for a model that takes over in its middle.

    Only what such a model could need is kept, in pages, so that most streams keep a few seconds:
    30 seconds of samples are more memory than all else that a stream holds.

    Parameters
    ----------
    most_samples : int
        Length of what is kept at most.
    """

    def __init__(self, most_samples: int) -> None:
        self._most_samples = most_samples
        self.reset()

    def reset(self) -> None:
        """Clear all samples: as new."""
        self._pages: deque[NDArray[np.float32]] = deque()
        self._begin = self._end = 0  # number of the first sample in pages, and after the last

    def process(self, samples: NDArray[np.float32]) -> None:
        """Take samples of shape (n,), any ``n >= 0``; they are copied."""
        while samples.size:
            used = (self._end - self._begin) % _PAGE_SAMPLES
            if used == 0:
                self._pages.append(np.empty(_PAGE_SAMPLES, np.float32))
            part = samples[: _PAGE_SAMPLES - used]
            self._pages[-1][used : used + part.size] = part
            self._end += part.size
            samples = samples[part.size :]
        self.forget_before(self._end - self._most_samples)

    def forget_before(self, sample: int) -> None:
        """Let go of pages that end before a sample, numbered since the latest reset."""
        while self._pages and self._begin + _PAGE_SAMPLES <= sample:
            self._pages.popleft()
            self._begin += _PAGE_SAMPLES

    def latest(self) -> NDArray[np.float32]:
        """Return what is kept up to the latest sample, oldest first: a copy of shape (n,)."""
        kept = np.concatenate((np.empty(0, np.float32), *self._pages))
        return kept[: self._end - self._begin][-self._most_samples :]
