"""Streams for tests: a source of given blocks, the live loop on a fake microphone, and accounts."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ser_live import Event, Prediction, StreamRecognizer, listen
from ser_live.live.listener import Listener
from ser_live.model.classifier import OnnxClassifier
from ser_live.model.prior import Outputs
from ser_live.sources import Block, Notice, SourceCounters
from ser_live.testing import FakeMicrophone


class GivenSource:
    """Source of given blocks and notices; its rate may change at some of them."""

    name = "a given\u00fc source"
    notes: tuple[str, ...] = ("a note of the source",)

    def __init__(
        self,
        items: Sequence[Block | Notice],
        sample_rate_hz: int = 16000,
        rates_hz: dict[int, int] | None = None,
        *,
        is_live: bool = False,
    ) -> None:
        self.items = items
        self.is_live = is_live
        self.sample_rate_hz = sample_rate_hz
        self.rates_hz = rates_hz or {}
        self.channels = next((i.samples.shape[1] for i in items if isinstance(i, Block)), 1)
        self.counters = SourceCounters()
        self.kept_seconds = 0.0
        self.opened = 0
        self.closed = 0

    def __enter__(self) -> Self:
        self.opened += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Block | Notice]:
        for index, item in enumerate(self.items):
            self.sample_rate_hz = self.rates_hz.get(index, self.sample_rate_hz)
            yield item

    def skip_to_newest(self, keep_seconds: float) -> None:
        self.kept_seconds = keep_seconds

    def close(self) -> None:
        self.closed += 1


class FailingModel(OnnxClassifier):
    """A model that fails at its nth window."""

    def __init__(self, model: OnnxClassifier, at: int, error: BaseException) -> None:
        self._left, self._error = at + 1, error  # the golden test is the first window
        super().__init__(model._session, model.card, model.where)

    def batch_outputs(self, windows: NDArray[np.float32], options: Any = None) -> Outputs:
        self._left -= 1
        if self._left == 0:
            raise self._error
        return super().batch_outputs(windows, options)


def listening(
    microphone: FakeMicrophone, model: OnnxClassifier, **options: Any
) -> Listener[Prediction | Event]:
    """Listen to a microphone in its own time, with events."""
    clock = microphone.clock.monotonic
    return listen(microphone, events=True, model=model, clock=clock, **options)


def offline(model: OnnxClassifier, samples: NDArray[Any], **options: Any) -> list[Prediction]:
    """Return the predictions of samples that are given whole."""
    recognizer = StreamRecognizer(model, **options)
    return recognizer.process(samples) + recognizer.flush()


def is_accounted(counters: SourceCounters) -> bool:
    """Tell whether every frame is accounted for."""
    return counters.captured == counters.processed + counters.dropped + counters.buffered
