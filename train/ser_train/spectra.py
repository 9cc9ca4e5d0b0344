"""Spectra of clips on disk, computed once."""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import soxr
from numpy.typing import NDArray

from ser_live.card import SAMPLE_RATE_HZ, SpectrumSpec
from ser_live.errors import SerError
from ser_live.spectrum import PowerSpectrum
from ser_train.audio import read_audio
from ser_train.corpora import Clip

_Loaded = TypeVar("_Loaded")
_LAYOUT = 2
"""Part of every key: a new number makes old files unused."""
MARGIN_SECONDS = 0.3
"""Kept before the onset and after the end."""
LONGEST_SECONDS = 3.0
"""Kept after the onset even where the speech is shorter: real background, not an imitation."""


@dataclass(frozen=True, slots=True)
class Section:
    """Where one speed of a clip lies in its file, in frames."""

    start: int
    stop: int
    onset: int
    """First frame of speech, counted from ``start``."""
    end: int
    """Frame after the last of speech, counted from ``start``."""


@dataclass(frozen=True, slots=True)
class ClipSpectra:
    """One clip's magnitudes on disk."""

    clip: Clip
    content: str
    """Hash of the decoded samples."""
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
        power: NDArray[np.float32] = np.square(wanted.astype(np.float32))
        return power


def default_cache_folder() -> Path:
    """Give the folder for computed files: $XDG_CACHE_HOME/ser-live or the platform's usual one."""
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "ser-live"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "ser-live"
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "ser-live" / "cache"
    return Path.home() / ".cache" / "ser-live"


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
        """Give one clip's spectra, computing them the first time.

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
            write_atomically(array, lambda path: _save_array(path, frames))
            text = json.dumps([content_hash(samples), [list(_fields(s)) for s in sections]])
            write_atomically(index, lambda path: path.write_text(text))
        content, rows = json.loads(index.read_text())
        return ClipSpectra(clip, content, array, tuple(Section(*row) for row in rows))

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
    """Give all frames of a recording; a stream of one call."""
    power = PowerSpectrum(spec).process(samples)
    if len(power) == 0:
        raise SerError(
            f"{path}: {samples.size} samples at 16 kHz, wanted at least {spec.fft_samples}"
        )
    return power


def at_speed(samples: NDArray[np.float32], speed: float) -> NDArray[np.float32]:
    """Play faster or slower by resampling: pitch and formants move with it."""
    if speed == 1.0:
        return samples
    resampled = soxr.resample(samples, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ / speed, quality="MQ")
    result: NDArray[np.float32] = resampled.astype(np.float32)
    return result


def content_hash(samples: NDArray[np.float32]) -> str:
    """Hash decoded samples: equal recordings under two names have one hash."""
    return hashlib.sha256(samples.tobytes()).hexdigest()


def file_key(path: Path, settings: str) -> str:
    """Name the computed file of a recording: changes with path, size, time and settings."""
    try:
        status = path.stat()
    except OSError as error:
        raise SerError(f"{path}: no such audio file") from error
    text = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}|{settings}"
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then move it there in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        unfinished = Path(folder) / path.name
        write(unfinished)
        unfinished.replace(path)


def load_each(
    clips: Sequence[Clip],
    load: Callable[[Clip], _Loaded],
    advance: Callable[[], None],
    skipped: Callable[[str], None] | None,
    threads: int = 2,
) -> list[_Loaded]:
    """Load clips on several threads, in order.

    Parameters
    ----------
    clips : sequence of Clip
    load : callable
    advance : callable
        Called after each clip.
    skipped : callable or None
        Told of each broken recording, which is then left out; None: a broken one raises.
    threads : int

    Raises
    ------
    SerError
        If a recording is broken and ``skipped`` is None, or if none is left.
    """
    loaded = []
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(load, clip) for clip in clips]
        try:
            for future in futures:
                try:
                    loaded.append(future.result())
                except SerError as error:
                    if skipped is None:
                        raise SerError(f"{error}; --skip-broken leaves such files out") from error
                    skipped(str(error))
                advance()
        finally:
            pool.shutdown(cancel_futures=True)
    if not loaded:
        raise SerError("no recording is left after leaving out the broken ones")
    return loaded


def _fields(section: Section) -> tuple[int, int, int, int]:
    return section.start, section.stop, section.onset, section.end


def _save_array(path: Path, array: NDArray[np.generic]) -> None:
    with path.open("wb") as stream:
        np.save(stream, array)
