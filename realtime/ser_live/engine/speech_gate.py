"""Speech gate: 32 ms steps of audio become speech or silence, with hysteresis."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ser_live.model.card import SAMPLE_RATE_HZ, GateSpec
from ser_live.model.onnx_session import open_session

STEP_SAMPLES = 512
"""One step of the gate: 32 ms, what Silero was trained on."""

_CONTEXT_SAMPLES = 64
_TARGET_RMS = 0.1
_LEVEL_RELEASE_SECONDS = 5.0
_FLOOR_SECONDS = 4.0
_FLOOR_MARGIN = 10.0 ** (3.0 / 20.0)
_DIGITAL_SILENCE_RMS = 1e-9
_FORGET_SECONDS = 30.0
_SMALLEST_LEVEL_RMS = 1e-12


@dataclass(frozen=True, slots=True)
class GateStep:
    """The gate's decision at the end of one step."""

    end_sample: int
    """Samples heard so far."""
    probability: float
    """Of speech in this step."""
    is_speech: bool
    """After hysteresis."""
    onset_sample: int
    """First sample of the latest utterance; meaningless before the first one."""
    utterance: int
    """Utterances begun so far."""


@cache
def _silero() -> onnxruntime.InferenceSession:
    model = Path(__file__).parent.parent / "data" / "silero_vad_16k.onnx"
    return open_session(model.read_bytes(), "Silero VAD")


@dataclass(frozen=True, slots=True, eq=False)
class GateQuestion:
    """Some consecutive steps of one stream, to be judged by Silero."""

    rows: NDArray[np.float32]
    """Shape (steps, 576), as `SileroVad.hear` gives them."""
    state: NDArray[np.float32]
    """Recurrent state before the first step, shape (2, 1, 128)."""


@dataclass(frozen=True, slots=True, eq=False)
class GateAnswer:
    """What Silero says to a question."""

    probabilities: list[float]
    """Of speech, for each step."""
    state: NDArray[np.float32]
    """Recurrent state after the last step, shape (2, 1, 128)."""


def judge(questions: Sequence[GateQuestion]) -> list[GateAnswer]:
    """Judge the steps of several streams in one run; all questions have as many steps."""
    rows = np.stack([question.rows for question in questions], axis=1)
    steps, streams, width = rows.shape
    state = np.concatenate([question.state for question in questions], axis=1)
    output, new_state = _silero().run(
        None, {"input": rows.reshape(steps * streams, width), "state": state}
    )
    probabilities = output.reshape(steps, streams).T.tolist()
    return [GateAnswer(probabilities[k], new_state[:, k : k + 1].copy()) for k in range(streams)]


class SileroVad:
    """Probability of speech per step, of audio at any level.

    Silero VAD v5 hears the last 64 samples before a step, the step, and its own recurrent
    state. Its answer depends on the level, so it is given audio normalised by a level follower
    (instant attack, slow release) that never looks ahead.
    """

    def __init__(self) -> None:
        _silero()  # what is wrong with it shows now
        self._release = math.exp(-STEP_SAMPLES / SAMPLE_RATE_HZ / _LEVEL_RELEASE_SECONDS)
        self.reset()

    def reset(self) -> None:
        """Forget state, context and level: as new."""
        self._context = np.zeros(_CONTEXT_SAMPLES, np.float32)
        self._level_rms = 0.0
        self.forget()

    def forget(self) -> None:
        """Forget the recurrent state only, which drifts over hours of noise."""
        self._state = np.zeros((2, 1, 128), np.float32)

    def hear(self, step: NDArray[np.float32], rms: float) -> NDArray[np.float32]:
        """Take a step of shape (512,) with its rms; give the row (576,) that the network wants."""
        self._level_rms = max(rms, self._level_rms * self._release, _SMALLEST_LEVEL_RMS)
        row = np.concatenate((self._context, step)) * np.float32(_TARGET_RMS / self._level_rms)
        self._context = step[-_CONTEXT_SAMPLES:].copy()
        return row

    def question(self, rows: list[NDArray[np.float32]]) -> GateQuestion | None:
        """Ask for some consecutive rows; None where there are none."""
        return GateQuestion(np.stack(rows), self._state) if rows else None

    def take(self, answer: GateAnswer) -> None:
        """Go on from the answer to the latest question."""
        self._state = answer.state


class SpeechGate:
    """Decide for each 32 ms step whether somebody speaks.

    A step no louder than the running noise floor (the quietest step of the last four seconds)
    is silence and costs nothing; the others are judged by Silero. Nothing here depends on the
    absolute level, so a quiet microphone behaves as a loud one.

    Parameters
    ----------
    spec : GateSpec
        Thresholds and times, from the model card.
    """

    def __init__(self, spec: GateSpec) -> None:
        self.spec = spec
        self._vad = SileroVad()
        self._release_steps = _steps(spec.release_seconds)
        self._restart_samples = round(spec.restart_seconds * SAMPLE_RATE_HZ)
        self.reset()

    def reset(self) -> None:
        """Forget everything heard: as new."""
        self._vad.reset()
        self._held = np.empty(0, np.float32)
        self._waiting: list[NDArray[np.float32] | None] = []
        self._levels: deque[float] = deque(maxlen=_steps(_FLOOR_SECONDS))
        self._counted: deque[bool] = deque(maxlen=self.spec.onset_of_steps)
        self._quiet_steps = 0
        self._last_voice_sample: int | None = None
        self._latest = GateStep(0, 0.0, False, 0, 0)

    def process(self, samples: NDArray[np.float32]) -> None:
        """Take mono samples of shape (n,) at 16 kHz, any ``n >= 0``; they are copied."""
        self._held = np.concatenate((self._held, samples))
        while self._held.size >= STEP_SAMPLES:
            step, self._held = self._held[:STEP_SAMPLES], self._held[STEP_SAMPLES:]
            rms = math.sqrt(float(np.square(step).sum()) / STEP_SAMPLES)
            row = self._vad.hear(step, rms)
            self._waiting.append(row if self._is_open(rms) else None)
        self._held = self._held.copy()

    def decide(self) -> list[GateStep]:
        """Judge the steps that were completed since the last call, all in one run.

        The network's bits may depend on how many steps it judges at once, so a caller who wants
        the law of the stream decides at points of the stream, not at ends of chunks.
        """
        question = self.question()
        return self.take(None if question is None else judge([question])[0])

    def question(self) -> GateQuestion | None:
        """Ask what `decide` would ask; None: no network is needed. `take` takes the answer."""
        return self._vad.question([row for row in self._waiting if row is not None])

    def take(self, answer: GateAnswer | None) -> list[GateStep]:
        """Judge by the answer to `question`."""
        waiting, self._waiting = self._waiting, []
        judged = iter(() if answer is None else answer.probabilities)
        if answer is not None:
            self._vad.take(answer)
        steps = []
        for row in waiting:
            self._latest = self._decide(0.0 if row is None else next(judged))
            steps.append(self._latest)
        return steps

    def _is_open(self, rms: float) -> bool:
        floor = min(self._levels) if len(self._levels) == self._levels.maxlen else 0.0
        self._levels.append(rms)
        return rms > max(_DIGITAL_SILENCE_RMS, floor * _FLOOR_MARGIN)

    def _decide(self, probability: float) -> GateStep:
        spec, before = self.spec, self._latest
        end_sample = before.end_sample + STEP_SAMPLES
        self._counted.append(probability >= spec.onset_probability)
        quiet = probability < spec.release_probability
        self._quiet_steps = self._quiet_steps + 1 if quiet else 0
        if self._quiet_steps and self._quiet_steps % _steps(_FORGET_SECONDS) == 0:
            self._vad.forget()

        is_speech, onset_sample, utterance = before.is_speech, before.onset_sample, before.utterance
        if is_speech:
            is_speech = self._quiet_steps < self._release_steps
            if not is_speech:
                self._counted.clear()
        elif sum(self._counted) >= spec.onset_steps:
            is_speech = True
            first = end_sample - STEP_SAMPLES * (len(self._counted) - self._counted.index(True))
            if self._is_new_utterance(first):
                onset_sample, utterance = first, utterance + 1
        if is_speech and not quiet:
            self._last_voice_sample = end_sample
        return GateStep(end_sample, probability, is_speech, onset_sample, utterance)

    def _is_new_utterance(self, onset_sample: int) -> bool:
        last = self._last_voice_sample
        return last is None or onset_sample - last >= self._restart_samples


def _steps(seconds: float) -> int:
    """Steps that it takes to fill a time, rounded up."""
    return -(-round(seconds * SAMPLE_RATE_HZ) // STEP_SAMPLES)
