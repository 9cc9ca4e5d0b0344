"""What a quantized graph costs and saves, beside the graph it was made of."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ser_export.quantization_clips import Parted, window_of
from ser_export.verification import run
from ser_live.model.card import SAMPLE_RATE_HZ, ModelCard
from ser_train.corpora import truth_of
from ser_train.metrics import Scores, score

_ROUNDS = 30
_RUNS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """Before and after, in one run on one thread."""

    clips: Parted
    before: Scores
    after: Scores
    greatest_difference: float
    """Of a probability, over all measured clips."""
    changed_answers: int
    """Clips whose most probable label is another one."""
    milliseconds_before: float
    """For the longest window; median."""
    milliseconds_after: float

    @property
    def lost_points(self) -> float:
        """Give the loss of UAR in percentage points."""
        return 100.0 * (self.before.uar - self.after.uar)


def measure_cost(
    before: onnxruntime.InferenceSession,
    after: onnxruntime.InferenceSession,
    clips: Parted,
    card: ModelCard,
) -> Cost:
    """Ask both graphs about each clip, and time them in turn."""
    sessions = (before, after)
    answers = np.array([_ask(sessions, window_of(clip, card)) for clip in clips.judges])
    truth = truth_of(clips.judges, card.labels)
    decided = answers.argmax(axis=2)
    times = _times(sessions, _longest(window_of(clips.judges[0], card), card))
    return Cost(
        clips,
        score(answers[:, 0], truth),
        score(answers[:, 1], truth),
        float(np.abs(answers[:, 0] - answers[:, 1]).max()),
        int((decided[:, 0] != decided[:, 1]).sum()),
        *times,
    )


def _ask(
    sessions: Sequence[onnxruntime.InferenceSession], window: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Give the probabilities of each session, shape (sessions, labels)."""
    rows = [run(session, window[np.newaxis])[0] for session in sessions]
    return np.array(rows, np.float64)


def _longest(window: NDArray[np.float32], card: ModelCard) -> NDArray[np.float32]:
    """Repeat a window until it is as long as windows get."""
    frames = card.spectrum.frames_in(round(card.window.seconds * SAMPLE_RATE_HZ))
    return np.resize(window, (1, frames, window.shape[1]))


def _times(
    sessions: Sequence[onnxruntime.InferenceSession], window: NDArray[np.float32]
) -> tuple[float, float]:
    """Time both in turn, so that a busy machine slows both; medians in milliseconds."""
    seconds: list[list[float]] = [[] for _ in sessions]
    for session in sessions:
        run(session, window)
    for _ in range(_ROUNDS):
        for times, session in zip(seconds, sessions, strict=True):
            for _ in range(_RUNS):
                start = time.perf_counter()
                run(session, window)
                times.append(time.perf_counter() - start)
    before, after = (1000.0 * float(np.median(times)) for times in seconds)
    return before, after
