"""Training batches: the same for the same seed, epoch and clips, on any number of threads."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_live.model.card import SAMPLE_RATE_HZ, SpectrumSpec
from ser_train.corpora import Clip
from ser_train.data.augmentation import Augmenter
from ser_train.data.spectra import ClipSpectra
from ser_train.models.recipe import Recipe, WindowSampling

_PREFETCHED = 6
_FORBIDDEN = -1e9
_MEAN_SHARE = 4
_PADDING_FRAMES = 20
_LEAD_SECONDS = 0.15
"""Greatest lead of a window before the onset of long speech; of short speech twice that."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One step of training."""

    inputs: NDArray[np.float32]
    """(clips, frames, bins) power, or (clips, ...) features."""
    targets: NDArray[np.float32]
    """(clips, labels), rows sum to 1; smoothed and mixed."""
    offsets: NDArray[np.float32]
    """(clips, labels), what the loss adds to the logits before its softmax."""


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
        """Return one window for each clip, all of one random length.

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
        windows = np.stack([self._window(int(index), frames, epoch) for index in indices])
        return self._augmenter.babbled(windows, random) if self._augmenter else windows

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
    """Features of random windows of clips, computed before.

    Parameters
    ----------
    windows_of : callable
        From the index of a clip to its windows, shape (windows, ...), float32.
    seed : int
    """

    def __init__(self, windows_of: Callable[[int], NDArray[np.float32]], seed: int = 0) -> None:
        self._windows_of = windows_of
        self._seed = seed

    def draw(
        self, indices: NDArray[np.intp], random: np.random.Generator, epoch: int
    ) -> NDArray[np.float32]:
        """Return the features of one window of each clip."""
        return np.stack([self._window(int(index), epoch) for index in indices])

    def _window(self, index: int, epoch: int) -> NDArray[np.float32]:
        random = np.random.default_rng((self._seed, epoch, index + 1))
        windows = self._windows_of(index)
        window: NDArray[np.float32] = windows[random.integers(len(windows))]
        return window


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


InputSource = WindowSource | FeatureSource


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
    corpora : sequence of str or None
        As in `Batches`: a label is as frequent as what an epoch draws has it.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        labels: tuple[str, ...],
        smoothing: float,
        mask_missing: bool,
        balance: float = 0.0,
        corpora: Sequence[str] | None = None,
    ) -> None:
        one_hot = np.zeros((len(clips), len(labels)), np.float32)
        one_hot[np.arange(len(clips)), [labels.index(clip.label) for clip in clips]] = 1.0
        frequencies = np.empty_like(one_hot)
        _, place, sizes = np.unique(
            corpora or ["all"] * len(clips), return_inverse=True, return_counts=True
        )
        groups = np.array([clip.corpus if mask_missing else "all" for clip in clips])
        for group in set(groups.tolist()):
            own = groups == group
            frequencies[own] = np.average(one_hot[own], axis=0, weights=1.0 / sizes[place[own]])
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
