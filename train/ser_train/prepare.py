"""From clips to what a network is fed with: cached, without duplicates."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.card import SAMPLE_RATE_HZ
from ser_train.audio import read_audio
from ser_train.batches import InputSource
from ser_train.corpora import Clip
from ser_train.disk import content_hash, file_key, load_each, write_atomically
from ser_train.networks import Network
from ser_train.progress import Reporter
from ser_train.recipe import Recipe
from ser_train.sources import FeatureSource, WindowSource
from ser_train.spectra import (
    ClipSpectra,
    SpectrumCache,
    first_window,
    heard_bounds,
    whole_clip_spectrum,
)

_LAYOUT = 2
"""Part of every key: a new number makes old files unused."""


@dataclass(frozen=True, slots=True)
class ClipFeatures:
    """The first window of one clip after a front end without trainable weights."""

    clip: Clip
    content: str
    """Hash of the decoded samples."""
    features: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Clips ready for training and testing; exactly one of the two sequences is filled."""

    network: Network
    clips: tuple[Clip, ...]
    spectra: tuple[ClipSpectra, ...] = ()
    features: tuple[ClipFeatures, ...] = ()

    def source(self, chosen: Sequence[int], recipe: Recipe, seed: int) -> InputSource:
        """Give the training inputs of the chosen clips."""
        if self.features:
            return FeatureSource(self.feature_array(chosen))
        spectra = [self.spectra[index] for index in chosen]
        return WindowSource(spectra, recipe, self.network.spectrum, seed)

    def feature_array(self, chosen: Sequence[int]) -> NDArray[np.float32]:
        """Stack the features of the chosen clips."""
        return np.stack([self.features[index].features for index in chosen])

    def test_input(self, index: int, whole: bool) -> NDArray[np.float32]:
        """Give what the network hears of a clip in a test.

        Parameters
        ----------
        index : int
        whole : bool
            The whole speech of the clip; otherwise its first window, as a live stream has it.

        Returns
        -------
        ndarray, shape (frames, bins) or that of the features, float32
        """
        return self.speech(index, None if whole else self.network.window.seconds)

    def speech(self, index: int, longest_seconds: float | None) -> NDArray[np.float32]:
        """Give the beginning of a clip's speech; with features, those of its first window.

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
            return self.features[index].features
        spectra, section = self.spectra[index], self.spectra[index].sections[0]
        spec = self.network.spectrum
        start, stop = heard_bounds(section.onset, section.end, spec)
        if longest_seconds is not None:
            longest = round(longest_seconds * SAMPLE_RATE_HZ / spec.hop_samples)
            stop = min(stop, start + longest)
        return spectra.power(0, start, stop)


def prepare(
    clips: Sequence[Clip], network: Network, cache_folder: Path, report: Reporter, skip: bool
) -> Prepared:
    """Compute or load what the network is fed with, and leave duplicates out.

    Parameters
    ----------
    clips : sequence of Clip
    network : Network
    cache_folder : Path
    report : Reporter
        Shows progress and is told of broken and duplicate recordings.
    skip : bool
        Leave broken recordings out instead of raising SerError.
    """
    skipped = report.warn if skip else None
    if network.front_end is None:
        windows = network.recipe.windows
        speeds = windows.speeds if windows else (1.0,)
        cache = SpectrumCache(cache_folder, network.spectrum, speeds)
        with report.counting("spectra", len(clips)) as advance:
            spectra = load_each(clips, cache.load, advance, skipped)
        kept = _first_of_each([item.content for item in spectra], spectra, report)
        spectra = [spectra[index] for index in kept]
        return Prepared(network, tuple(item.clip for item in spectra), tuple(spectra))
    load = _FeatureCache(cache_folder, network).load
    with report.counting("features", len(clips)) as advance:
        features = load_each(clips, load, advance, skipped, threads=1)
    kept = _first_of_each([item.content for item in features], features, report)
    features = [features[index] for index in kept]
    return Prepared(network, tuple(item.clip for item in features), features=tuple(features))


class _FeatureCache:
    """Outputs of a front end without trainable weights, on disk."""

    def __init__(self, folder: Path, network: Network) -> None:
        self._folder = folder / "features"
        self._network = network
        hears = [asdict(network.spectrum), asdict(network.window)]
        self._settings = json.dumps([network.name, *hears, _LAYOUT, _source_of_layers()])
        self._front_end: Any = None

    def load(self, clip: Clip) -> ClipFeatures:
        stem = self._folder / file_key(clip.path, self._settings)
        file = stem.with_suffix(".npz")
        if not file.is_file():
            samples = read_audio(clip.path)
            features = self._compute(clip, samples)
            content = np.array(content_hash(samples))
            write_atomically(file, lambda path: _save(path, features, content))
        with np.load(file) as saved:
            return ClipFeatures(clip, str(saved["content"]), saved["features"])

    def _compute(self, clip: Clip, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        import keras  # noqa: PLC0415 - takes seconds, and the cache may hold everything

        if self._front_end is None:
            model = self._network.build(2, self._network.spectrum.bins)
            output = model.get_layer(self._network.front_end).output
            self._front_end = keras.Model(model.input, output)
        spec, window = self._network.spectrum, self._network.window
        whole = whole_clip_spectrum(clip.path, samples, spec)
        power = first_window(whole, spec, window.seconds)
        features: NDArray[np.float32] = self._front_end(power[None], training=False).numpy()[0]
        return features


def _save(path: Path, features: NDArray[np.float32], content: NDArray[np.str_]) -> None:
    with path.open("wb") as stream:
        np.savez(stream, features=features, content=content)


def _source_of_layers() -> str:
    """Hash the front ends' source: changed code makes old features unused."""
    digest = hashlib.sha256()
    for path in sorted((Path(__file__).parent / "layers").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _first_of_each(
    contents: Sequence[str], items: Sequence[ClipSpectra | ClipFeatures], report: Reporter
) -> list[int]:
    first: dict[str, int] = {}
    kept = []
    for index, content in enumerate(contents):
        if content in first:
            same, other = items[index].clip, items[first[content]].clip
            report.note(f"{same.path.name} is the same recording as {other.path.name}: left out")
        else:
            first[content] = index
            kept.append(index)
    return kept
