"""Training batches: the same for the same seed, epoch and clips, on any number of threads."""

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ser_live.card import SAMPLE_RATE_HZ, SpectrumSpec
from ser_train.augmentation import Augmenter
from ser_train.corpora import Clip
from ser_train.recipe import Recipe, WindowSampling
from ser_train.spectra import ClipSpectra

_PADDING_FRAMES = 20
_LEAD_SECONDS = 0.15
"""How far before the onset a window of long speech may start; of short speech twice that."""
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


class WindowSource:
    """Random windows of clips at random speeds, changed at random.

    Parameters
    ----------
    spectra : sequence of ClipSpectra
    recipe : Recipe
        With ``windows``.
    spec : SpectrumSpec
    seed : int
    """

    def __init__(
        self, spectra: Sequence[ClipSpectra], recipe: Recipe, spec: SpectrumSpec, seed: int
    ) -> None:
        self._spectra = spectra
        self._sampling = recipe.windows or WindowSampling()
        self._augmenter = Augmenter(recipe.augmentation, spec) if recipe.augmentation else None
        self._frames_per_second = SAMPLE_RATE_HZ / spec.hop_samples
        self._seed = seed

    def draw(
        self, indices: NDArray[np.intp], random: np.random.Generator, epoch: int
    ) -> NDArray[np.float32]:
        """Give one window for each clip, all of one random length.

        Parameters
        ----------
        indices : ndarray of int
            Which clips.
        random : Generator
            For what the windows of a batch share.
        epoch : int

        Returns
        -------
        ndarray, shape (clips, frames, bins), float32
        """
        frames = self._batch_frames(random)
        return np.stack([self._window(int(index), frames, epoch) for index in indices])

    def _batch_frames(self, random: np.random.Generator) -> int:
        sampling = self._sampling
        if random.random() < sampling.short_probability:
            seconds = random.uniform(sampling.shortest_seconds, sampling.short_below_seconds)
        else:
            seconds = random.uniform(sampling.short_below_seconds, sampling.longest_seconds)
        return int(seconds * self._frames_per_second)

    def _window(self, index: int, frames: int, epoch: int) -> NDArray[np.float32]:
        random = np.random.default_rng((self._seed, epoch, index + 1))
        spectra, speed = self._spectra[index], 0
        if random.random() < self._sampling.speed_probability:
            speed = int(random.integers(len(spectra.sections)))
        start = self._start(spectra, speed, frames, random)
        power = _padded(spectra, speed, start, frames)
        return self._augmenter.process(power, random) if self._augmenter else power

    def _start(
        self, spectra: ClipSpectra, speed: int, frames: int, random: np.random.Generator
    ) -> int:
        """Short speech anywhere in the window; of long speech any part, often the onset."""
        section = spectra.sections[speed]
        room = frames - (section.end - section.onset)
        lead = round(_LEAD_SECONDS * self._frames_per_second)
        if room >= 0:
            start = section.onset - int(random.integers(0, min(2 * lead, room) + 1))
        elif random.random() < self._sampling.onset_probability:
            start = section.onset - int(random.integers(0, lead + 1))
        else:
            start = int(random.integers(section.onset - lead, section.end - frames + lead + 1))
        return max(0, start)


class FeatureSource:
    """Features of whole clips, computed before.

    Parameters
    ----------
    features : ndarray, shape (clips, ...), float32
    """

    def __init__(self, features: NDArray[np.float32]) -> None:
        self._features = features

    def draw(
        self, indices: NDArray[np.intp], random: np.random.Generator, epoch: int
    ) -> NDArray[np.float32]:
        """Give the features of the clips; nothing is random."""
        return self._features[indices]


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


def _padded(spectra: ClipSpectra, speed: int, start: int, frames: int) -> NDArray[np.float32]:
    """Fill up a short clip with its own last moments, which are background."""
    power = spectra.power(speed, start, start + frames)
    missing = frames - len(power)
    if missing <= 0:
        return power
    section = spectra.sections[speed]
    length = section.stop - section.start
    tail = spectra.power(speed, length - _PADDING_FRAMES, length)
    return np.concatenate((power, np.resize(tail, (missing, tail.shape[1]))))


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
