"""A model that takes its time."""

import threading

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ser_live.model.classifier import OnnxClassifier
from ser_live.sources.microphone import Clock, SystemClock


class SlowModel(OnnxClassifier):
    """A model whose every answer takes longer than it needs.

    Parameters
    ----------
    classifier : OnnxClassifier
        What answers.
    seconds : float
        What an answer takes; may be set at any time.
    clock : Clock or None
        Where it waits: a `VirtualClock`, so that the test itself need not, or None: really.
    """

    def __init__(
        self, classifier: OnnxClassifier, seconds: float, clock: Clock | None = None
    ) -> None:
        self._clock = SystemClock() if clock is None else clock
        self._never = threading.Event()
        self.seconds = 0.0  # its golden test need not wait
        super().__init__(classifier._session, classifier.card, classifier.where)
        self.seconds = seconds

    def batch_probabilities(
        self, windows: NDArray[np.float32], options: onnxruntime.RunOptions | None = None
    ) -> NDArray[np.float32]:
        """Classify windows, slowly; see `OnnxClassifier.batch_probabilities`."""
        self._clock.wait(self._never, self.seconds * len(windows))
        return super().batch_probabilities(windows, options)
