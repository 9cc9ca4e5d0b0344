"""Outputs of a front end without trainable weights, on disk."""

import hashlib
import inspect
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

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
from ser_train.data.waveform_augmentation import WaveformAugmenter, codecs_there
from ser_train.files import content_hash, file_key, write_atomically
from ser_train.models.recipe import WaveformAugmentation, WindowSampling
from ser_train.models.registry import Network

_LAYOUT = 5
"""Part of every key: a new number makes old files unused, also where the gate judges anew."""
_ANYWHERE = 2
"""Windows at each speed beside the one that starts at the onset."""
_MARGIN_SECONDS = 0.15
"""Reach of a window over the speech on either side, at most."""
_LEAD_SECONDS = (0.02, 0.2)
"""Of a window near the onset, before it."""
_SHORTEST_SAMPLES = SAMPLE_RATE_HZ // 2
"""Of a changed window."""
_BABBLERS = 3
"""Recordings that the voices behind a clip are drawn from."""


@dataclass(frozen=True, slots=True)
class ClipFeatures(Loaded):
    """One clip after a front end without trainable weights."""

    windows: NDArray[np.float32]
    """(windows, ...), the first one as it is heard in a test, all for training."""


class FeaturesOnDemand(Sequence[ClipFeatures]):
    """Features of clips that are read or computed when they are asked for: all are too many.

    Parameters
    ----------
    count : int
    load : callable
        From the index of a clip.
    """

    def __init__(self, count: int, load: Callable[[int], ClipFeatures]) -> None:
        self._count = count
        self._load = load

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return self._load(index)


class FeatureCache:
    """Compute the features of clips and keep them.

    Parameters
    ----------
    folder : Path
        Made when it is missing.
    network : Network
        With a front end; networks that share it share the files.
    front_end : keras.Model
        From the spectrum to what that layer gives; in its precision that is stored.
    sampling : WindowSampling or None
        How further windows are cut for training; of it the speeds and the shortest and longest
        duration count, with ``waveforms`` all but the speeds. None: the first window alone.
    waveforms : WaveformAugmentation or None
        How recordings are changed for further windows; None: not at all.
    clips : sequence of Clip
        For the babble behind others of the same speaker.
    """

    def __init__(
        self,
        folder: Path,
        network: Network,
        front_end: Any,
        sampling: WindowSampling | None,
        waveforms: WaveformAugmentation | None = None,
        clips: Sequence[Clip] = (),
    ) -> None:
        from ser_train.models.inference import Inference  # noqa: PLC0415 - takes seconds

        self._front_end = Inference(front_end)
        self._dtype = front_end.output.dtype
        self._folder = folder / "features"
        self._network = network
        self._sampling = sampling
        self._waveforms = waveforms if sampling else None
        self._of_speaker: dict[str, list[Clip]] = {}
        for clip in clips:
            self._of_speaker.setdefault(clip.speaker, []).append(clip)
        hears = [asdict(network.spectrum), asdict(network.window)]
        cuts = [asdict(sampling), _ANYWHERE, _MARGIN_SECONDS] if sampling else []
        if self._waveforms:
            codecs = codecs_there()
            self._augmenter = WaveformAugmenter(self._waveforms, codecs)
            cuts += [asdict(self._waveforms), codecs, _source(WaveformAugmenter)]
        layer = front_end.layers[-1]
        weights = hashlib.sha256(b"".join(np.asarray(w).tobytes() for w in layer.get_weights()))
        made_by = [type(layer).__name__, layer.get_config(), weights.hexdigest()]
        self._settings = json.dumps([_LAYOUT, made_by, _source(type(layer)), hears, cuts])

    def load(self, clip: Clip) -> ClipFeatures:
        """Return one clip's features, computing them the first time.

        Raises
        ------
        SerError
            If the file cannot be read or is too short for one frame.
        """
        others = self._others(clip)
        settings = json.dumps([self._settings, [file_key(other.path, "") for other in others]])
        file = (self._folder / file_key(clip.path, settings)).with_suffix(".npz")
        if not file.is_file():
            samples = read_audio(clip.path)
            content, speaks = content_hash(samples), has_speech(samples)
            random = np.random.default_rng(int(content[:16], 16))
            cut = self._changed_windows if self._waveforms else self._windows
            inputs = list(cut(clip.path, samples, random, others))
            features = self._front_end.process(inputs).astype(self._dtype)
            save = partial(np.savez, windows=features, content=content, has_speech=speaks)
            write_atomically(file, save)
        with np.load(file) as saved:
            content, speaks = str(saved["content"]), bool(saved["has_speech"])
            windows = saved["windows"].astype(np.float32, copy=False)
            return ClipFeatures(clip, content, speaks, windows)

    def _others(self, clip: Clip) -> list[Clip]:
        """Choose recordings of the same speaker, by names: other lists mostly give the same."""
        mine = self._of_speaker.get(clip.speaker, [clip]) if self._waveforms else []
        return sorted(mine, key=lambda o: zlib.crc32(f"{clip.path.name}|{o.path.name}".encode()))[
            :_BABBLERS
        ]

    def _changed_windows(
        self,
        path: Path,
        samples: NDArray[np.float32],
        random: np.random.Generator,
        others: Sequence[Clip],
    ) -> Iterator[NDArray[np.float32]]:
        """Cut the first window, then one of each changed copy."""
        spec, settings = self._network.spectrum, self._waveforms or WaveformAugmentation()
        power = whole_clip_spectrum(path, samples, spec)
        onset, end = speech_bounds(power)
        speech = slice(onset * spec.hop_samples, (end - 1) * spec.hop_samples + spec.fft_samples)
        voices = [read_audio(other.path) for other in others]
        yield first_window(power, spec, self._network.window.seconds)
        stretch = settings.every_seconds * SAMPLE_RATE_HZ
        stretches = max(1, round((speech.stop - speech.start) / stretch)) if stretch else 1
        for _ in range(settings.copies * stretches):
            window = self._changed(samples, speech, voices, random)
            yield whole_clip_spectrum(path, window, spec)

    def _changed(
        self,
        samples: NDArray[np.float32],
        speech: slice,
        voices: Sequence[NDArray[np.float32]],
        random: np.random.Generator,
    ) -> NDArray[np.float32]:
        """Cut a window near the onset or anywhere, changed with half a second of what lies before.

        A room answers to that, and a faster copy needs more of what comes after.
        """
        length, start = self._place(len(samples), speech, random)
        first, stop = max(0, start - _SHORTEST_SAMPLES), start + length + _SHORTEST_SAMPLES
        part = samples[first:stop]
        spoken = slice(max(speech.start, start) - first, min(speech.stop, start + length) - first)
        if spoken.stop <= spoken.start:
            spoken = slice(0, len(part))
        changed = self._augmenter.process(part, spoken, voices, random)
        begin = round((start - first) * len(changed) / len(part))
        begin = max(0, min(begin, len(changed) - _SHORTEST_SAMPLES))
        return changed[begin : begin + max(length, _SHORTEST_SAMPLES)]

    def _place(self, samples: int, speech: slice, random: np.random.Generator) -> tuple[int, int]:
        """Draw length and start of a window, in samples."""
        sampling = self._sampling or WindowSampling()
        bounds = sampling.short_below_seconds, sampling.longest_seconds
        if random.random() < sampling.short_probability:
            bounds = sampling.shortest_seconds, sampling.short_below_seconds
        length = int(random.uniform(*bounds) * SAMPLE_RATE_HZ)
        low = max(0, speech.start - round(_MARGIN_SECONDS * SAMPLE_RATE_HZ))
        high = min(samples, speech.stop + round(2 * _MARGIN_SECONDS * SAMPLE_RATE_HZ))
        if random.random() < sampling.onset_probability or high - low <= length:
            lead = int(random.uniform(*_LEAD_SECONDS) * SAMPLE_RATE_HZ)
            return length, max(0, speech.start - lead)
        return length, int(random.integers(low, high - length + 1))

    def _windows(
        self,
        path: Path,
        samples: NDArray[np.float32],
        random: np.random.Generator,
        _others: Sequence[Clip],
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


def _source(kind: type) -> str:
    """Hash the module of a class: changed code makes old features unused."""
    return hashlib.sha256(inspect.getsource(sys.modules[kind.__module__]).encode()).hexdigest()
