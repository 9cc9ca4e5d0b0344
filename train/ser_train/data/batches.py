"""Training batches: the same for the same seed, epoch and clips, on any number of threads."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ser_train.corpora import Clip

_PREFETCHED = 6
_FORBIDDEN = -1e9
_MEAN_SHARE = 4


@dataclass(frozen=True, slots=True)
class Batch:
    """One step of training."""

    inputs: NDArray[np.float32]
    """(clips, frames, bins) power, or (clips, ...) features."""
    targets: NDArray[np.float32]
    """(clips, labels), rows sum to 1; smoothed and mixed."""
    offsets: NDArray[np.float32]
    """(clips, labels), what the loss adds to the logits before its softmax."""


class InputSource(Protocol):
    """Source of the inputs of training batches."""

    def draw(
        self, indices: NDArray[np.intp], random: np.random.Generator, epoch: int
    ) -> NDArray[np.float32]:
        """Return one input for each clip."""


class Targets:
    """Wanted probabilities and offsets of the logits for each clip.

    Parameters
    ----------
    clips : sequence of Clip
    labels : tuple of str
    smoothing : float
        Share of the probability that is spread over all allowed labels.
    mask_missing : bool
        Labels that a corpus lacks are not allowed for its clips.
    balance : float
        Share of the logarithm of each label's frequency (in the corpus, with ``mask_missing``)
        that the loss adds to the logits, so that the network need not learn it (Menon et al.
        2021, logit adjustment).
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        labels: tuple[str, ...],
        smoothing: float,
        mask_missing: bool,
        balance: float = 0.0,
    ) -> None:
        one_hot = np.zeros((len(clips), len(labels)), np.float32)
        one_hot[np.arange(len(clips)), [labels.index(clip.label) for clip in clips]] = 1.0
        frequencies = np.empty_like(one_hot)
        groups = np.array([clip.corpus if mask_missing else "all" for clip in clips])
        for group in set(groups.tolist()):
            frequencies[groups == group] = one_hot[groups == group].mean(axis=0)
        allowed = frequencies > 0
        self.offsets = np.full_like(one_hot, _FORBIDDEN)
        self.offsets[allowed] = balance * np.log(frequencies[allowed])
        spread = allowed / allowed.sum(axis=1, keepdims=True, dtype=np.float32)
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
    corpora : sequence of str or None
        That of each clip: an epoch then draws as many clips of each as the smallest has, or a
        quarter of their mean size if that is more, so that a handful of recordings beside a
        corpus does not make the epoch tiny. None: an epoch has all clips.
    """

    def __init__(
        self,
        source: InputSource,
        targets: Targets,
        batch_clips: int,
        mixup: float,
        seed: int,
        corpora: Sequence[str] | None = None,
    ) -> None:
        self._source = source
        self._targets = targets
        self._mixup = mixup
        self._seed = seed
        names = np.array(corpora if corpora is not None else ["all"] * len(targets.targets))
        self._groups = [np.flatnonzero(names == name) for name in sorted(set(names.tolist()))]
        smallest = min(map(len, self._groups), default=0)
        self._drawn = max(smallest, len(names) // (_MEAN_SHARE * max(1, len(self._groups))))
        self.count = -(-self._drawn * len(self._groups) // batch_clips)

    def epoch(self, epoch: int, mixed: bool = True) -> Iterator[Batch]:
        """Yield the batches of one epoch, prepared in a background thread."""
        return _prefetched(self._epoch(epoch, mixed))

    def _epoch(self, epoch: int, mixed: bool) -> Iterator[Batch]:
        random = np.random.default_rng((self._seed, epoch))
        drawn = [_drawn(group, self._drawn, random) for group in self._groups]
        order = drawn[0] if len(drawn) == 1 else random.permutation(np.concatenate(drawn))
        for indices in np.array_split(order, self.count):
            batch = Batch(
                self._source.draw(indices, random, epoch),
                self._targets.targets[indices],
                self._targets.offsets[indices],
            )
            yield _mixed(batch, self._mixup, random) if mixed and self._mixup else batch


def _drawn(group: NDArray[np.intp], count: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Draw without replacement, again from the start when the group is exhausted."""
    rounds = -(-count // max(1, group.size))
    return np.concatenate([random.permutation(group) for _ in range(rounds)])[:count]


def _mixed(batch: Batch, mixup: float, random: np.random.Generator) -> Batch:
    """Add a second clip to each one (Zhang et al. 2018, mixup); power adds like sounds do."""
    weights = random.beta(mixup, mixup, len(batch.targets)).astype(np.float32)
    weights = np.maximum(weights, 1.0 - weights)
    other = random.permutation(len(batch.targets))

    def mix(values: NDArray[np.float32]) -> NDArray[np.float32]:
        own = weights.reshape(-1, *(1,) * (values.ndim - 1))
        mixed: NDArray[np.float32] = values * own + values[other] * (1.0 - own)
        return mixed

    offsets = np.maximum(batch.offsets, batch.offsets[other])
    return Batch(mix(batch.inputs), mix(batch.targets), offsets)


def _prefetched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Run an iterator some batches ahead in a thread; its error is raised here."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        ahead = deque(thread.submit(next, batches, None) for _ in range(_PREFETCHED))
        try:
            while (batch := ahead.popleft().result()) is not None:
                ahead.append(thread.submit(next, batches, None))
                yield batch
        finally:
            thread.shutdown(cancel_futures=True)
