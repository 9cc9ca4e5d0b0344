"""Outputs of a front end without trainable weights, on disk."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser_live.model.card import SAMPLE_RATE_HZ
from ser_train.audio import read_audio
from ser_train.corpora import Clip
from ser_train.data.loading import Loaded, has_speech
from ser_train.data.spectra import (
    at_speed,
    first_window,
    heard_bounds,
    speech_bounds,
    whole_clip_spectrum,
)
from ser_train.files import content_hash, file_key, write_atomically
from ser_train.models.recipe import WindowSampling
from ser_train.models.registry import Network

_LAYOUT = 5
"""Part of every key: a new number makes old files unused, also where the gate judges anew."""
_ANYWHERE = 2
"""Windows at each speed beside the one that starts at the onset."""
_MARGIN_SECONDS = 0.15
"""Reach of a window over the speech on either side, at most."""


@dataclass(frozen=True, slots=True)
class ClipFeatures(Loaded):
    """One clip after a front end without trainable weights."""

    windows: NDArray[np.float32]
    """(windows, ...), the first one as it is heard in a test, all for training."""


class FeatureCache:
    """Compute the features of clips and keep them.

    Parameters
    ----------
    folder : Path
        Made when it is missing.
    network : Network
        With a front end; networks that share it share the files.
    sampling : WindowSampling or None
        How further windows are cut for training; of it the speeds and the shortest and longest
        duration count. None: the first window alone.
    """

    def __init__(self, folder: Path, network: Network, sampling: WindowSampling | None) -> None:
        import keras  # noqa: PLC0415 - takes seconds

        from ser_train.models.inference import Inference  # noqa: PLC0415

        model = network.build(2, network.spectrum.bins)
        layer = model.get_layer(network.front_end)
        self._front_end = Inference(keras.Model(model.input, layer.output))
        self._folder = folder / "features"
        self._network = network
        self._sampling = sampling
        hears = [asdict(network.spectrum), asdict(network.window)]
        cuts = [asdict(sampling), _ANYWHERE, _MARGIN_SECONDS] if sampling else []
        front_end = [type(layer).__name__, layer.get_config(), _source_of_layers()]
        self._settings = json.dumps([_LAYOUT, front_end, hears, cuts])

    def load(self, clip: Clip) -> ClipFeatures:
        """Return one clip's features, computing them the first time.

        Raises
        ------
        SerError
            If the file cannot be read or is too short for one frame.
        """
        file = (self._folder / file_key(clip.path, self._settings)).with_suffix(".npz")
        if not file.is_file():
            samples = read_audio(clip.path)
            content, speaks = content_hash(samples), has_speech(samples)
            random = np.random.default_rng(int(content[:16], 16))
            inputs = list(self._windows(clip.path, samples, random))
            features = self._front_end.process(inputs).astype(np.float32)
            save = partial(np.savez, windows=features, content=content, has_speech=speaks)
            write_atomically(file, save)
        with np.load(file) as saved:
            content, speaks = str(saved["content"]), bool(saved["has_speech"])
            return ClipFeatures(clip, content, speaks, saved["windows"])

    def _windows(
        self, path: Path, samples: NDArray[np.float32], random: np.random.Generator
    ) -> Iterator[NDArray[np.float32]]:
        """Cut the first window, then for each speed its first one and some from anywhere."""
        spec, longest_seconds = self._network.spectrum, self._network.window.seconds
        for speed in self._sampling.speeds if self._sampling else (1.0,):
            power = whole_clip_spectrum(path, at_speed(samples, speed), spec)
            yield first_window(power, spec, longest_seconds)
            for _ in range(_ANYWHERE if self._sampling else 0):
                yield self._anywhere(power, random)

    def _anywhere(
        self, power: NDArray[np.float32], random: np.random.Generator
    ) -> NDArray[np.float32]:
        """Cut a part of long speech; of short speech all, with more or less around it."""
        spec, sampling = self._network.spectrum, self._sampling or WindowSampling()
        frames_per_second = SAMPLE_RATE_HZ / spec.hop_samples
        margin = round(_MARGIN_SECONDS * frames_per_second)
        seconds = random.uniform(sampling.shortest_seconds, sampling.longest_seconds)
        frames = int(seconds * frames_per_second)
        start, stop = heard_bounds(*speech_bounds(power), spec)
        stop = min(stop, len(power))
        if stop - start <= frames:
            start -= int(random.integers(0, margin + 1))
            stop += int(random.integers(0, margin + 1))
        else:
            start = int(random.integers(start - margin, stop - frames + margin + 1))
            stop = start + frames
        return power[max(0, start) : stop]


def _source_of_layers() -> str:
    """Hash the front ends' source: changed code makes old features unused."""
    digest = hashlib.sha256()
    for path in sorted((Path(__file__).parent.parent / "layers").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
