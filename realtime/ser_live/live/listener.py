"""Live loop: blocks of a source in, predictions and events out, with their true delays."""

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypedDict, TypeVar, Unpack, cast, overload

import numpy as np
from numpy.typing import NDArray

from ser_live.engine.channels import Recognizer, UseChannels, is_mix, recognizer_of
from ser_live.engine.recognizer import StreamRecognizer
from ser_live.engine.resample import FULL_SCALE, as_float
from ser_live.engine.utterances import Utterance, UtteranceChoice, tracker_of
from ser_live.errors import SerError
from ser_live.events import Event, EventKind, in_order
from ser_live.latency import LatencyHistogram, RecognizerStats, StageLatency
from ser_live.live.backpressure import Backpressure, HopController, Policy
from ser_live.live.input_faults import Gaps, InputMonitor
from ser_live.model.classifier import Classifier
from ser_live.model.prior import PriorChoice
from ser_live.prediction import Prediction
from ser_live.sources.blocks import AudioBlock, BlockSource
from ser_live.sources.contract import Block, Expectant, Notice, Source, SourceCounters
from ser_live.sources.devices import silence_hint
from ser_live.sources.files import FileSource
from ser_live.sources.microphone import Microphone
from ser_live.text import quoted

Audio = Source | str | os.PathLike[str] | AudioBlock | Iterable[AudioBlock] | None
"""A source, or what one is made of: a path, samples, an iterator of blocks; None: microphone."""
Item = TypeVar("Item", bound=Prediction | Event | Utterance)

_SHORT_GAP_SECONDS = 0.1
_MOST_BUDGET = 64.0
# Its properties may need the open device or file, so they say nothing yet.
_SOURCE_METHODS = ("__enter__", "__exit__", "__iter__", "skip_to_newest", "close")


class ListenOptions(TypedDict, total=False):
    """Options of `listen` and `alisten` beside the source; the defaults are in `listen`."""

    recognizer: StreamRecognizer | None
    model: str | os.PathLike[str] | Classifier | None
    window_seconds: float | None
    hop_seconds: float
    smoothing_seconds: float | None
    vad: bool
    prior: PriorChoice
    uncertain_below: float | None
    use_channels: UseChannels
    policy: Policy | None
    cpu_budget: float | None
    clock: Callable[[], float]
    sample_rate_hz: int | None


@dataclass(frozen=True, slots=True)
class LiveStep:
    """Predictions, events and level of one block of the source."""

    items: tuple[Prediction | Event | Utterance, ...]
    """Predictions that became due and events, in the order of the stream: none, one or many; an
    utterance comes after the prediction that ends it."""
    peak: float
    """Largest absolute sample; 1 is full scale."""
    rms: float
    """Root of the mean square of all samples."""
    seconds: float
    """Length of the stream up to here."""

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The predictions among the items."""
        return tuple(item for item in self.items if isinstance(item, Prediction))

    @property
    def events(self) -> tuple[Event, ...]:
        """The events among the items."""
        return tuple(item for item in self.items if isinstance(item, Event))

    @property
    def is_clipping(self) -> bool:
        """Samples reach full scale."""
        return self.peak >= FULL_SCALE


@dataclass(frozen=True, slots=True)
class LiveStats:
    """Counters and latencies of a live loop up to now."""

    recognizer: RecognizerStats
    source: SourceCounters
    stages: tuple[StageLatency, ...]
    """queue (capture to the loop), the recognizer's stages and total, lag (capture to
    prediction); queue and lag are counted where the source knows capture times."""
    replaced_samples: int
    """NaN or infinite samples that became zero."""
    degraded: int
    """Predictions with a gap, an overrun or replaced samples in their window."""
    skipped_predictions: int
    """Predictions that were too old when their turn came, and were left out (policy latest)."""
    missing_seconds: float
    """Length of all gaps on the timeline."""


class Listener(Generic[Item]):
    """Predictions of a source, as they come: an iterator and a context manager.

    The source is opened on entering, or with the first prediction; capture starts with the
    iteration; leaving, the end of the source and any error close it. Made by `listen`, where
    the parameters are explained.
    """

    recognizer: Recognizer

    def __init__(
        self,
        source: Audio,
        recognizer: StreamRecognizer | None = None,
        model: str | os.PathLike[str] | Classifier | None = None,
        window_seconds: float | None = None,
        hop_seconds: float = 0.25,
        smoothing_seconds: float | None = None,
        vad: bool = True,
        prior: PriorChoice = None,
        uncertain_below: float | None = None,
        use_channels: UseChannels = "mix",
        events: bool = False,
        utterances: UtteranceChoice = False,
        policy: Policy | None = None,
        cpu_budget: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sample_rate_hz: int | None = None,
    ) -> None:
        is_share = isinstance(cpu_budget, int | float) and 0.0 < cpu_budget <= _MOST_BUDGET
        if cpu_budget is not None and not is_share:
            raise SerError(f"cpu_budget is {quoted(cpu_budget)}, wanted a share of a core, as 0.1")
        if recognizer is not None and not hasattr(recognizer, "process"):
            raise SerError(f"recognizer is {quoted(recognizer)}, wanted a StreamRecognizer or None")
        if not is_mix(use_channels) and recognizer is not None:
            raise SerError(f"use_channels is {quoted(use_channels)}, wanted no recognizer with it")
        self.source = source = _source_of(source, sample_rate_hz)
        self._use_channels = use_channels
        self._expectant = source if isinstance(source, Expectant) else None
        self._backpressure = Backpressure(source, policy)
        self._given = recognizer
        self._made = partial(
            StreamRecognizer,
            model=model,
            window_seconds=window_seconds,
            hop_seconds=hop_seconds,
            smoothing_seconds=smoothing_seconds,
            vad=vad,
            prior=prior,
            uncertain_below=uncertain_below,
        )
        self._clock = clock
        self._hop_controller = HopController(cpu_budget) if cpu_budget else None
        self._is_open = False
        self._is_closed = threading.Event()
        self._utterances = tracker_of(utterances)
        wanted = (Prediction, Event if events else Prediction, Utterance)
        self._items = cast(
            Iterator[Item],
            (item for step in self.steps() for item in step.items if isinstance(item, wanted)),
        )
        self._frames = 0
        self._waiting: list[NDArray[Any]] = []
        self._end_captured_at: float | None = None
        self._gaps = Gaps()
        self._finished: list[Prediction] = []
        self._happened: list[Event] = []
        self._monitor = InputMonitor(1, 1)
        self._missing_seconds = 0.0
        self._queue = LatencyHistogram()
        self._lag = LatencyHistogram()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        return next(self._items)

    @property
    def policy(self) -> Policy:
        """Policy for predictions that are not taken in time."""
        return self._backpressure.policy

    @property
    def stats(self) -> LiveStats:
        """Counters and latency quantiles up to now; SerError before it is open."""
        if not hasattr(self, "recognizer"):
            raise SerError("stats before the source is open; enter the listener or open() it first")
        recognizer = self.recognizer.stats
        source = self.source.counters
        capture = () if source.callback is None else (source.callback,)
        return LiveStats(
            recognizer=recognizer,
            source=source,
            stages=(
                *capture,
                self._queue.summary("queue"),
                *recognizer.stages,
                self._lag.summary("lag"),
            ),
            replaced_samples=self._gaps.replaced_samples,
            degraded=self._gaps.degraded_predictions,
            skipped_predictions=self._backpressure.skipped_predictions,
            missing_seconds=self._missing_seconds,
        )

    def steps(self) -> Iterator[LiveStep]:
        """Iterate block by block, for callers that want the level too; one more at the end."""
        self.open()
        try:
            for item in self.source:
                if isinstance(item, Notice):
                    self._heed(item)
                    yield self._step(_NO_SAMPLES)
                else:
                    yield self._step(self._take(item))
            self._process()
            # A session that was broken off said nothing of its unfinished hop; nor does its replay.
            is_over = not getattr(self.source, "is_broken_off", False)
            if is_over:
                self._finished += self.recognizer.flush()
            self._happened += self._monitor.flush()
            yield self._step(_NO_SAMPLES, is_last=is_over)
        except SerError:
            # A step takes several calls of the recognizer: if a network fails in one of them, what
            # those before it finished is handed out first.
            if self._finished:
                yield self._step(_NO_SAMPLES)
            raise
        finally:
            self.close()

    def swap(self, model: str | os.PathLike[str] | Classifier | None) -> None:
        """Go on with another model from the next prediction; see `StreamRecognizer.swap`.

        Called where predictions are taken, not from another thread.
        """
        self.open()
        before = self.recognizer.card.name
        self.recognizer.swap(model)
        self._happen("model_swapped", f"{self.recognizer.card.name} instead of {before}")

    def open(self) -> None:
        """Open the source and load the model; nothing happens if that was done before."""
        if self._is_open:
            return
        self.source.__enter__()
        self._is_open = True
        try:
            if self._is_closed.is_set():
                raise SerError(f"{self.source.name}: closed while it was opened; make a new one")
            # Only now is it known what the device or the file gives.
            rate_hz, channels = self.source.sample_rate_hz, self.source.channels
            made = partial(self._made, sample_rate_hz=rate_hz)
            self.recognizer = self._given or recognizer_of(self._use_channels, channels, made)
            self._check_format()
            self.recognizer.reset()
            if self._hop_controller is not None:
                self.recognizer.hops_per_prediction = self._hop_controller.hops_per_prediction
            self._monitor = self._new_monitor()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop capturing and close the source, from any thread; nothing more comes."""
        self._is_closed.set()
        if self._is_open:
            self.source.__exit__(None, None, None)
        else:
            self.source.close()  # another thread may be opening it, which this ends

    def _take(self, block: Block) -> NDArray[Any]:
        """Take a block, and return its samples with zeros for what is no number."""
        self._note_capture(block)
        self._backpressure.require_no_loss()
        if self._has_other_format or block.missing_frames:
            self._cross(block.missing_frames)
        elif block.overruns:
            self._gaps.add(self._seconds, self._seconds)
        samples = self._gaps.fill(block.samples, self._frames, self._rate_hz)
        self._happened += self._monitor.process(samples, self._frames)
        self._frames += len(samples)
        if len(samples):  # an iterator may give empty blocks
            self._waiting.append(samples)
        # Blocks wait for the next point of the grid: the result is the same however the stream
        # is cut, nothing comes later, and one call costs half of what five cost.
        if self._seconds >= self.recognizer.next_due_seconds - 1e-9:
            self._process()
        if self._expectant is not None:
            self._expectant.expect(self.recognizer.next_due_seconds - self._seconds)
        self._finished = self._backpressure.keep(self._finished, self.recognizer.hop_seconds)
        if self._backpressure.notice:
            self._happen("overload", self._backpressure.notice)
        return samples

    def _new_monitor(self) -> InputMonitor:
        return InputMonitor(
            self.source.sample_rate_hz,
            self.source.channels,
            is_recording=not self.source.is_live,
            silence_hint=silence_hint(),
            picked=getattr(self.recognizer, "picked", ()),
        )

    def _heed(self, notice: Notice) -> None:
        """Take a notice; what was heard before a loss does not wait until that has an end."""
        if notice.kind == "device_lost":
            self._process()
            self._finished += self.recognizer.end_stretch()
        self._happen(notice.kind, notice.detail)

    def _note_capture(self, block: Block) -> None:
        self._end_captured_at = None
        if block.end_captured_at is not None:
            now = self._clock()
            self._end_captured_at = min(block.end_captured_at, now)  # may be a little ahead
            self._queue.add(now - self._end_captured_at)

    def _cross(self, missing_frames: int) -> None:
        """Step over missing frames, and into the format of those that come after."""
        rate_hz, channels = self.source.sample_rate_hz, self.source.channels
        start, seconds = self._seconds, missing_frames / rate_hz
        if missing_frames:
            self._missing_seconds += seconds
            if reason := self._backpressure.reason_of_drop():
                self._happen("overload", reason)
            self._happen("gap", f"{seconds:.3f} s are missing")
        # A short gap is filled by zeros, so that the utterance goes on; after a longer one the
        # window begins anew, for what came before may be another utterance.
        if not self._has_other_format and seconds <= _SHORT_GAP_SECONDS:
            self._frames += missing_frames
            self._waiting.append(np.zeros((missing_frames, channels), np.float32))
            self._gaps.add(start, start + seconds)
            return
        self._process()
        missing = round(seconds * self._rate_hz)
        self._finished += self.recognizer.skip(missing, rate_hz, channels)
        if (self._monitor.sample_rate_hz, self._monitor.channels) != (rate_hz, channels):
            self._monitor = self._new_monitor()
        self._frames = round(start * rate_hz) + missing_frames
        self._finished = self._backpressure.keep_before_gap(self._finished, seconds)

    def _process(self) -> None:
        """Give the blocks that wait to the recognizer."""
        if not self._waiting:
            return
        samples = _joined(self._waiting)
        self._waiting.clear()
        audio_seconds = len(samples) / self._rate_hz
        # How far it falls behind is a matter of time; what it costs, of the processor's, whose
        # clock is a call of the system that a long recording would make a hundred thousand times.
        is_counted = self._hop_controller is not None
        started_at, processor_at = self._clock(), time.thread_time() if is_counted else 0.0
        self._finished += self.recognizer.process(samples)
        self._backpressure.work_share = (self._clock() - started_at) / audio_seconds
        if is_counted:
            self._account(time.thread_time() - processor_at, audio_seconds)

    def _account(self, cost_seconds: float, audio_seconds: float) -> None:
        controller = self._hop_controller
        if controller is None or not controller.process(cost_seconds, audio_seconds):
            return
        hops = controller.hops_per_prediction
        self.recognizer.hops_per_prediction = hops
        self._happen(
            "hop_changed",
            f"a prediction every {hops * self.recognizer.hop_seconds:g} s: recognition took "
            f"{100 * controller.share:.1f} % of a core, {100 * controller.budget:g} % are "
            "allowed",
        )

    def _happen(self, kind: EventKind, detail: str) -> None:
        self._happened.append(Event(kind, self._seconds, detail))

    def _step(self, samples: NDArray[Any], *, is_last: bool = False) -> LiveStep:
        """Return what was finished and what happened since the step before."""
        values = as_float(samples).ravel()
        items = in_order(map(self._timed, self._finished), self._happened)
        self._finished, self._happened = [], []
        return LiveStep(
            items=tuple(self._with_utterances(items, is_last)),
            peak=float(np.abs(values).max(initial=0.0)),
            rms=float(np.sqrt(np.dot(values, values) / max(1, values.size))),
            seconds=self._seconds,
        )

    def _with_utterances(
        self, items: Iterable[Prediction | Event], is_last: bool
    ) -> Iterator[Prediction | Event | Utterance]:
        tracker = self._utterances
        if tracker is None:
            yield from items
            return
        tracker.uncertain_below = self.recognizer.uncertain_below  # another model has its own
        for item in items:
            yield item
            if isinstance(item, Prediction):
                yield from tracker.process(item)
            elif item.kind == "device_lost":
                yield from tracker.flush()
        if is_last:
            yield from tracker.flush()

    def _timed(self, prediction: Prediction) -> Prediction:
        lag_seconds = None
        if self._end_captured_at is not None:
            # The block's last sample is known; the prediction may end before or, rounded up by
            # the resampler, after it.
            captured_at = self._end_captured_at - (self._seconds - prediction.end_seconds)
            lag_seconds = max(0.0, self._clock() - captured_at)
            self._lag.add(lag_seconds)
        degraded = self._gaps.degrade(prediction)
        return dataclasses.replace(prediction, lag_seconds=lag_seconds, degraded=degraded)

    def _check_format(self) -> None:
        if self._has_other_format:
            recognizer = self.recognizer
            rate_hz, channels = self.source.sample_rate_hz, self.source.channels
            raise SerError(
                f"the recognizer was made for {recognizer.sample_rate_hz} Hz and "
                f"{recognizer.channels} channels, {self.source.name} gives {rate_hz} Hz and "
                f"{channels}; make it with sample_rate_hz={rate_hz}, channels={channels}"
            )

    @property
    def _has_other_format(self) -> bool:
        made_for = (self.recognizer.sample_rate_hz, self.recognizer.channels)
        return made_for != (self.source.sample_rate_hz, self.source.channels)

    @property
    def _rate_hz(self) -> int:
        return self.recognizer.sample_rate_hz

    @property
    def _seconds(self) -> float:
        return self._frames / self._rate_hz


_NO_SAMPLES = np.zeros((1, 1), np.float32)


def _joined(blocks: list[NDArray[Any]]) -> NDArray[Any]:
    """Join blocks; a short gap may have put floats among integers."""
    if len({block.dtype for block in blocks}) > 1:
        blocks = [as_float(block) for block in blocks]
    return np.concatenate(blocks)


@overload
def listen(
    source: Audio = None,
    *,
    events: Literal[False] = False,
    utterances: Literal[False] = False,
    **options: Unpack[ListenOptions],
) -> Listener[Prediction]: ...


@overload
def listen(
    source: Audio = None,
    *,
    events: bool,
    utterances: Literal[False] = False,
    **options: Unpack[ListenOptions],
) -> Listener[Prediction | Event]: ...


@overload
def listen(
    source: Audio = None,
    *,
    events: bool = False,
    utterances: UtteranceChoice,
    **options: Unpack[ListenOptions],
) -> Listener[Prediction | Event | Utterance]: ...


def listen(
    source: Audio = None,
    *,
    events: bool = False,
    utterances: UtteranceChoice = False,
    **options: Unpack[ListenOptions],
) -> Any:
    """Recognize emotion live: ``with listen() as predictions: for p in predictions: ...``.

    Parameters
    ----------
    source : Source, path, samples, iterator of blocks, or None
        None: the default microphone; a path: an audio file, as fast as possible; an array of
        shape (n,) or (n, channels), int16 or floats; an iterator of such blocks, or of bytes, which
        are int16 of one channel; or any `Source`, such as `PushSource`.
    sample_rate_hz : int or None
        Of samples and blocks, which do not tell it.
    events : bool
        Also yield `Event`: a device lost or back, a gap, an overload ...
    utterances : bool or str
        Also yield an `Utterance` when one is over; "provisional": and what is known of it so far,
        with each prediction.
    recognizer : StreamRecognizer or None
        Made for the source's rate and channels, and reset; model, window_seconds, hop_seconds,
        smoothing_seconds, vad, prior and uncertain_below are then of no use.
    model, window_seconds, hop_seconds, smoothing_seconds, vad, prior, uncertain_below
        As in `StreamRecognizer`.
    use_channels : str or sequence of int
        "mix" (the default): all channels as one stream. "split", "left", "right", or numbers
        from 1 like "1,3" or [1, 3]: each of these channels is a stream of its own, with the
        predictions that a recording of it alone gives; `Prediction.channel` names it.
    policy : str or None
        What to do when predictions are not taken in time. "latest" (None: of live sources):
        those that are more than a second late are left out and counted; if recognition itself
        is too slow, audio is. "block" (None: of others): all are given, while the buffer of a
        live source holds what waits. "error": SerError as soon as audio was lost.
    cpu_budget : float or None
        Share of one core that recognition may take, like 0.1; above it the hop widens, and
        returns later. It counts processor time, to save energy; it makes no prediction faster.
    clock : callable
        Returns the time, in seconds that only grow.

    Returns
    -------
    Listener
        A context-managed iterator over `Prediction` with ``lag_seconds`` and ``degraded`` set, and
        what else was asked for.

    Raises
    ------
    SerError
        At once, if the source or an option is of no use; on entering or at the first prediction,
        if the source or the model cannot be opened.

    Examples
    --------
    >>> import numpy as np
    >>> from ser_live import listen
    >>> with listen("talk.wav") as predictions:
    ...     print(next(predictions).end_seconds)
    0.25
    >>> [item.state for item in listen(np.zeros(8000), sample_rate_hz=16000)]
    ['silence', 'silence']
    """
    return Listener[Prediction | Event | Utterance](
        source, events=events, utterances=utterances, **options
    )


def _source_of(source: Audio, sample_rate_hz: int | None) -> Source:
    """Return the source that a caller means."""
    is_source = all(hasattr(source, name) for name in _SOURCE_METHODS)
    is_path = isinstance(source, str | os.PathLike)
    # An open file would give its lines.
    is_iterable = hasattr(source, "__iter__") and not hasattr(source, "read")
    if is_iterable and not is_source and not is_path:
        return BlockSource(cast("AudioBlock", source), sample_rate_hz)
    if source is not None and not is_source and not is_path:
        hint = "; an asynchronous iterator wants alisten" if hasattr(source, "__aiter__") else ""
        raise SerError(
            f"source is of type {type(source).__name__}, wanted None, the path of an audio file, "
            f"samples, an iterator of blocks or a Source{hint}"
        )
    if sample_rate_hz is not None:
        raise SerError("sample_rate_hz is for samples alone; a microphone, file or Source has its")
    if is_path:
        return FileSource(Path(cast("str", source)))
    return Microphone() if source is None else cast("Source", source)
