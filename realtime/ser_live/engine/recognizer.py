"""The streaming engine: samples in, predictions out."""

import dataclasses
import os
from collections.abc import Generator, Mapping
from typing import Any, NoReturn, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ser_live.engine.inference import InferenceRequest, Steps, run
from ser_live.engine.resample import (
    Resampler,
    checked_block,
    clipped_frames,
    require_channels,
    to_mono,
)
from ser_live.engine.smoothing import Smoothed, Smoother
from ser_live.engine.spectrum import PowerSpectrum
from ser_live.engine.speech_gate import GateStep, SpeechGate
from ser_live.engine.window import FrameWindow, SampleHistory
from ser_live.errors import SerError
from ser_live.latency import AlgorithmicDelay, RecognizerStats, StageClock
from ser_live.model.card import (
    LONGEST_PRE_ROLL_SECONDS,
    LONGEST_WINDOW_SECONDS,
    SAMPLE_RATE_HZ,
    ModelCard,
    SmoothingSpec,
)
from ser_live.model.catalog import find_model
from ser_live.model.classifier import Classifier, WindowRequest, load_shared
from ser_live.model.prior import PriorChoice, join_prior, prior_of
from ser_live.prediction import Prediction, State
from ser_live.text import quoted

_GRID_SAMPLES = SAMPLE_RATE_HZ // 100
SHORTEST_HOP_SECONDS = _GRID_SAMPLES / SAMPLE_RATE_HZ
_PRE_ROLL_SAMPLES = round(LONGEST_PRE_ROLL_SECONDS * SAMPLE_RATE_HZ)
_MOST_HOPS = 64
SHORTEST_WINDOW_SECONDS = 1.0

_PartSteps = Generator[InferenceRequest, Any, None]
"""Part of a call's steps: its predictions go to the list of the call."""


class StreamRecognizer:
    """Recognize emotion in a stream of samples, one prediction per hop.

    However the stream is cut into calls of `process`, the predictions are the same, bit for
    bit. It never sleeps, starts no thread and knows no device. One stream per recognizer, one
    thread at a time; many recognizers may share one `OnnxClassifier`.

    Parameters
    ----------
    model : str, path, Classifier or None
        None: the shipped default; a name in ``models/``; a path to an ``.onnx`` file; or a
        loaded model to share, such as an `OnnxClassifier`.
    sample_rate_hz : int
        Rate of the samples given to `process`, 8000 to 384000.
    channels : int
        Channels of the samples given to `process`.
    window_seconds : float or None
        Longest audio that one prediction rests on, 1 to 30; None: from the card.
    hop_seconds : float
        From one prediction to the next, a whole multiple of 0.01.
    smoothing_seconds : float or None
        Time constant of the smoothing; None: from the card; 0 turns smoothing and dwell off.
    vad : bool
        False: everything is speech and the window is always the latest ``window_seconds``.
    prior : str, dict or None
        Odds that the labels have before anything is heard. None or "everyday": the card's, for
        talk as it is heard all day; "even": none, as in the figures of acted emotion; or
        {label: odds}, 1 for those that are left out, and where the card has ``ordinary_odds``
        also {"ordinary": odds}.
    uncertain_below : float or None
        Confidence under which the state is "uncertain", 0 to 1; None: from the card.

    Raises
    ------
    SerError
        If an argument is out of range or the model cannot be loaded.

    Examples
    --------
    >>> from ser_live import StreamRecognizer
    >>> recognizer = StreamRecognizer(sample_rate_hz=16000)
    >>> [prediction.state for prediction in recognizer.process(bytes(2 * 8000))]  # int16
    ['silence', 'silence']
    >>> recognizer.flush()
    []
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Classifier | None = None,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
        channels: int = 1,
        window_seconds: float | None = None,
        hop_seconds: float = 0.25,
        smoothing_seconds: float | None = None,
        vad: bool = True,
        prior: PriorChoice = None,
        uncertain_below: float | None = None,
    ) -> None:
        self._channels = require_channels(channels)
        self._resampler = Resampler(sample_rate_hz)
        self._hop_samples = _hop_samples(hop_seconds)
        self._window_seconds = window_seconds
        self._smoothing_seconds = smoothing_seconds
        # A copy: it is asked again when a model is swapped in.
        self._prior_choice = dict(prior) if isinstance(prior, Mapping) else prior
        self._uncertain_below = uncertain_below
        self._hops_per_prediction = 1
        self._index = 0
        self._fed_samples = 0
        self._smoother = Smoother(SmoothingSpec())
        self._configure(_loaded(model))
        self._make_window()
        # A model that is swapped in may have the longest window, where the caller fixed none.
        fixed = None if window_seconds is None else self._window_samples
        self._history = SampleHistory(fixed or round(LONGEST_WINDOW_SECONDS * SAMPLE_RATE_HZ))
        self._gate = SpeechGate(self.card.gate) if vad else None
        self.reset()

    def __repr__(self) -> str:
        return (
            f"StreamRecognizer({self._classifier.where!r}, {self._resampler.sample_rate_hz} Hz, "
            f"{self._channels} ch, window {self._window_samples / SAMPLE_RATE_HZ:g} s, "
            f"hop {self.hop_seconds:g} s, {'with' if self._gate else 'without'} gate)"
        )

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        # Also what copy and deepcopy ask for: copies would share a resampler, or lose it.
        raise SerError(
            f"a StreamRecognizer cannot be copied or pickled; make another one with "
            f"StreamRecognizer({self._classifier.where!r}, ...), or share its classifier"
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the emotions that the model tells apart."""
        return self.card.labels

    @property
    def card(self) -> ModelCard:
        """The card of the model."""
        return self._classifier.card

    @property
    def classifier(self) -> Classifier:
        """The model, to share it with another recognizer."""
        return self._classifier

    @property
    def prior(self) -> dict[str, float]:
        """The odds in force: of labels, and of "ordinary" talk; empty: even."""
        return self._prior.by_name()

    @property
    def uncertain_below(self) -> float:
        """Confidence under which the state is "uncertain"."""
        return self._smoother.spec.uncertain_below

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the samples given to `process`."""
        return self._resampler.sample_rate_hz

    @property
    def channels(self) -> int:
        """Channels of the samples given to `process`."""
        return self._channels

    @property
    def hop_seconds(self) -> float:
        """From one prediction to the next."""
        return self._hop_samples / SAMPLE_RATE_HZ

    @property
    def hops_per_prediction(self) -> int:
        """Hops from one prediction to the next: 1, or more to save energy; may be set at any time.

        The grid stays: with 2, every other prediction is left out, and ``index`` says so.
        """
        return self._hops_per_prediction

    @hops_per_prediction.setter
    def hops_per_prediction(self, hops: int) -> None:
        if not isinstance(hops, int) or not 1 <= hops <= _MOST_HOPS:
            raise SerError(f"hops_per_prediction is {hops!r}, wanted 1 to {_MOST_HOPS}")
        self._hops_per_prediction = hops
        # Hops that went by without a prediction stay without one.
        fed_hops = (self._origin_sample + self._fed_samples) // self._hop_samples
        self._index = max(self._index, fed_hops)

    @property
    def has_failed(self) -> bool:
        """True if a network failed: every call raises until `reset`."""
        return self._failure is not None

    @property
    def next_due_seconds(self) -> float:
        """Length of input after which `process` will return the next prediction, nearly."""
        return self._due_sample() / SAMPLE_RATE_HZ + self._resampler.held_seconds

    @property
    def stats(self) -> RecognizerStats:
        """Counters and latency quantiles up to now."""
        return RecognizerStats(
            predictions=self._predictions,
            samples_in=self._samples_in,
            seconds=self._earlier_seconds + self._format_samples / self._resampler.sample_rate_hz,
            clipped_samples=self._clipped_samples,
            stages=self._clock.summaries(),
            delay=AlgorithmicDelay(
                resampler_seconds=self._resampler.held_seconds,
                window_seconds=self._window_samples / SAMPLE_RATE_HZ / 2.0,
                smoothing_seconds=self._smoother.spec.seconds,
            ),
        )

    def reset(self) -> None:
        """Clear the stream: as new, with the same configuration."""
        self._index = 0
        self._restart(0)
        self._previous: Prediction | None = None
        self._flushed = False
        self._failure: str | None = None
        self._predictions = 0
        self._samples_in = 0
        self._clipped_samples = 0
        self._earlier_seconds = 0.0  # given in earlier formats
        self._format_samples = 0  # samples in this format: given, skipped, and where they begin
        self._format_skipped = 0
        self._format_origin = 0
        self._clock = StageClock()

    def process(self, samples: ArrayLike) -> list[Prediction]:
        """Take the next samples and return the predictions that became due.

        Parameters
        ----------
        samples : array_like, shape (n,) or (n, channels), int16, float32 or float64
            Floats in [-1, 1]; any ``n >= 0``. Or bytes, bytearray or memoryview: interleaved
            int16, the lower byte first, whole frames. Nothing of it is kept.

        Returns
        -------
        list of Prediction
            One per hop that these samples complete, so none, one or many.

        Raises
        ------
        SerError
            For a wrong shape or dtype, NaN or infinity (before anything changes), after `flush`,
            or if a network fails. Predictions that were finished before a failure are returned
            first, and the next call raises. From then on every call raises until `reset`.
        """
        return run(self.process_steps(samples))

    def process_steps(self, samples: ArrayLike) -> Steps:
        """Do what `process` does, for a caller who runs the requests of many streams together.

        Returns
        -------
        generator
            Yields inference requests, is sent their results (`ser_live.engine.inference`), and
            returns the predictions. It must run to its end before any other call.
        """
        self._check_usable("process")
        block = checked_block(samples, self._channels)
        mono = to_mono(block, self._channels)
        self._samples_in += mono.size
        self._format_samples += mono.size
        self._clipped_samples += clipped_frames(block)  # a mean of channels hides it
        with self._clock.stage("resample"):
            resampled = self._resampler.process(mono)
        return (yield from self._finishing(self._advance(resampled)))

    def leave_out_wait(self, seconds: float) -> None:
        """Count seconds that the latest request only waited for its turn as ``queue``.

        For a caller who runs requests of many streams: no stage's time contains them.
        """
        self._clock.wait(seconds)

    def flush(self) -> list[Prediction]:
        """End the stream: drain the resampler and return what is left.

        Returns
        -------
        list of Prediction
            What became due, and at most one more for the unfinished hop, if there are at least
            ``card.window.closing_seconds`` of speech. Empty when called again.

        Raises
        ------
        SerError
            If a network fails, now or in an earlier call. A prediction that the drained rest had
            finished before is lost then: after a flush no next call would tell of the failure.
        """
        return run(self.flush_steps())

    def flush_steps(self) -> Steps:
        """Do what `flush` does, as `process_steps` does it."""
        if self._flushed and self._failure is None:
            return []
        self._check_usable("flush")
        self._flushed = True
        return (yield from self._finishing(self._close()))

    def skip(
        self, samples: int, sample_rate_hz: int | None = None, channels: int | None = None
    ) -> list[Prediction]:
        """Step over missing audio: the clock goes on, everything else begins afresh.

        The audio before the gap is finished as `flush` would; after it a new window begins, so
        that none ever spans it. Hops inside the gap have no prediction: ``index`` jumps.

        Parameters
        ----------
        samples : int
            Length of the gap, in samples at the rate up to now.
        sample_rate_hz, channels : int or None
            Format of the samples given to `process` from now on, where a device came back in
            another one; None: as before.

        Returns
        -------
        list of Prediction
            What became due before the gap.

        Raises
        ------
        SerError
            For a negative length, a format that cannot be, after `flush`, or if a network fails,
            as in `process`.
        """
        return run(self.skip_steps(samples, sample_rate_hz, channels))

    def skip_steps(
        self, samples: int, sample_rate_hz: int | None = None, channels: int | None = None
    ) -> Steps:
        """Do what `skip` does, as `process_steps` does it."""
        if not isinstance(samples, int | np.integer) or samples < 0:
            raise SerError(f"skip() was given {samples!r}, wanted a whole number of samples >= 0")
        self._check_usable("skip")
        before = (self.sample_rate_hz, self.channels)
        after = (sample_rate_hz or before[0], channels or before[1])
        if samples == 0 and after == before:
            return []
        resampler, next_channels = Resampler(after[0]), require_channels(after[1])
        self._format_skipped += int(samples)
        passed = (self._format_samples + self._format_skipped) * SAMPLE_RATE_HZ / before[0]
        target = self._format_origin + round(passed)
        predictions = yield from self._finishing(self._close(target))
        if self._failure is not None:
            return predictions
        # A resampler that rounds up must not make the clock go back.
        self._restart(max(target, self._origin_sample + self._fed_samples))
        if after != before:
            self._earlier_seconds += self._format_samples / before[0]
            self._format_samples = self._format_skipped = 0
            self._format_origin = target
            self._resampler, self._channels = resampler, next_channels
        return predictions

    def end_stretch(self) -> list[Prediction]:
        """Finish what was heard before a gap whose length is not known yet; `skip` tells it later.

        Returns
        -------
        list of Prediction
            As `flush` would. A hop that has its prediction here has no other one, also where the
            gap turns out to end inside it.

        Raises
        ------
        SerError
            After `flush`, or if a network fails, as in `process`.
        """
        self._check_usable("end_stretch")
        predictions = run(self._finishing(self._close()))
        if self._failure is None:
            self._restart(self._origin_sample + self._fed_samples)
        return predictions

    def swap(self, model: str | os.PathLike[str] | Classifier | None) -> None:
        """Go on with another model, from the next prediction.

        No sample is lost: the new model gets the present window as if it had been there from its
        start. The smoothing goes on where the labels are the same, else it begins anew; the
        speech gate keeps its values until the recognizer is made again. The constructor's options
        hold for the new model too; what they leave to the card comes from its card.

        Parameters
        ----------
        model : str, path, Classifier or None
            As in the constructor.

        Raises
        ------
        SerError
            If it cannot be loaded, or lacks a label of the prior; the old one then goes on.
        """
        old_card, old_window_samples = self.card, self._window_samples
        self._configure(_loaded(model))
        if self.labels != old_card.labels:  # else the distribution goes on
            self._smoother.reset()
        if (self.card.spectrum, self._window_samples) != (old_card.spectrum, old_window_samples):
            self._make_window()
            self._refill_window()

    def _configure(self, classifier: Classifier) -> None:
        card = classifier.card
        prior = prior_of(self._prior_choice, card)
        self._window_samples = _window_samples(self._window_seconds, card)
        self._prior = prior
        self._smoother.spec = _smoothing(self._smoothing_seconds, self._uncertain_below, card)
        self._warm_up_samples = round(card.window.warm_up_seconds * SAMPLE_RATE_HZ)
        self._closing_samples = round(card.window.closing_seconds * SAMPLE_RATE_HZ)
        self._pre_roll_samples = round(card.window.pre_roll_seconds * SAMPLE_RATE_HZ)
        self._classifier = classifier

    def _make_window(self) -> None:
        self._spectrum = PowerSpectrum(self.card.spectrum)
        self._window = FrameWindow(self.card.spectrum, self._window_samples)

    def _refill_window(self) -> None:
        """Fill the new spectrum and window with the latest samples, on their own grid."""
        spec = self.card.spectrum
        recent = self._history.latest()
        start = self._fed_samples - recent.size
        # Frames lie at multiples of the hop from the start of the stream, for this model too.
        first_frame = -(-start // spec.hop_samples)
        self._window.reset(first_frame)
        frames = self._spectrum.process(recent[first_frame * spec.hop_samples - start :])
        self._window.process(frames)

    def _check_usable(self, verb: str) -> None:
        if self._failure is not None:
            raise SerError(f"{self._failure}; {verb}() can go on only after reset()")
        if self._flushed:
            raise SerError(f"{verb}() after flush(): the stream has ended; call reset() first")

    def _finishing(self, steps: _PartSteps) -> Steps:
        """Run steps and return the predictions that they finish, also where a network fails."""
        self._finished: list[Prediction] = []
        try:
            yield from steps
        except BaseException as error:
            # Its samples are gone, so what came after would stand at a wrong time.
            is_known = isinstance(error, SerError)
            self._failure = str(error) if is_known else f"stopped by {type(error).__name__}"
            # After a flush there may be no next call that would tell of it.
            if not is_known or self._flushed or not self._finished:
                raise
        return self._finished

    def _restart(self, origin_sample: int) -> None:
        """Begin at a sample of the 16 kHz clock, with nothing before it."""
        self._resampler.reset()
        if self._gate is not None:
            self._gate.reset()
        self._history.reset()
        self._spectrum.reset()
        self._window.reset()
        self._smoother.reset()
        self._voice = GateStep(0, 0.0, is_speech=self._gate is None, onset_sample=0, utterance=0)
        self._origin_sample = origin_sample
        self._fed_samples = 0
        self._index = max(self._index, origin_sample // self._hop_samples)

    def _close(self, gap_end_sample: int | None = None) -> _PartSteps:
        """Drain the resampler, and predict the unfinished hop unless it ends after the gap."""
        rest = self._resampler.process(np.empty(0, np.float32), last=True)
        yield from self._advance(rest)
        yield from self._run_gate()
        is_hop_over = gap_end_sample is None or gap_end_sample >= self._due_sample()
        if is_hop_over and self._is_closing_due():
            yield from self._predict(closing=True)

    def _advance(self, samples: NDArray[np.float32]) -> _PartSteps:
        while samples.size >= (missing := self._missing_samples()):
            self._feed(samples[:missing])
            # The gate decides at points of the grid only: its network's bits depend on the number
            # of steps in a run, which must not depend on how the stream is cut.
            yield from self._run_gate()
            samples = samples[missing:]
            yield from self._predict()
        self._feed(samples)

    def _missing_samples(self) -> int:
        """Return the number of samples from here to the next prediction."""
        return self._due_sample() - self._origin_sample - self._fed_samples

    def _due_sample(self) -> int:
        """Return the sample of the 16 kHz clock at which the next prediction is due."""
        hops = self._index + 1
        return -(-hops // self._hops_per_prediction) * self._hops_per_prediction * self._hop_samples

    def _feed(self, samples: NDArray[np.float32]) -> None:
        self._fed_samples += samples.size
        self._history.process(samples)
        if self._gate is not None:
            with self._clock.stage("gate"):
                self._gate.process(samples)
        with self._clock.stage("spectrum"):
            self._window.process(self._spectrum.process(samples))

    def _run_gate(self) -> _PartSteps:
        """Let the gate decide all its complete steps; a new utterance starts afresh."""
        if self._gate is None:
            return
        with self._clock.stage("gate"):
            while self._gate.is_waiting:
                request = self._gate.request()
                result = None if request is None else (yield request)
                for step in self._gate.apply(result):
                    if step.utterance != self._voice.utterance:
                        self._smoother.reset()
                    self._voice = step
            # No window of any model begins earlier than its pre-roll before the onset.
            self._history.forget_before(self._gate.earliest_onset_sample - _PRE_ROLL_SAMPLES)

    def _is_closing_due(self) -> bool:
        """Tell whether the unfinished hop holds enough speech for a prediction of its own."""
        speech_samples = self._fed_samples - self._voice.onset_sample
        if not self._voice.is_speech or speech_samples < self._closing_samples:
            return False
        # A hop that ended just now has its prediction, if only "warming_up" for a short utterance.
        unfinished = self._origin_sample + self._fed_samples > self._index * self._hop_samples
        return unfinished or speech_samples < self._warm_up_samples

    def _predict(self, *, closing: bool = False) -> _PartSteps:
        voice, end = self._voice, self._fed_samples
        if not voice.is_speech:
            return self._emit("silence", max(0, end - self._hop_samples))
        start = max(0, voice.onset_sample - self._pre_roll_samples, end - self._window_samples)
        frames = self._window.latest(start, end)
        warm = end - voice.onset_sample >= self._warm_up_samples
        if len(frames) == 0 or not (warm or closing):
            return self._emit("warming_up", start)
        with self._clock.stage("inference"):
            outputs = yield WindowRequest(self._classifier, frames)
        with self._clock.stage("smoothing"):
            raw = join_prior(outputs, self.labels, self._prior)
            smoothed = self._smoother.process(raw, end)
        unsure = smoothed.confidence < self._smoother.spec.uncertain_below
        self._emit("uncertain" if unsure else "speech", start, smoothed, raw)

    def _emit(
        self,
        state: State,
        start_sample: int,
        smoothed: Smoothed | None = None,
        raw: NDArray[np.float32] | None = None,
    ) -> None:
        before = self._previous
        end_sample = self._origin_sample + self._fed_samples
        # A closing prediction ends inside its hop, and carries the number of that hop.
        index = max(self._index, -(-end_sample // self._hop_samples) - 1)
        label = None if smoothed is None else self.labels[smoothed.label_index]
        prediction = Prediction(
            index=index,
            start_seconds=(self._origin_sample + start_sample) / SAMPLE_RATE_HZ,
            end_seconds=end_sample / SAMPLE_RATE_HZ,
            state=state,
            label=label,
            confidence=0.0 if smoothed is None else smoothed.confidence,
            probabilities=None if smoothed is None else self._named(smoothed.probabilities),
            raw_probabilities=None if raw is None else self._named(raw),
            changed=before is None or (before.state, before.label) != (state, label),
            timing=self._clock.close(),
        )
        self._previous = prediction
        self._predictions += 1
        self._index = index + 1
        self._finished.append(prediction)

    def _named(self, probabilities: NDArray[np.floating]) -> dict[str, float]:
        return dict(zip(self.labels, probabilities.tolist(), strict=True))


def _loaded(model: str | os.PathLike[str] | Classifier | None) -> Classifier:
    if model is None or isinstance(model, str | os.PathLike):
        return load_shared(find_model(model))
    if not hasattr(model, "batch_probabilities"):
        raise SerError(f"model is {quoted(model)}, wanted a name, a path or a loaded model")
    return model


def _hop_samples(hop_seconds: float) -> int:
    samples = _GRID_SAMPLES * round(hop_seconds * 100) if _is_time(hop_seconds) else 0
    if samples == 0 or abs(samples - hop_seconds * SAMPLE_RATE_HZ) >= 1e-6:
        raise SerError(
            f"hop_seconds is {hop_seconds!r}, wanted a whole multiple of 0.01 from "
            f"{SHORTEST_HOP_SECONDS:g} to {LONGEST_WINDOW_SECONDS:g}"
        )
    return samples


def _window_samples(window_seconds: float | None, card: ModelCard) -> int:
    seconds = card.window.seconds if window_seconds is None else window_seconds
    shortest = max(SHORTEST_WINDOW_SECONDS, card.window.warm_up_seconds)
    if not _is_time(seconds) or seconds < shortest:
        raise SerError(
            f"window_seconds is {window_seconds!r}, wanted {shortest:g} to "
            f"{LONGEST_WINDOW_SECONDS:g}"
        )
    return round(seconds * SAMPLE_RATE_HZ)


def _smoothing(
    smoothing_seconds: float | None, uncertain_below: float | None, card: ModelCard
) -> SmoothingSpec:
    spec = card.smoothing
    seconds = spec.seconds if smoothing_seconds is None else smoothing_seconds
    # A card's own time constant may be longer than that of a caller.
    if smoothing_seconds is not None and seconds != 0 and not _is_time(seconds):
        raise SerError(
            f"smoothing_seconds is {smoothing_seconds!r}, wanted 0 to {LONGEST_WINDOW_SECONDS:g}"
        )
    below = spec.uncertain_below if uncertain_below is None else uncertain_below
    if not isinstance(below, int | float) or not 0.0 <= below <= 1.0:
        raise SerError(f"uncertain_below is {quoted(below)}, wanted 0 to 1, or None: the card's")
    return dataclasses.replace(spec, seconds=float(seconds), uncertain_below=float(below))


def _is_time(seconds: float) -> bool:
    return isinstance(seconds, int | float) and 0 < seconds <= LONGEST_WINDOW_SECONDS
