"""Recognition of one stream or recording: samples in, pieces for the engine, messages out."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.engine.channels import picked_channels, recognizer_of
from ser_live.engine.recognizer import StreamRecognizer
from ser_live.engine.resample import check_values
from ser_live.engine.segments import Segmenter
from ser_live.engine.utterances import Utterance, tracker_of
from ser_live.errors import SerError
from ser_live.events import Event, EventKind, in_order
from ser_live.live.input_faults import Gaps, InputMonitor
from ser_live.model.classifier import OnnxClassifier
from ser_live.model.prior import prior_name
from ser_live.output import json_record
from ser_live.prediction import Prediction
from ser_live.server.engine import Engine
from ser_live.server.messages import Message, MessageError, SessionOptions, StreamLimits
from ser_live.server.settings import Limits
from ser_live.sources.pcm import decode_samples
from ser_live.stream_protocol import SAMPLE_BYTES, SampleFormat
from ser_live.text import quoted

# A piece holds the engine no longer than that, whatever one stream sends at once.
_PIECE_SECONDS = 1.0
_PIECE_VALUES = 1 << 18
_PIECE_PREDICTIONS = 32
_MOST_BLOCKS = 256
_MOST_APART = 8
# A lag needs no finer times, and a flood of tiny blocks leaves few receipts.
_MOMENT_SECONDS = 0.001


class RecognitionSession:
    """Way from a client's samples to messages; however they are cut, the messages are the same.

    Parameters
    ----------
    engine : Engine
        Where the samples are recognized.
    classifier : OnnxClassifier
        Model that the client asks for.
    options : SessionOptions
        Of the recognizer, and the labels whose probabilities are sent.
    sample_rate_hz, channels : int
        Of the samples.
    most_predictions : int
        Most predictions that one piece may give.
    is_recording : bool
        The samples are a recording, not a microphone at the other end.

    Raises
    ------
    SerError
        If an option makes no sense, or the model has no such label.
    """

    def __init__(
        self,
        engine: Engine,
        classifier: OnnxClassifier,
        options: SessionOptions,
        sample_rate_hz: int,
        channels: int,
        most_predictions: int = 256,
        *,
        is_recording: bool = False,
    ) -> None:
        make = partial(
            StreamRecognizer,
            classifier,
            sample_rate_hz=sample_rate_hz,
            window_seconds=options.window_seconds,
            hop_seconds=options.hop_seconds,
            smoothing_seconds=options.smoothing_seconds,
            vad=options.vad,
            prior=options.prior,
        )
        picked = picked_channels(options.use_channels, channels)
        if len(picked) > _MOST_APART:  # each takes as much as a stream
            raise SerError(
                f"use_channels takes {len(picked)} channels apart, wanted {_MOST_APART} at most; "
                "send the others over other connections"
            )
        recognizer = recognizer_of(options.use_channels, channels, make)
        unknown = [label for label in options.labels or () if label not in recognizer.labels]
        if unknown:
            known = ", ".join(recognizer.labels)
            raise SerError(f"labels holds {quoted(unknown[0])}; the model knows {known}")
        self._engine = engine
        self.recognizer = recognizer
        self.is_patient = is_recording
        """Live streams go first; may be set between two pieces."""
        self.received_samples = 0  # all of them per channel
        self.processed_samples = 0
        self.skipped_samples = 0
        self.predictions = 0
        self._labels, self._prior = options.labels, options.prior
        self._rate_hz = sample_rate_hz
        # Messages of one piece are held until they are read: no more than may be unsent.
        most_predictions = min(most_predictions, _PIECE_PREDICTIONS)
        most_hops = max(1, most_predictions // max(1, len(picked)))
        piece_seconds = min(_PIECE_SECONDS, most_hops * recognizer.hop_seconds)
        by_size = _PIECE_VALUES // recognizer.channels
        self._piece_samples = max(1, min(int(piece_seconds * self._rate_hz), by_size))
        self._waiting: list[NDArray[Any]] = []
        self._waiting_samples = 0
        self._receipts: deque[tuple[int, float]] = deque()  # end sample and time of blocks
        self._events: list[Event] = []
        self._gaps = Gaps()
        self._segmenter = Segmenter()
        self._utterances = tracker_of(options.utterances)
        if self._utterances is not None:
            self._utterances.uncertain_below = recognizer.uncertain_below
        self._monitor = InputMonitor(
            sample_rate_hz, channels, is_recording=is_recording, picked=picked
        )

    @property
    def seconds(self) -> float:
        """Length of the stream on its own clock."""
        return self._end_sample / self._rate_hz

    @property
    def lost_samples(self) -> int:
        """Samples per channel that came and were not recognized, or not yet."""
        return self.received_samples - self.processed_samples

    @property
    def _end_sample(self) -> int:
        return self.processed_samples + self.skipped_samples + self._waiting_samples

    def decode(self, data: bytes, sample_format: SampleFormat) -> NDArray[Any]:
        """Turn bytes into samples of shape (n, channels), or raise MessageError and count them."""
        channels = self.recognizer.channels
        frame_bytes = SAMPLE_BYTES[sample_format] * channels
        if len(data) % frame_bytes:
            self.received_samples += len(data) // frame_bytes  # they came: the account holds them
            raise MessageError(
                "bad_frame",
                f"a block of {len(data)} bytes came, wanted a multiple of {frame_bytes} "
                f"({sample_format}, {channels} channels); send whole samples of all channels",
            )
        return decode_samples(data, sample_format).reshape(-1, channels)

    def add(self, samples: NDArray[Any]) -> None:
        """Take samples of shape (n, channels); they are not copied.

        Raises
        ------
        MessageError
            If they are too large for audio.
        """
        samples = self._gaps.fill(samples, self._end_sample, self._rate_hz)
        self.received_samples += len(samples)
        try:
            check_values(samples)
        except SerError as error:
            raise MessageError("bad_frame", str(error)) from error
        # Of blocks of one sample each, the list would be larger than the samples.
        if len(self._waiting) == _MOST_BLOCKS:
            self._waiting = [np.concatenate(self._waiting)]
        self._waiting.append(samples)
        self._waiting_samples += len(samples)
        self._note_receipt(time.monotonic())

    @property
    def is_due(self) -> bool:
        """True if what waits gives a prediction, or is as much as may wait.

        Blocks wait for the next point of the grid: nothing comes later for it, and one call costs
        half of what five cost.
        """
        is_enough = self._waiting_samples >= self._piece_samples
        # The margin: sums of hops are not exact.
        is_on_grid = self.seconds >= self.recognizer.next_due_seconds - 1e-9
        return self._waiting_samples > 0 and (is_enough or is_on_grid)

    async def recognize_piece(self) -> list[Prediction]:
        """Let the engine recognize what waits, a second at most."""
        future = self._engine.process(self.recognizer, self._take(), is_patient=self.is_patient)
        return await asyncio.wrap_future(future)

    async def skip(self, samples: int) -> AsyncIterator[Message]:
        """Step over samples that the client lost, and return the messages."""
        async for message in self._rest(lambda: self._engine.skip(self.recognizer, samples)):
            yield message
        self.note("gap", f"{samples / self._rate_hz:.3f} s are missing")
        self.skipped_samples += samples
        for message in self.messages([]):
            yield message

    async def flush(self) -> AsyncIterator[Message]:
        """End the stream, and return the messages of all that was not recognized before."""
        flush = partial(self._engine.flush, self.recognizer, is_patient=self.is_patient)
        async for message in self._rest(flush):
            yield message
        self._events += self._monitor.flush()
        for message in self.messages([]):
            yield message
        for segment in self._segmenter.flush():
            yield json_record(segment)
        if self._utterances is not None:
            for utterance in self._utterances.flush():
                yield self._narrowed(utterance)

    async def widen(self, hops_per_prediction: int) -> None:
        """Let a prediction come every so many hops only."""
        await asyncio.wrap_future(self._engine.widen(self.recognizer, hops_per_prediction))
        every = hops_per_prediction * self.recognizer.hop_seconds
        self.note("hop_changed", f"a prediction every {every:g} s, by the server's load")

    def note(self, kind: EventKind, detail: str) -> None:
        """Let an event be sent with the next messages."""
        self._events.append(Event(kind, self.seconds, detail))

    def messages(self, predictions: Sequence[Prediction]) -> Iterator[Message]:
        """Return the messages of new predictions, of the segments that they end, and of events.

        A lag is measured when its message is asked for, which must be when it is sent.
        """
        events, self._events = self._events, []
        for item in in_order(predictions, events):
            if isinstance(item, Event):
                yield json_record(item)
                continue
            yield from map(json_record, self._segmenter.process(item))
            yield self._prediction_message(item)
            if self._utterances is not None:
                yield from map(self._narrowed, self._utterances.process(item))

    def started(self, stream_id: str, model_name: str, limits: Limits) -> Message:
        """Return the first message: what the stream runs with."""
        recognizer = self.recognizer
        card, delay = recognizer.card, recognizer.stats.delay
        return {
            "type": "started",
            "stream_id": stream_id,
            "model": {"name": model_name, "labels": list(card.labels), "licence": card.licence},
            "sample_rate_hz": recognizer.sample_rate_hz,
            "hop_seconds": recognizer.hop_seconds,
            "window_seconds": 2.0 * delay.window_seconds,
            "smoothing_seconds": delay.smoothing_seconds,
            "delay_seconds": delay.total_seconds,
            "limits": {name: getattr(limits, name) for name in StreamLimits.model_fields},
            "prior": prior_name(self._prior, card),
        }

    def account(self) -> Message:
        """Return where every sample went; what still waits is lost now."""
        return {
            "received_samples": self.received_samples,
            "processed_samples": self.processed_samples,
            "dropped_samples": self.lost_samples,
            "skipped_samples": self.skipped_samples,
            "replaced_samples": self._gaps.replaced_samples,
            "predictions": self.predictions,
            "seconds": (self.processed_samples + self.skipped_samples) / self._rate_hz,
        }

    async def _rest(self, then: Callable[[], Future[list[Prediction]]]) -> AsyncIterator[Message]:
        """Let the engine recognize all that waits, due or not, then one thing more."""
        while self._waiting_samples:
            for message in self.messages(await self.recognize_piece()):
                yield message
        predictions = await asyncio.wrap_future(then())
        for message in self.messages(predictions):
            yield message

    def _take(self) -> NDArray[Any]:
        waiting = self._waiting
        block = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
        piece, rest = block[: self._piece_samples], block[self._piece_samples :]
        self._waiting = [rest] if len(rest) else []
        self._waiting_samples = len(rest)
        start_sample = self.processed_samples + self.skipped_samples
        self.processed_samples += len(piece)
        self._events += self._monitor.process(piece, start_sample)
        return piece

    def _note_receipt(self, now: float) -> None:
        """Remember when the latest block came; those of one moment are remembered together."""
        receipts = self._receipts
        if receipts and now - receipts[-1][1] < _MOMENT_SECONDS:
            now = receipts.pop()[1]
        receipts.append((self._end_sample, now))

    def _prediction_message(self, prediction: Prediction) -> Message:
        message = self._narrowed(prediction)
        # The recognizer does not know of samples that were replaced before it got them.
        message["degraded"] = prediction.degraded or self._gaps.degrade(prediction)
        message["lag_seconds"] = self._lag_seconds(prediction.end_seconds)
        self.predictions += 1
        return message

    def _narrowed(self, record: Prediction | Utterance) -> Message:
        """Return the message of a record, with the probabilities that the client wants."""
        message = json_record(record)
        if self._labels is not None:
            for name in {"probabilities", "raw_probabilities"} & message.keys():
                given: Any = message[name]
                message[name] = given and {label: given[label] for label in self._labels}
        return message

    def _lag_seconds(self, end_seconds: float) -> float | None:
        """From the receipt of the sample at a time until now."""
        end_sample = math.floor(end_seconds * self._rate_hz)
        receipts = self._receipts
        while len(receipts) > 1 and receipts[0][0] < end_sample:
            receipts.popleft()
        return time.monotonic() - receipts[0][1] if receipts else None
