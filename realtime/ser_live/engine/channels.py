"""Channels of a stream that are recognized apart, each as a stream of its own."""

import dataclasses
import operator
import os
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import ArrayLike

from ser_live.engine.inference import Steps, run
from ser_live.engine.recognizer import StreamRecognizer
from ser_live.engine.resample import check_values, checked_block, require_channels
from ser_live.errors import SerError
from ser_live.latency import RecognizerStats, StageClock
from ser_live.model.card import ModelCard
from ser_live.model.classifier import Classifier
from ser_live.prediction import Prediction
from ser_live.text import quoted

UseChannels = str | Sequence[int]
"""Choice of channels: "mix", "split", "left", "right", or numbers from 1, as "1,3" or [1, 3]."""

_SIDES = ("left", "right")
_WANTED = "mix, split, left, right, or numbers from 1 like 1,3"


def recognizer_of(
    use_channels: UseChannels, channels: int, make: Callable[..., StreamRecognizer]
) -> "Recognizer":
    """Make a recognizer of the channels that a caller chose.

    Parameters
    ----------
    use_channels : str or sequence of int
        "mix": all channels as one stream; else each of the chosen ones is a stream.
    channels : int
        Of the samples to come.
    make : callable
        Makes a recognizer of one stream; takes ``channels``.

    Raises
    ------
    SerError
        If there is no such choice, or no such channel.
    """
    picked = picked_channels(use_channels, channels)
    return ChannelRecognizer(picked, channels, make) if picked else make(channels=channels)


def is_mix(use_channels: UseChannels) -> bool:
    """Tell whether all channels become one stream; SerError if there is no such choice."""
    return not _wanted_channels(use_channels) and use_channels == "mix"


def picked_channels(use_channels: UseChannels, channels: int) -> tuple[int, ...]:
    """Return the indices, from 0, of the channels that are streams of their own; none of a mix.

    Raises
    ------
    SerError
        If there is no such choice, or no such channel.
    """
    picked = _wanted_channels(use_channels)
    if not picked and use_channels == "split":
        picked = tuple(range(require_channels(channels)))
    if max(picked, default=-1) >= channels:
        raise SerError(
            f"use_channels is {quoted(use_channels)}, and there "
            + ("is one channel" if channels == 1 else f"are {channels} channels")
        )
    return picked


def _of_all(name: str) -> Any:
    """Make a property of a `StreamRecognizer` that is the same in all channels."""
    return property(operator.attrgetter(f"_first.{name}"))


class ChannelRecognizer:
    """Recognize several channels of a stream apart, each as a `StreamRecognizer` would alone.

    It has the members of one that a live loop needs. Predictions come in the order of time, and
    of the channels at one time; `Prediction.channel` names theirs.

    Parameters
    ----------
    picked : tuple of int
        Indices of the channels that are used.
    channels : int
        Of the samples given to `process`.
    make : callable
        Makes the recognizer of one channel; takes ``channels``.
    """

    def __init__(
        self, picked: tuple[int, ...], channels: int, make: Callable[..., StreamRecognizer]
    ) -> None:
        self.channels = channels
        self.picked = picked
        # As they are called at the start, also where a device comes back with more of them.
        names = [_SIDES[i] if channels == 2 else str(i + 1) for i in picked]
        self._names = {make(channels=1): name for name in names}
        self._first = self._at_work = next(iter(self._names))
        self._clock = StageClock()

    def __repr__(self) -> str:
        return f"ChannelRecognizer({', '.join(self.names)} of {self.channels}, {self._first!r})"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the channels that are used: left and right of two, else numbers from 1."""
        return tuple(self._names.values())

    labels: tuple[str, ...] = _of_all("labels")
    card: ModelCard = _of_all("card")
    classifier: Classifier = _of_all("classifier")
    prior: dict[str, float] = _of_all("prior")
    uncertain_below: float = _of_all("uncertain_below")
    sample_rate_hz: int = _of_all("sample_rate_hz")
    hop_seconds: float = _of_all("hop_seconds")
    next_due_seconds: float = _of_all("next_due_seconds")

    @property
    def hops_per_prediction(self) -> int:
        """Hops from one prediction to the next, as of `StreamRecognizer`."""
        return self._first.hops_per_prediction

    @hops_per_prediction.setter
    def hops_per_prediction(self, hops: int) -> None:
        for stream in self._names:
            stream.hops_per_prediction = hops

    @property
    def stats(self) -> RecognizerStats:
        """Counters of all channels together, and costs per prediction."""
        parts = [stream.stats for stream in self._names]
        return dataclasses.replace(
            parts[0],
            predictions=sum(part.predictions for part in parts),
            clipped_samples=sum(part.clipped_samples for part in parts),
            stages=self._clock.summaries(),
        )

    def reset(self) -> None:
        """Clear the stream: as new, with the same configuration."""
        self._clock = StageClock()
        for stream in self._names:
            stream.reset()

    def process(self, samples: ArrayLike) -> list[Prediction]:
        """Take the next samples, shape (n, channels), as `StreamRecognizer.process` does."""
        return run(self.process_steps(samples))

    def process_steps(self, samples: ArrayLike) -> Steps:
        """Do what `process` does, as `StreamRecognizer.process_steps` does it."""
        # All of it before any channel changes; those that are not used may hold anything.
        block = checked_block(samples, self.channels)[:, self.picked]
        check_values(block)
        columns = dict(zip(self._names, block.T, strict=True))
        return (yield from self._together(lambda stream: stream.process_steps(columns[stream])))

    def leave_out_wait(self, seconds: float) -> None:
        """Count seconds that the latest request only waited for its turn."""
        self._at_work.leave_out_wait(seconds)

    def flush(self) -> list[Prediction]:
        """End the stream, as `StreamRecognizer.flush` does."""
        return run(self.flush_steps())

    def flush_steps(self) -> Steps:
        """Do what `flush` does, as `process_steps` does it."""
        return (yield from self._together(StreamRecognizer.flush_steps, is_end=True))

    def skip(
        self, samples: int, sample_rate_hz: int | None = None, channels: int | None = None
    ) -> list[Prediction]:
        """Step over missing audio, as `StreamRecognizer.skip` does.

        Raises
        ------
        SerError
            As there, and if a channel that is used is not among those that come from now on.
        """
        return run(self.skip_steps(samples, sample_rate_hz, channels))

    def skip_steps(
        self, samples: int, sample_rate_hz: int | None = None, channels: int | None = None
    ) -> Steps:
        """Do what `skip` does, as `process_steps` does it."""
        after = require_channels(self.channels if channels is None else channels)
        picked_channels([index + 1 for index in self.picked], after)
        predictions = yield from self._together(lambda s: s.skip_steps(samples, sample_rate_hz))
        self.channels = after
        return predictions

    def end_stretch(self) -> list[Prediction]:
        """Finish what was heard before a gap, as `StreamRecognizer.end_stretch` does."""
        return run(self._together(_end_stretch_steps))

    def swap(self, model: str | os.PathLike[str] | Classifier | None) -> None:
        """Go on with another model, as `StreamRecognizer.swap` does."""
        for stream in self._names:
            stream.swap(model)
            model = stream.classifier

    def _together(
        self, steps_of: Callable[[StreamRecognizer], Steps], *, is_end: bool = False
    ) -> Steps:
        """Run the same for each channel and return the predictions of all in order of time."""
        finished: list[Prediction] = []
        # One that has failed comes first, so that no other goes on without it.
        for stream, name in sorted(self._names.items(), key=lambda item: not item[0].has_failed):
            self._at_work = stream
            try:
                predictions = yield from steps_of(stream)
            except SerError:
                # What others have finished is given out, if there will be a next call to raise.
                if is_end or not finished:
                    raise
                break
            finished += [dataclasses.replace(one, channel=name) for one in predictions]
        for prediction in finished:
            if prediction.timing is not None:
                self._clock.count(prediction.timing)
        return sorted(finished, key=lambda prediction: prediction.end_seconds)


Recognizer = StreamRecognizer | ChannelRecognizer


def channel_names(recognizer: Recognizer) -> tuple[str, ...]:
    """Return the names of the channels that a recognizer holds apart; none of a mix."""
    return recognizer.names if isinstance(recognizer, ChannelRecognizer) else ()


def _end_stretch_steps(stream: StreamRecognizer) -> Steps:
    return stream.end_stretch()
    yield  # it asks nothing


def _wanted_channels(use_channels: UseChannels) -> tuple[int, ...]:
    """Return the indices of channels that are named one by one; none of mix and split."""
    words: Sequence[str | int] = use_channels
    if isinstance(use_channels, str):
        if use_channels in ("mix", "split"):
            return ()
        words = use_channels.replace("left", "1").replace("right", "2").split(",")
    try:
        numbers = [int(word) if isinstance(word, str) else operator.index(word) for word in words]
    except (TypeError, ValueError):
        numbers = []
    if not numbers or min(numbers) < 1 or len({*numbers}) < len(numbers):
        raise SerError(f"use_channels is {quoted(use_channels)}, wanted {_WANTED}; each once")
    return tuple(number - 1 for number in numbers)
