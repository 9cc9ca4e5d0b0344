"""Audio files of any rate and channel count, as fast as possible or by the clock."""

import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ser_live.engine.resample import require_channels, require_rate
from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_live.sources.contract import Block, WaitingSource
from ser_live.text import quoted, sanitize

Pace = Literal["realtime", "fast"]

DEMO_PATH = Path(__file__).parent.parent / "data" / "demo.ogg"
DEMO_NOTICE = "synthetic voice: shows the mechanics, not the accuracy"

_BLOCK_SECONDS = {"realtime": 0.125, "fast": 0.25}
_PIECE_FRAMES = 1 << 20
_UNKNOWN_FRAMES = 2**63 - 1
_DAMAGE = re.compile(r"should be|unexpectedly")


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
        Anything that libsndfile reads: WAV, FLAC, Ogg, MP3 ...
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
        self._file: Any = None
        self._begun_at: float | None = None
        self._closed = threading.Event()
        self._in_use = threading.Lock()  # a file closed under a read crashes libsndfile

    def __enter__(self) -> Self:
        self._file = _open(self.path)
        try:
            self.sample_rate_hz = require_rate(self._file.samplerate)
            self.channels = require_channels(self._file.channels)
        except SerError as error:
            self._file.close()
            raise SerError(f"{sanitize(self.path)}: {error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        with self._in_use:
            if self._file is not None:
                self._file.close()

    def __iter__(self) -> Iterator[Block]:
        if self._file is None:
            raise SerError(f"{self.name}: not open; use the source in a with statement")
        size = max(1, round(_BLOCK_SECONDS[self.pace] * self.sample_rate_hz))
        while (block := self.take(size)) is not None:
            yield block

    def take(self, frames: int) -> Block | None:
        """Return the next frames, fewer at the end of the file; None after it or once closed.

        Raises
        ------
        SerError
            At the end of a file without samples.
        """
        # In pieces: a damaged recording may ask for more frames than memory holds.
        pieces = [self._read(min(frames, _PIECE_FRAMES))]
        while len(pieces[-1]) and (left := frames - sum(map(len, pieces))):
            pieces.append(self._read(min(left, _PIECE_FRAMES)))
        samples = np.concatenate(pieces)
        if len(samples) == 0 < frames:
            if not self._closed.is_set():
                self._finish()
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

    def _read(self, frames: int) -> NDArray[np.float32]:
        samples = np.empty((0, self.channels), np.float32)
        try:
            with self._in_use:
                if not self._file.closed:
                    samples = self._file.read(frames, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            self._note(f"the file is damaged ({_reason(error)})")
        return samples

    def _finish(self) -> None:
        # A header may claim more than there is, or, written into a pipe, nothing at all.
        if not self._notes and self._frames < self._file.frames != _UNKNOWN_FRAMES:
            self._note("the file is cut short")
        if not self._notes and _DAMAGE.search(self._file.extra_info):
            self._note("the file is cut short or its header is wrong")
        if self._frames == 0:
            reason = self._notes[0] if self._notes else f"{sanitize(self.path)}: 0 samples of audio"
            raise SerError(f"{reason}; wanted a recording")

    def _note(self, sentence: str) -> None:
        seconds = self._frames / self.sample_rate_hz
        self._notes = (f"{sanitize(self.path)}: {sentence}; {seconds:.2f} s of it were readable",)


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """File that is only read on: soundfile seeks after each read if it can.

    That takes time, and it fails at the end of files that do not know their length, such as FLAC
    that was written into a pipe.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


def _open(path: Path) -> Any:
    name = sanitize(path)
    try:
        if path.is_dir():
            raise SerError(f"{name}: is a folder, wanted an audio file")
        size = path.stat().st_size
        if path.is_file():
            with path.open("rb"):  # libsndfile does not tell why it cannot open a file
                pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SerError(f"{name}: cannot read it ({reason})") from error
    if not path.is_file():
        raise SerError(f"{name}: is no ordinary file; pipe raw PCM into --stdin instead")
    if size == 0:
        raise SerError(f"{name}: the file is empty, wanted audio")
    try:
        return _ForwardFile(os.fsencode(path))
    except (soundfile.SoundFileError, TypeError) as error:
        raise SerError(
            f"{name}: no audio that can be read ({_reason(error)}); wanted WAV, FLAC, Ogg, MP3 or "
            "another format of libsndfile; for raw samples use --stdin"
        ) from error


def _reason(error: Exception) -> str:
    return sanitize(getattr(error, "error_string", error)).rstrip(".")
