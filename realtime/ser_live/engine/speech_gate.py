"""Speech gate: 32 ms steps of audio become speech or silence, with hysteresis."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ, GateSpec
from ser_live.model.onnx_session import open_session, reason

STEP_SAMPLES = 512
"""One step of the gate: 32 ms, what Silero was trained on."""

_CONTEXT_SAMPLES = 64
# Silero hears a voice best at about one level, which it has to keep: where the gain changes its
# recurrent state is worth nothing, and a background that was once as loud as speech deafens it.
_TARGET_RMS = 0.55
_RISE, _FALL = 2.0, 0.25
_SECOND_STEPS = 32
_LARGEST_SAMPLE = 16.0
# What stays loud for a quarter of a second sets the level for four, a slammed door for a quarter.
_MEMORY_SECONDS = 4.0
_SUSTAINED_STEPS = 8
# One level hears a little less than the best of several, so its odds of speech count for more.
_ODDS_OF_SPEECH = 2.25
# Steady noise stays within 3 dB of its quietest step, speech does not, not for a second.
_FLOOR_MARGIN = 10.0 ** (3.0 / 20.0)
# Machines keep the shape of their spectrum within 1 dB however they swell; measured voices stray
# by 3 dB in one second, and by 5 dB in two.
_SHAPE_DB = 1.2
_SHAPE_BINS = slice(2, 200)
_SHAPE_RANGE_DB = 30.0
_SIMILAR = 0.02
_HANN = np.hanning(STEP_SAMPLES + 1)[:-1].astype(np.float32)
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


class _WaitingStep(NamedTuple):
    """A step that is not decided yet."""

    rows: NDArray[np.float32] | None
    """For the network, the last one its own; None: it is closed."""
    is_fresh: bool
    """They come after no state of the network."""


class SpeechGate:
    """Decide for each 32 ms step whether it is speech.

    A step no louder than the running noise floor (the quietest step of the last four seconds), or
    than a sound that has kept its spectrum for two seconds, is silence and costs nothing; the
    others go through Silero. Its output depends on the level, so it hears audio at a gain that
    follows the loudest sounds of the last four seconds, and never looks ahead: a quiet microphone
    behaves as a loud one. The gain moves seldom, and then the network begins afresh and hears the
    last second again at the new gain. An offset of the converter is no loudness: the level of a
    step is that about its mean, and the network hears it without the median mean of a second.

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
        self._state = _NO_STATE
        self._held = np.empty(0, np.float32)
        self._means: deque[float] = deque(maxlen=_SECOND_STEPS)
        self._rows: deque[NDArray[np.float32]] = deque(maxlen=_SECOND_STEPS + 1)
        self._taken_steps = 0
        self._waiting: deque[_WaitingStep] = deque()
        self._undecided = 0  # steps of the latest request
        self._levels: deque[float] = deque(maxlen=_steps(_MEMORY_SECONDS))
        self._sustained: deque[float] = deque(maxlen=_steps(_MEMORY_SECONDS))
        self._latest_levels: deque[float] = deque(maxlen=_SUSTAINED_STEPS)
        self._level_rms = 0.0
        self._is_fresh = False
        self._kept_shape = False
        self._steady_rms = 0.0
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
            self._waiting.append(self._take(step))
        self._held = self._held.copy()

    def decide(self) -> list[GateStep]:
        """Return the steps completed since the last call.

        The network's bits may depend on how many steps it judges at once, so a caller who wants
        the law of the stream decides at points of the stream, not at ends of chunks.
        """
        steps = []
        while self.is_waiting:
            request = self.request()
            steps += self.apply(None if request is None else run_gate([request])[0])
        return steps

    @property
    def is_waiting(self) -> bool:
        """Tell whether steps are still to be decided by `request` and `apply`."""
        return bool(self._waiting)

    def request(self) -> GateRequest | None:
        """Return what to run for the next steps; None: no network is needed.

        `apply` takes the result. The network begins afresh with some steps, so there may be
        others left.
        """
        waiting = self._waiting
        afresh = (k for k in range(1, len(waiting)) if waiting[k].is_fresh)
        self._undecided = next(afresh, len(waiting))
        blocks = [step.rows for step in islice(waiting, self._undecided) if step.rows is not None]
        if not blocks:
            return None
        state = _NO_STATE if waiting[0].is_fresh else self._state
        return GateRequest(np.concatenate(blocks), state)

    def apply(self, result: GateResult | None) -> list[GateStep]:
        """Decide steps by the result of `request`."""
        judged = iter(() if result is None else result.probabilities)
        if result is not None:
            self._state = result.state
        steps = []
        for _ in range(self._undecided):
            rows = self._waiting.popleft().rows
            probability = 0.0 if rows is None else [next(judged) for _ in rows][-1]
            odds = _ODDS_OF_SPEECH * probability
            self._latest = self._decide(odds / (odds + 1.0 - probability))
            steps.append(self._latest)
        return steps

    def _take(self, step: NDArray[np.float32]) -> _WaitingStep:
        """Prepare the next step of shape (512,) for the network."""
        # In float64 the mean of a constant is exact, so that nothing is left of one.
        mean = float(np.add.reduce(step, dtype=np.float64)) / STEP_SAMPLES
        self._means.append(mean)
        # A voice hardly moves the median, and half a second after a jump nothing is left of it.
        offset = sorted(self._means)[len(self._means) // 2]
        step = step - np.float32(offset)
        context = self._rows[-1] if self._rows else np.zeros(_CONTEXT_SAMPLES, np.float32)
        # Also closed steps are kept: they are the context of the next one.
        self._rows.append(np.concatenate((context[-_CONTEXT_SAMPLES:], step)))
        self._taken_steps += 1
        power = float(np.square(step).sum()) / STEP_SAMPLES - (mean - offset) ** 2
        rms = math.sqrt(max(0.0, power))
        is_open = self._is_open(rms)
        self._follow_level(rms)
        if self._taken_steps % _SECOND_STEPS == 0:
            self._compare_shapes()
        if not is_open:
            return _WaitingStep(None, is_fresh=False)
        gain, is_fresh = np.float32(_TARGET_RMS / self._level_rms), self._is_fresh
        self._is_fresh = False
        if not is_fresh:
            return _WaitingStep(self._rows[-1][np.newaxis] * gain, is_fresh)
        # A click that the level has left behind may be much too loud.
        rows = np.clip(np.stack(self._rows) * gain, -_LARGEST_SAMPLE, _LARGEST_SAMPLE)
        return _WaitingStep(rows, is_fresh)

    def _is_open(self, rms: float) -> bool:
        # Until the floor is known, every sound goes through the network.
        floor = min(self._levels) if len(self._levels) >= _SECOND_STEPS else 0.0
        return rms > max(_DIGITAL_SILENCE_RMS, floor * _FLOOR_MARGIN, self._steady_rms)

    def _follow_level(self, rms: float) -> None:
        self._levels.append(rms)
        self._latest_levels.append(rms)
        if len(self._latest_levels) == _SUSTAINED_STEPS:
            self._sustained.append(min(self._latest_levels))
        level = max(_SMALLEST_LEVEL_RMS, *self._latest_levels, max(self._sustained, default=0.0))
        if level > self._level_rms * _RISE:
            self._level_rms, self._is_fresh = level, True
        elif level < self._level_rms * _FALL:
            self._level_rms = level

    def _compare_shapes(self) -> None:
        """Find a sound whose spectrum keeps its shape, by the loudest steps of four parts."""
        part, levels = _SECOND_STEPS // 4, list(self._levels)[-_SECOND_STEPS:]
        starts = range(0, _SECOND_STEPS, part)
        loudest = [max(range(k, k + part), key=levels.__getitem__) for k in starts]
        steps = np.stack([self._rows[k - _SECOND_STEPS][_CONTEXT_SAMPLES:] for k in loudest])
        keeps = _have_one_shape(steps / np.float32(self._level_rms))
        is_steady, self._kept_shape = keeps and self._kept_shape, keeps
        self._steady_rms = max(levels) * _FLOOR_MARGIN if is_steady else 0.0

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


def _have_one_shape(steps: NDArray[np.float32]) -> bool:
    """Tell whether steps of shape (n, 512) have one spectrum but for their loudness."""
    similarity = (steps[:, 1:] * steps[:, :-1]).sum(axis=1) / (np.square(steps).sum(axis=1) + 1e-20)
    if not np.ptp(similarity) < _SIMILAR:  # tells most voices apart at a tenth of the cost
        return False
    power = np.square(np.abs(np.fft.rfft(steps * _HANN)[:, _SHAPE_BINS]))
    shapes_db = 10.0 * np.log10(power + 1e-20)
    mean_db = shapes_db.mean(axis=0)
    shapes_db = shapes_db[:, mean_db > mean_db.max() - _SHAPE_RANGE_DB]
    shapes_db -= shapes_db.mean(axis=1, keepdims=True)
    return math.sqrt(float(shapes_db.var(axis=0).mean())) < _SHAPE_DB


def _steps(seconds: float) -> int:
    """Steps that it takes to fill a time, rounded up."""
    return -(-round(seconds * SAMPLE_RATE_HZ) // STEP_SAMPLES)
