"""From clips to what a network is fed with: cached, without duplicates."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_train.corpora import Clip
from ser_train.data.acoustics import CODECS
from ser_train.data.batches import FeatureSource, InputSource, WindowSource
from ser_train.data.feature_cache import ClipFeatures, FeatureCache, FeaturesOnDemand
from ser_train.data.loading import THREADS, load_each
from ser_train.data.spectra import ClipSpectra, SpectrumCache, heard_bounds
from ser_train.data.splits import Split
from ser_train.data.waveform_augmentation import codecs_there
from ser_train.models.recipe import Recipe, UpperBlocks, WindowSampling
from ser_train.models.registry import Network
from ser_train.models.training_record import marks_of
from ser_train.progress import Reporter


@dataclass(frozen=True, slots=True)
class Prepared:
    """Clips ready for training and testing; exactly one of the two sequences is filled."""

    network: Network
    clips: tuple[Clip, ...]
    spectra: tuple[ClipSpectra, ...] = ()
    features: Sequence[ClipFeatures] = ()
    below: Sequence[ClipFeatures] = ()
    """What reaches the blocks of an encoder that are to be trained, if any are."""

    def chosen(self, indices: Sequence[int]) -> list[Clip]:
        """Return some of the clips."""
        return [self.clips[index] for index in indices]

    def content(self, index: int) -> str:
        """Return the hash of a clip's decoded samples."""
        return (self.features or self.spectra)[index].content

    def contents(self, indices: Sequence[int]) -> list[str]:
        """Return the hashes of some of the clips."""
        return [self.content(index) for index in indices]

    def marks(self, split: Split) -> dict[str, str]:
        """Return the marks of the clips that train or are watched, for a `TrainingRecord`."""
        heard = (*split.training, *split.validation)
        return marks_of(self.chosen(heard), self.contents(heard))

    def source(self, chosen: Sequence[int], recipe: Recipe, seed: int) -> InputSource:
        """Return the training inputs of the chosen clips."""
        if self.features:
            return FeatureSource(lambda place: self.features[chosen[place]].windows, seed)
        spectra = [self.spectra[index] for index in chosen]
        return WindowSource(spectra, recipe, self.network.spectrum, seed)

    def feature_array(self, chosen: Sequence[int]) -> NDArray[np.float32]:
        """Stack the features of the first windows of the chosen clips."""
        return np.stack([self.features[index].windows[0] for index in chosen])

    def heard_by(self, model: Any) -> "Prepared":
        """Return the same clips with the features that the trained encoder of a model gives."""
        trained = self.network.recipe.upper
        if not (trained and self.below):
            return self
        from ser_train.models.inference import Inference, upper_blocks_of  # noqa: PLC0415 - Keras

        upper = Inference(upper_blocks_of(model, self.network, trained))

        @functools.cache
        def load(index: int) -> ClipFeatures:
            below = self.below[index]
            windows = upper.process(below.windows).astype(np.float32)
            return dataclasses.replace(below, windows=windows)

        features = FeaturesOnDemand(len(self.below), load)
        return dataclasses.replace(self, features=features, below=())

    def speech(self, index: int, longest_seconds: float | None) -> NDArray[np.float32]:
        """Return what a network hears of a clip in a test: the beginning of its speech.

        With features these are always of the first window, as a live stream has it.

        Parameters
        ----------
        index : int
        longest_seconds : float or None
            Counted from just before the speech onset; None: the whole speech.

        Returns
        -------
        ndarray, shape (frames, bins) or that of the features, float32
        """
        if self.features:
            first: NDArray[np.float32] = self.features[index].windows[0]
            return first
        spectra, section = self.spectra[index], self.spectra[index].sections[0]
        spec = self.network.spectrum
        start, stop = heard_bounds(section.onset, section.end, spec, longest_seconds)
        return spectra.power(0, start, stop)


def prepare(
    clips: Sequence[Clip],
    network: Network,
    cache_folder: Path,
    report: Reporter,
    skip: bool,
    train: bool = True,
) -> Prepared:
    """Compute or load what the network is fed with, and leave duplicates out.

    Parameters
    ----------
    clips : sequence of Clip
    network : Network
    cache_folder : Path
    report : Reporter
        Shows progress and is told as in `load_each`.
    skip : bool
        Leave out broken recordings and those without speech.
    train : bool
        False: only for tests, without the further windows of features.
    """
    windows = network.recipe.windows
    if network.front_end is None:
        speeds = windows.speeds if windows else (1.0,)
        load = SpectrumCache(cache_folder, network.spectrum, speeds).load
        spectra = load_each(clips, load, "spectra", report, skip)
        return Prepared(network, tuple(item.clip for item in spectra), spectra)
    waveforms = network.recipe.waveforms if train else None
    missing = CODECS.keys() - codecs_there()
    if waveforms and missing:
        report.note(
            f"libsndfile writes no {' and no '.join(sorted(missing))}: left out of training"
        )

    def cache_of(front_end: Any) -> FeatureCache:
        cut = windows if train else None
        return FeatureCache(cache_folder, network, front_end, cut, waveforms, clips)

    upper = network.recipe.upper if train else None
    cache = cache_of(below_upper_blocks(network, upper)) if upper else None
    features = load_each(clips, cache_of(front_end_of(network)).load, "features", report, skip)
    prepared = Prepared(network, tuple(item.clip for item in features), features=features)
    if cache is None:
        return prepared
    kept, load_below = prepared.clips, cache.load
    with (
        report.counting("features below", len(kept)) as advance,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        for _ in pool.map(load_below, kept):
            advance()
    below = FeaturesOnDemand(len(kept), lambda index: load_below(kept[index]))
    return dataclasses.replace(prepared, below=below)


def front_end_of(network: Network) -> Any:
    """Build the part of a network that is computed once per clip, as a model."""
    import keras  # noqa: PLC0415 - takes seconds

    model = network.build(2, network.spectrum.bins)
    return keras.Model(model.input, model.get_layer(network.front_end).output)


def below_upper_blocks(network: Network, upper: UpperBlocks) -> Any:
    """Build the part of a network before the blocks that are to be trained, as a model.

    Raises
    ------
    SerError
        If the encoder has fewer blocks.
    """
    import keras  # noqa: PLC0415 - takes seconds

    from ser_train.layers import LowerEncoder  # noqa: PLC0415 - Keras

    recipe, front_end = network.recipe, front_end_of(network)
    longest = (recipe.windows or WindowSampling()).longest_seconds, network.window.seconds
    frames = max(longest) * SAMPLE_RATE_HZ / network.spectrum.hop_samples
    encoder = front_end.get_layer(network.front_end)
    if upper.blocks > encoder.blocks:
        raise SerError(
            f"recipe.upper.blocks is {upper.blocks}, wanted at most the {encoder.blocks} blocks of "
            "the encoder"
        )
    below = LowerEncoder(encoder, upper.blocks, math.ceil(frames / 2))
    return keras.Model(front_end.input, below(front_end.input))
