"""Spectra of clips on disk, computed once."""

import json
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from ser_live.engine.spectrum import PowerSpectrum
from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ, SpectrumSpec
from ser_train.audio import read_audio
from ser_train.corpora import Clip
from ser_train.data.loading import Loaded, has_speech
from ser_train.files import content_hash, file_key, write_atomically

_LAYOUT = 4
"""Part of every key: a new number makes old files unused, also where the gate judges anew."""
MARGIN_SECONDS = 0.3
"""Kept before the onset and after the end."""
LEAD_SECONDS = 0.05
"""Heard before the onset and after the end in a test."""
LONGEST_SECONDS = 3.0
"""Kept after the onset even where the speech is shorter: real background, not an imitation."""
with np.errstate(invalid="ignore"):
    _SQUARES = np.square(np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32))
"""Of each half-precision number, by its bits: faster than to convert and to multiply."""


@dataclass(frozen=True, slots=True)
class Section:
    """Place of one speed of a clip in its file, in frames."""

    start: int
    stop: int
    onset: int
    """First frame of speech, counted from ``start``."""
    end: int
    """Frame after the last of speech, counted from ``start``."""


@dataclass(frozen=True, slots=True)
class ClipSpectra(Loaded):
    """One clip's magnitudes on disk."""

    file: Path
    sections: tuple[Section, ...]
    """One for each speed."""

    def power(self, speed: int, start: int, stop: int) -> NDArray[np.float32]:
        """Read frames of a section as power.

        Parameters
        ----------
        speed : int
            Index of the section.
        start, stop : int
            Frames from the start of the section; cut to what there is.

        Returns
        -------
        ndarray, shape (frames, bins), float32
        """
        section = self.sections[speed]
        length = section.stop - section.start
        start, stop = max(0, min(start, length)), max(0, min(stop, length))
        magnitudes = np.load(self.file, mmap_mode="r")
        wanted = magnitudes[section.start + start : section.start + stop]
        power: NDArray[np.float32] = _SQUARES[wanted.view(np.uint16)]
        return power


def speech_bounds(power: NDArray[np.float32]) -> tuple[int, int]:
    """Find the first frame of speech and the frame after the last, by energy.

    The threshold lies 8 dB over the quietest tenth, and between 40 and 10 dB under the loudest
    frame.

    Parameters
    ----------
    power : ndarray, shape (frames, bins), float32
        At least one frame.
    """
    level_db = 10.0 * np.log10(power[:, 3:].sum(axis=1) + 1e-9)
    level_db = np.convolve(np.pad(level_db, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    loudest = level_db.max()
    threshold = max(np.percentile(level_db, 10) + 8.0, loudest - 40.0)
    active = np.flatnonzero(level_db >= min(threshold, loudest - 10.0))
    return int(active[0]), int(active[-1]) + 1


class SpectrumCache:
    """Compute the spectra of clips and keep them as half-precision magnitudes.

    Parameters
    ----------
    folder : Path
        Made when it is missing.
    spec : SpectrumSpec
    speeds : tuple of float
        Playback speeds; the first is 1.
    """

    def __init__(self, folder: Path, spec: SpectrumSpec, speeds: tuple[float, ...]) -> None:
        self.spec = spec
        self.speeds = speeds
        self._folder = folder / "spectra"
        self._settings = json.dumps([_LAYOUT, asdict(spec), speeds])

    def load(self, clip: Clip) -> ClipSpectra:
        """Return one clip's spectra, computing them the first time.

        Raises
        ------
        SerError
            If the file cannot be read or is too short for one frame.
        """
        stem = self._folder / file_key(clip.path, self._settings)
        array, index = stem.with_suffix(".npy"), stem.with_suffix(".json")
        if not index.is_file():
            samples = read_audio(clip.path)
            frames, sections = self._compute(clip, samples)
            write_atomically(array, lambda path: np.save(path, frames))
            known = [content_hash(samples), has_speech(samples), [*map(astuple, sections)]]
            write_atomically(index, lambda path: path.write_text(json.dumps(known)))
        content, speaks, rows = json.loads(index.read_text())
        return ClipSpectra(clip, content, speaks, array, tuple(Section(*row) for row in rows))

    def _compute(
        self, clip: Clip, samples: NDArray[np.float32]
    ) -> tuple[NDArray[np.float16], list[Section]]:
        frames_per_second = SAMPLE_RATE_HZ / self.spec.hop_samples
        margin = round(MARGIN_SECONDS * frames_per_second)
        longest = round(LONGEST_SECONDS * frames_per_second)
        parts: list[NDArray[np.float16]] = []
        sections: list[Section] = []
        start = 0
        for speed in self.speeds:
            power = whole_clip_spectrum(clip.path, at_speed(samples, speed), self.spec)
            onset, end = speech_bounds(power)
            first, last = max(0, onset - margin), max(end, onset + longest) + margin
            last = min(last, len(power))
            parts.append(np.sqrt(power[first:last]).astype(np.float16))
            sections.append(Section(start, start + last - first, onset - first, end - first))
            start += last - first
        return np.concatenate(parts), sections


def whole_clip_spectrum(
    path: Path, samples: NDArray[np.float32], spec: SpectrumSpec
) -> NDArray[np.float32]:
    """Return all frames of a recording; a stream of one call."""
    power = PowerSpectrum(spec).process(samples)
    if len(power) == 0:
        raise SerError(
            f"{path}: {samples.size} samples at 16 kHz, wanted at least {spec.fft_samples}"
        )
    return power


def heard_bounds(
    onset: int, end: int, spec: SpectrumSpec, longest_seconds: float | None = None
) -> tuple[int, int]:
    """Widen the frames of speech by the lead that is heard around them in a test.

    Parameters
    ----------
    onset, end : int
        First frame of speech, and the one after the last.
    spec : SpectrumSpec
    longest_seconds : float or None
        Counted from just before the speech onset; None: the whole speech.
    """
    lead = round(LEAD_SECONDS * SAMPLE_RATE_HZ / spec.hop_samples)
    start, stop = max(0, onset - lead), end + lead
    if longest_seconds is None:
        return start, stop
    return start, min(stop, start + round(longest_seconds * SAMPLE_RATE_HZ / spec.hop_samples))


def first_window(
    power: NDArray[np.float32], spec: SpectrumSpec, longest_seconds: float
) -> NDArray[np.float32]:
    """Cut a recording to its speech, as a live stream hears it when the window is full.

    Parameters
    ----------
    power : ndarray, shape (frames, bins), float32
        All frames.
    spec : SpectrumSpec
    longest_seconds : float
        Counted from just before the speech onset.
    """
    start, stop = heard_bounds(*speech_bounds(power), spec, longest_seconds)
    return power[start:stop]


def at_speed(samples: NDArray[np.float32], speed: float) -> NDArray[np.float32]:
    """Play faster or slower by resampling: pitch and formants move with it."""
    if speed == 1.0:
        return samples
    resampled = soxr.resample(samples, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ / speed, quality="MQ")
    result: NDArray[np.float32] = resampled.astype(np.float32)
    return result
