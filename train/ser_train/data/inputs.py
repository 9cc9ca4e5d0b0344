"""Inputs of training batches: random windows of clips, or features computed before."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ser_live.model.card import SAMPLE_RATE_HZ, SpectrumSpec
from ser_train.data.augmentation import Augmenter
from ser_train.data.spectra import ClipSpectra
from ser_train.models.recipe import Recipe, WindowSampling

_PADDING_FRAMES = 20
_LEAD_SECONDS = 0.15
"""Greatest lead of a window before the onset of long speech; of short speech twice that."""


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
    windows : ndarray, shape (clips, windows, ...), float32
    seed : int
    """

    def __init__(self, windows: NDArray[np.float32], seed: int = 0) -> None:
        self._windows = windows
        self._seed = seed

    def draw(
        self, indices: NDArray[np.intp], random: np.random.Generator, epoch: int
    ) -> NDArray[np.float32]:
        """Return the features of one window of each clip."""
        return np.stack([self._window(int(index), epoch) for index in indices])

    def _window(self, index: int, epoch: int) -> NDArray[np.float32]:
        random = np.random.default_rng((self._seed, epoch, index + 1))
        window: NDArray[np.float32] = self._windows[index, random.integers(self._windows.shape[1])]
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
