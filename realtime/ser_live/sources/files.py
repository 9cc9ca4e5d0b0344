"""Audio files of any rate and channel count, as fast as possible or by the clock."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_live.sources.audio_reader import AudioReader
from ser_live.sources.contract import Block, WaitingSource
from ser_live.text import quoted, sanitize

Pace = Literal["realtime", "fast"]

DEMO_PATH = Path(__file__).parent.parent / "data" / "demo.ogg"
DEMO_NOTICE = "synthetic voice: shows the mechanics, not the accuracy"

_BLOCK_SECONDS = {"realtime": 0.125, "fast": 0.25}


def demo_voice(rate: int = SAMPLE_RATE_HZ) -> NDArray[np.float32]:
    """Return the synthetic voice of ``ser-live --demo`` (20 s, four utterances), mono.

    Parameters
    ----------
    rate : int
        Samples per second.

    Returns
    -------
    ndarray, shape (n,), float32
        Mono samples in [-1, 1].
    """
    samples, own_rate = soundfile.read(DEMO_PATH, dtype="float32")
    voice: NDArray[np.float32] = soxr.resample(samples, own_rate, rate)
    return voice


class FileSource(WaitingSource):
    """Samples of an audio file.

    Parameters
    ----------
    path : path
        Anything that libsndfile reads: WAV, FLAC, Ogg, MP3 ...; and what PyAV (extra ``media``) or
        an ffmpeg on PATH decodes: m4a, mp4, webm, amr, wma, the sound of videos ...
    pace : str
        "fast": as fast as they are taken. "realtime": no sample before its time; what was
        taken too late is delivered at once, and nothing is dropped.
    """

    channels: int
    sample_rate_hz: int

    def __init__(self, path: str | os.PathLike[str], pace: Pace = "fast") -> None:
        if pace not in _BLOCK_SECONDS:
            raise SerError(f"pace is {quoted(pace)}, wanted realtime or fast")
        try:
            self.path = Path(path)
        except TypeError as error:
            raise SerError(f"{quoted(path)} is no path of an audio file") from error
        self.name = sanitize(self.path.name)
        self.pace: Pace = pace
        self.block_seconds = _BLOCK_SECONDS[pace]
        self._reader = AudioReader(self.path, by_media=True)
        self._is_open = False
        self._begun_at: float | None = None
        self._closed = threading.Event()
        self._in_use = threading.Lock()  # a file closed under a read crashes libsndfile

    def __enter__(self) -> Self:
        self._reader.__enter__()
        self._is_open = True
        self.sample_rate_hz, self.channels = self._reader.sample_rate_hz, self._reader.channels
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        with self._in_use:
            self._reader.close()

    def __iter__(self) -> Iterator[Block]:
        if not self._is_open:
            raise SerError(f"{self.name}: not open; use the source in a with statement")
        size = max(1, round(self.block_seconds * self.sample_rate_hz))
        while (block := self.take(size)) is not None:
            yield block

    @property
    def notes(self) -> tuple[str, ...]:
        """Seconds that could not be read, and why."""
        return tuple(f"{self._reader.name}: {note}" for note in self._reader.notes)

    @property
    def share(self) -> float | None:
        """Share of the file that has been read, about; None before and after."""
        return self._reader.share

    def take(self, frames: int) -> Block | None:
        """Return the next frames, fewer at the end of the file; None after it or once closed.

        Raises
        ------
        SerError
            At the end of a file without samples.
        """
        with self._in_use:
            if self._closed.is_set():
                return None
            samples = self._reader.read(frames)
        if len(samples) == 0 < frames:
            return None
        end_captured_at = None
        if self.pace == "realtime":
            self._begun_at = self._begun_at or time.monotonic()
            end = self._frames + len(samples)
            end_captured_at = self._begun_at + end / self.sample_rate_hz
            self._closed.wait(max(0.0, end_captured_at - time.monotonic()))
        if self._closed.is_set():
            return None
        self._frames += len(samples)
        return Block(samples, end_captured_at)

    def close(self) -> None:
        """End the iteration, also one that waits in another thread."""
        self._closed.set()
        self._reader.interrupt()
