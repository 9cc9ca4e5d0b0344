"""Training batches: the same for the same seed, epoch and clips, on any number of threads."""

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ser_train.corpora import Clip

_PREFETCHED = 6


@dataclass(frozen=True, slots=True)
class Batch:
    """One step of training."""

    inputs: NDArray[np.float32]
    """(clips, frames, bins) power, or (clips, ...) features."""
    targets: NDArray[np.float32]
    """(clips, labels), rows sum to 1; smoothed and mixed."""
    allowed: NDArray[np.float32]
    """(clips, labels), 1 where the label takes part in the softmax of the loss."""


class InputSource(Protocol):
    """Where the inputs of training batches come from."""

    def draw(
        self, indices: NDArray[np.intp], random: np.random.Generator, epoch: int
    ) -> NDArray[np.float32]:
        """Give one input for each clip."""


class Targets:
    """What the network should answer for each clip.

    Parameters
    ----------
    clips : sequence of Clip
    labels : tuple of str
    smoothing : float
        Share of the probability that is spread over all allowed labels.
    mask_missing : bool
        Labels that a corpus lacks are not allowed for its clips.
    """

    def __init__(
        self, clips: Sequence[Clip], labels: tuple[str, ...], smoothing: float, mask_missing: bool
    ) -> None:
        one_hot = np.zeros((len(clips), len(labels)), np.float32)
        one_hot[np.arange(len(clips)), [labels.index(clip.label) for clip in clips]] = 1.0
        self.allowed = np.ones_like(one_hot)
        if mask_missing:
            corpora = np.array([clip.corpus for clip in clips])
            for corpus in set(corpora.tolist()):
                self.allowed[corpora == corpus] = one_hot[corpora == corpus].max(axis=0)
        spread = self.allowed / self.allowed.sum(axis=1, keepdims=True)
        self.targets = one_hot * (1.0 - smoothing) + spread * np.float32(smoothing)


class Batches:
    """All batches of an epoch, in an order that seed and epoch decide.

    Parameters
    ----------
    source : InputSource
    targets : Targets
    batch_clips : int
        Largest batch; the batches of an epoch differ by at most one clip.
    mixup : float
        Both parameters of the beta distribution of the mixing weight; 0: no mixing.
    seed : int
    """

    def __init__(
        self, source: InputSource, targets: Targets, batch_clips: int, mixup: float, seed: int
    ) -> None:
        self._source = source
        self._targets = targets
        self._mixup = mixup
        self._seed = seed
        self._clips = len(targets.targets)
        self.count = -(-self._clips // batch_clips)

    def epoch(self, epoch: int, mixed: bool = True) -> Iterator[Batch]:
        """Give the batches of one epoch, prepared in a background thread."""
        return _prefetched(self._epoch(epoch, mixed))

    def _epoch(self, epoch: int, mixed: bool) -> Iterator[Batch]:
        random = np.random.default_rng((self._seed, epoch))
        for indices in np.array_split(random.permutation(self._clips), self.count):
            batch = Batch(
                self._source.draw(indices, random, epoch),
                self._targets.targets[indices],
                self._targets.allowed[indices],
            )
            yield _mixed(batch, self._mixup, random) if mixed and self._mixup else batch


def _mixed(batch: Batch, mixup: float, random: np.random.Generator) -> Batch:
    """Add a second clip to each one (Zhang et al. 2018, mixup); power adds like sounds do."""
    weights = random.beta(mixup, mixup, len(batch.targets)).astype(np.float32)
    weights = np.maximum(weights, 1.0 - weights)
    other = random.permutation(len(batch.targets))

    def mix(values: NDArray[np.float32]) -> NDArray[np.float32]:
        own = weights.reshape(-1, *(1,) * (values.ndim - 1))
        mixed: NDArray[np.float32] = values * own + values[other] * (1.0 - own)
        return mixed

    allowed = np.maximum(batch.allowed, batch.allowed[other])
    return Batch(mix(batch.inputs), mix(batch.targets), allowed)


def _prefetched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Run an iterator ahead in a thread; its error is raised here."""
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(_PREFETCHED)
    stopped = threading.Event()

    def put(item: Batch | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for batch in batches:
                put(batch)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
