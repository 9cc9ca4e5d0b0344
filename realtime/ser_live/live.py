"""The live loop: a source in front, predictions behind, and honest times between."""

import dataclasses
import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ser_live.classifier import OnnxClassifier
from ser_live.errors import SerError
from ser_live.latency import LatencyHistogram, RecognizerStats, StageLatency
from ser_live.prediction import Prediction
from ser_live.recognizer import StreamRecognizer
from ser_live.sources.contract import Block, Source, SourceCounters
from ser_live.sources.files import FileSource
from ser_live.sources.microphone import Microphone

_LONGEST_WINDOW_SECONDS = 30.0
_FULL_SCALE = 1.0 - 2.0**-15


@dataclass(frozen=True, slots=True)
class LiveStep:
    """What one block of the source brought."""

    predictions: tuple[Prediction, ...]
    """Those that became due: none, one or many."""
    peak: float
    """Largest absolute sample; 1 is full scale."""
    rms: float
    """Root of the mean square of all samples."""
    seconds: float
    """Length of the stream up to here."""

    @property
    def is_clipping(self) -> bool:
        """Samples reach full scale."""
        return self.peak >= _FULL_SCALE


@dataclass(frozen=True, slots=True)
class LiveStats:
    """What a live loop has done up to now."""

    recognizer: RecognizerStats
    source: SourceCounters
    stages: tuple[StageLatency, ...]
    """queue (capture to the loop), the recognizer's stages and total, lag (capture to
    prediction); queue and lag are counted where the source knows capture times."""
    replaced_samples: int
    """NaN or infinite samples that became zero."""
    degraded: int
    """Predictions with a gap, an overrun or replaced samples in their window."""


class Listener:
    """Predictions of a source, as they come: an iterator and a context manager.

    The source is opened on entering, or with the first prediction; capture starts with the
    iteration; leaving, the end of the source and any error close it.

    Parameters
    ----------
    source : Source
        Where samples come from.
    recognizer : StreamRecognizer or None
        Made for the source's rate and channels, and reset; None: one is made from the other
        arguments.
    model, window_seconds, hop_seconds, smoothing_seconds, vad
        As in `StreamRecognizer`.
    """

    recognizer: StreamRecognizer

    def __init__(
        self,
        source: Source,
        recognizer: StreamRecognizer | None = None,
        model: str | os.PathLike[str] | OnnxClassifier | None = None,
        window_seconds: float | None = None,
        hop_seconds: float = 0.25,
        smoothing_seconds: float | None = None,
        vad: bool = True,
    ) -> None:
        self.source = source
        self._given = recognizer
        self._model = model
        self._window_seconds = window_seconds
        self._hop_seconds = hop_seconds
        self._smoothing_seconds = smoothing_seconds
        self._vad = vad
        self._is_open = False
        self._predictions: Iterator[Prediction] | None = None
        self._frames = 0
        self._waiting: list[NDArray[Any]] = []
        self._end_captured_at: float | None = None
        self._holes: deque[tuple[float, float]] = deque()
        self._replaced_samples = 0
        self._degraded = 0
        self._queue = LatencyHistogram()
        self._lag = LatencyHistogram()

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Prediction:
        if self._predictions is None:
            self._predictions = (p for step in self.steps() for p in step.predictions)
        return next(self._predictions)

    @property
    def stats(self) -> LiveStats:
        """Counters and latency quantiles up to now; only once it is open."""
        recognizer = self.recognizer.stats
        return LiveStats(
            recognizer=recognizer,
            source=self.source.counters,
            stages=(self._queue.summary("queue"), *recognizer.stages, self._lag.summary("lag")),
            replaced_samples=self._replaced_samples,
            degraded=self._degraded,
        )

    def steps(self) -> Iterator[LiveStep]:
        """Iterate block by block, for who also wants the level; give one step at the end."""
        self._open()
        try:
            for block in self.source:
                if isinstance(block, Block):
                    yield self._hear(block)
            predictions = self._process() + self.recognizer.flush()
            yield self._step(predictions, np.zeros(1, np.float32))
        finally:
            self.close()

    def close(self) -> None:
        """Stop capturing and let go of the source; nothing more comes."""
        if self._is_open:
            self.source.__exit__(None, None, None)

    def _open(self) -> None:
        if self._is_open:
            return
        source = self.source.__enter__()
        self._is_open = True
        try:
            self.recognizer = self._given or StreamRecognizer(
                model=self._model,
                sample_rate_hz=source.sample_rate_hz,
                channels=source.channels,
                window_seconds=self._window_seconds,
                hop_seconds=self._hop_seconds,
                smoothing_seconds=self._smoothing_seconds,
                vad=self._vad,
            )
            self._check_format(self.recognizer)
            self.recognizer.reset()
        except BaseException:
            self.close()
            raise

    def _hear(self, block: Block) -> LiveStep:
        self._end_captured_at = block.end_captured_at
        if block.end_captured_at is not None:
            self._queue.add(time.monotonic() - block.end_captured_at)
        start = self._seconds
        samples = self._finite(block.samples)
        self._frames += len(samples)
        if block.missing_frames or block.overruns:
            self._holes.append((start, start))
        self._waiting.append(samples)
        # Blocks wait for the next point of the grid: the result is the same however the stream
        # is cut, nothing comes later, and one call costs half of what five cost.
        is_due = self._seconds >= self.recognizer.next_due_seconds - 1e-9
        return self._step(self._process() if is_due else [], samples)

    def _process(self) -> list[Prediction]:
        if not self._waiting:
            return []
        predictions = self.recognizer.process(np.concatenate(self._waiting))
        self._waiting.clear()
        return predictions

    def _finite(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Replace NaN and infinity by zero, in a copy, and remember where they were."""
        if samples.dtype == np.int16 or (finite := np.isfinite(samples)).all():
            return samples
        self._replaced_samples += int(samples.size - np.count_nonzero(finite))
        bad = self._frames + np.flatnonzero(~finite.all(axis=1))
        self._holes.append((bad[0] / self._rate_hz, (bad[-1] + 1) / self._rate_hz))
        return np.where(finite, samples, samples.dtype.type(0))

    def _step(self, predictions: list[Prediction], samples: NDArray[Any]) -> LiveStep:
        full_scale = 32768.0 if samples.dtype == np.int16 else 1.0
        loud = samples.astype(np.float32).ravel()
        return LiveStep(
            predictions=tuple(map(self._timed, predictions)),
            peak=float(np.abs(loud).max(initial=0.0)) / full_scale,
            rms=float(np.sqrt(np.dot(loud, loud) / max(1, loud.size))) / full_scale,
            seconds=self._seconds,
        )

    def _timed(self, prediction: Prediction) -> Prediction:
        lag_seconds = None
        if self._end_captured_at is not None:
            captured_at = self._end_captured_at - (self._seconds - prediction.end_seconds)
            lag_seconds = time.monotonic() - captured_at
            self._lag.add(lag_seconds)
        degraded = self._has_hole(prediction)
        self._degraded += degraded
        return dataclasses.replace(prediction, lag_seconds=lag_seconds, degraded=degraded)

    def _has_hole(self, prediction: Prediction) -> bool:
        while self._holes and self._holes[0][1] < prediction.end_seconds - _LONGEST_WINDOW_SECONDS:
            self._holes.popleft()
        start, end = prediction.start_seconds, prediction.end_seconds
        return any(start < hole[1] and hole[0] < end for hole in self._holes)

    def _check_format(self, recognizer: StreamRecognizer) -> None:
        made_for = (recognizer.sample_rate_hz, recognizer.channels)
        given = (self.source.sample_rate_hz, self.source.channels)
        if made_for != given:
            raise SerError(
                f"the recognizer was made for {made_for[0]} Hz and {made_for[1]} channels, "
                f"{self.source.name} gives {given[0]} Hz and {given[1]}; make it with "
                f"sample_rate_hz={given[0]}, channels={given[1]}"
            )

    @property
    def _rate_hz(self) -> int:
        return self.source.sample_rate_hz

    @property
    def _seconds(self) -> float:
        return self._frames / self._rate_hz


def listen(
    source: Source | str | os.PathLike[str] | None = None,
    *,
    recognizer: StreamRecognizer | None = None,
    model: str | os.PathLike[str] | OnnxClassifier | None = None,
    window_seconds: float | None = None,
    hop_seconds: float = 0.25,
    smoothing_seconds: float | None = None,
    vad: bool = True,
) -> Listener:
    """Recognize emotion live: ``with listen() as predictions: for p in predictions: ...``.

    Parameters
    ----------
    source : Source, path or None
        None: the default microphone; a path: an audio file, as fast as possible; or any
        `Source`.
    recognizer : StreamRecognizer or None
        Made for the source's rate and channels, and reset; the other arguments are then of no
        use.
    model, window_seconds, hop_seconds, smoothing_seconds, vad
        As in `StreamRecognizer`.

    Returns
    -------
    Listener
        A context-managed iterator over `Prediction` with ``lag_seconds`` and ``degraded`` set.

    Raises
    ------
    SerError
        On entering or at the first prediction, if the source or the model cannot be used.
    """
    opened: Source
    if source is None:
        opened = Microphone()
    elif isinstance(source, str | os.PathLike):
        opened = FileSource(Path(source))
    else:
        opened = source
    return Listener(opened, recognizer, model, window_seconds, hop_seconds, smoothing_seconds, vad)
