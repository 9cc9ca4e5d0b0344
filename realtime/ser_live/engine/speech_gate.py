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

from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ, GateSpec
from ser_live.model.onnx_session import open_session, reason

STEP_SAMPLES = 512
"""One step of the gate: 32 ms, what Silero was trained on."""

_CONTEXT_SAMPLES = 64
# Silero finds less speech in quiet audio, so a loud voice sets the level for some seconds.
_TARGET_RMS = 0.1
_LEVEL_RELEASE = math.exp(-STEP_SAMPLES / SAMPLE_RATE_HZ / 5.0)
# Steady noise stays within 3 dB of its quietest step, speech does not.
_FLOOR_SECONDS = 4.0
_FLOOR_MARGIN = 10.0 ** (3.0 / 20.0)
_DIGITAL_SILENCE_RMS = 1e-9
_RESET_SECONDS = 30.0
_SMALLEST_LEVEL_RMS = 1e-12
_NO_STATE = np.zeros((2, 1, 128), np.float32)


@dataclass(frozen=True, slots=True)
class GateStep:
    """The gate's decision at the end of one step."""

    end_sample: int
    """Samples taken so far."""
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
class GateRequest:
    """Consecutive steps of one stream, for Silero."""

    rows: NDArray[np.float32]
    """Shape (steps, 576), each 64 samples of context and the 512 of the step."""
    state: NDArray[np.float32]
    """Recurrent state before the first step, shape (2, 1, 128)."""


@dataclass(frozen=True, slots=True, eq=False)
class GateResult:
    """Silero's result for a request."""

    probabilities: list[float]
    """Of speech, for each step."""
    state: NDArray[np.float32]
    """Recurrent state after the last step, shape (2, 1, 128)."""


def run_gate(requests: Sequence[GateRequest]) -> list[GateResult]:
    """Run Silero once for several streams; all requests have as many steps.

    Raises
    ------
    SerError
        If the network fails.
    """
    # Step by step, and within a step stream by stream: so the graph unfolds its recurrent layer.
    rows = np.stack([request.rows for request in requests], axis=1)
    steps, streams, width = rows.shape
    state = np.concatenate([request.state for request in requests], axis=1)
    feeds = {"input": rows.reshape(steps * streams, width), "state": state}
    try:
        output, new_state = _silero().run(None, feeds)
    except Exception as error:  # onnxruntime raises a dozen unrelated types
        raise SerError(f"Silero VAD: the network fails ({reason(error)})") from error
    probabilities = output.reshape(steps, streams).T.tolist()
    # Copies of the states, as a view would keep those of all streams alive.
    return [GateResult(probabilities[k], new_state[:, k : k + 1].copy()) for k in range(streams)]


class SpeechGate:
    """Decide for each 32 ms step whether it is speech.

    A step no louder than the running noise floor (the quietest step of the last four seconds)
    is silence and costs nothing; the others go through Silero. Its output depends on the level,
    so the audio is normalised by a level follower (instant attack, slow release) that never looks
    ahead: a quiet microphone behaves as a loud one.

    Parameters
    ----------
    spec : GateSpec
        Thresholds and times, from the model card.
    """

    def __init__(self, spec: GateSpec) -> None:
        self.spec = spec
        _silero()  # a broken installation shows here, not in the middle of a stream
        self._release_steps = _steps(spec.release_seconds)
        self._restart_samples = round(spec.restart_seconds * SAMPLE_RATE_HZ)
        self.reset()

    def reset(self) -> None:
        """Clear everything: as new."""
        self._context = np.zeros(_CONTEXT_SAMPLES, np.float32)
        self._level_rms = 0.0
        self._state = _NO_STATE
        self._held = np.empty(0, np.float32)
        self._waiting: list[NDArray[np.float32] | None] = []
        self._levels: deque[float] = deque(maxlen=_steps(_FLOOR_SECONDS))
        self._counted: deque[bool] = deque(maxlen=self.spec.onset_of_steps)
        self._quiet_steps = 0
        self._last_voice_sample: int | None = None
        self._latest = GateStep(0, 0.0, False, 0, 0)

    @property
    def earliest_onset_sample(self) -> int:
        """First sample that the present or the next utterance can begin with."""
        latest = self._latest
        next_onset = latest.end_sample - STEP_SAMPLES * (self.spec.onset_of_steps - 1)
        goes_on = latest.is_speech or not self._is_new_utterance(next_onset)
        return latest.onset_sample if goes_on else next_onset

    def process(self, samples: NDArray[np.float32]) -> None:
        """Take mono samples of shape (n,) at 16 kHz, any ``n >= 0``; they are copied."""
        self._held = np.concatenate((self._held, samples))
        while self._held.size >= STEP_SAMPLES:
            step, self._held = self._held[:STEP_SAMPLES], self._held[STEP_SAMPLES:]
            rms = math.sqrt(float(np.square(step).sum()) / STEP_SAMPLES)
            row = self._network_row(step, rms)
            # Also steps below the floor are prepared: they are the context of the next one.
            self._waiting.append(row if self._is_open(rms) else None)
        self._held = self._held.copy()

    def decide(self) -> list[GateStep]:
        """Return the steps completed since the last call, all decided in one run.

        The network's bits may depend on how many steps it judges at once, so a caller who wants
        the law of the stream decides at points of the stream, not at ends of chunks.
        """
        request = self.request()
        return self.apply(None if request is None else run_gate([request])[0])

    def request(self) -> GateRequest | None:
        """Return what `decide` would run; None: no network is needed. `apply` takes the result."""
        rows = [row for row in self._waiting if row is not None]
        return GateRequest(np.stack(rows), self._state) if rows else None

    def apply(self, result: GateResult | None) -> list[GateStep]:
        """Decide the waiting steps by the result of `request`."""
        waiting, self._waiting = self._waiting, []
        judged = iter(() if result is None else result.probabilities)
        if result is not None:
            self._state = result.state
        steps = []
        for row in waiting:
            self._latest = self._decide(0.0 if row is None else next(judged))
            steps.append(self._latest)
        return steps

    def _network_row(self, step: NDArray[np.float32], rms: float) -> NDArray[np.float32]:
        """Return the network's row (576,) for the next step of shape (512,) with its rms."""
        self._level_rms = max(rms, self._level_rms * _LEVEL_RELEASE, _SMALLEST_LEVEL_RMS)
        row = np.concatenate((self._context, step)) * np.float32(_TARGET_RMS / self._level_rms)
        self._context = step[-_CONTEXT_SAMPLES:].copy()
        return row

    def _is_open(self, rms: float) -> bool:
        # Until the floor is known, every sound goes through the network.
        floor = min(self._levels) if len(self._levels) == self._levels.maxlen else 0.0
        self._levels.append(rms)
        return rms > max(_DIGITAL_SILENCE_RMS, floor * _FLOOR_MARGIN)

    def _decide(self, probability: float) -> GateStep:
        spec, before = self.spec, self._latest
        end_sample = before.end_sample + STEP_SAMPLES
        self._counted.append(probability >= spec.onset_probability)
        quiet = probability < spec.release_probability
        self._quiet_steps = self._quiet_steps + 1 if quiet else 0
        # The state drifts over hours of noise. In long silence a reset never falls into speech.
        if self._quiet_steps and self._quiet_steps % _steps(_RESET_SECONDS) == 0:
            self._state = _NO_STATE

        is_speech, onset_sample, utterance = before.is_speech, before.onset_sample, before.utterance
        if is_speech:
            is_speech = self._quiet_steps < self._release_steps
            if not is_speech:
                self._counted.clear()  # the end of this utterance is no part of the next onset
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
