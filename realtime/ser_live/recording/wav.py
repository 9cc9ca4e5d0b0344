"""A WAV file whose header is right after every block, whatever happens next.

libsndfile writes the length into the header when a file is closed: a process that is killed
leaves a WAV file that only libsndfile itself reads and an RF64 file that it takes for empty.
"""

import contextlib
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_IEEE_FLOAT = 3
_SAMPLE_BYTES = 4
_UNKNOWN = 0xFFFFFFFF
_LARGEST_RIFF_BYTES = 0xFFFFFFFF
_HEADER_BYTES = 94


class WavFile:
    """A new file of 32-bit floats; it becomes RF64 when it passes 4 GiB (EBU Tech 3306).

    Parameters
    ----------
    path : Path
        Must not exist.
    sample_rate_hz, channels : int
        Of what it will be given.

    Raises
    ------
    OSError
        If it cannot be made.
    """

    def __init__(self, path: Path, sample_rate_hz: int, channels: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.channels = channels
        self.frames = 0
        self._file = path.open("xb", buffering=0)
        try:
            self._write(self._header(0))
        except OSError:
            self._file.close()
            path.unlink(missing_ok=True)
            raise

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append frames of shape (n, channels) and bring the header up to date.

        Raises
        ------
        OSError
            If that fails; the file then ends after the frames before.
        """
        frames = self.frames + len(samples)
        try:
            self._file.seek(_HEADER_BYTES + self._data_bytes(self.frames))
            self._write(np.ascontiguousarray(samples, "<f4").tobytes())
            self._file.seek(0)
            self._write(self._header(frames))
        except OSError:
            self._cut()
            raise
        self.frames = frames

    def close(self) -> None:
        """Let go of the file."""
        if not self._file.closed:
            self._cut()
            with contextlib.suppress(OSError):
                self._file.close()

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def _cut(self) -> None:
        """Let the file end with the last whole block."""
        with contextlib.suppress(OSError):
            self._file.truncate(_HEADER_BYTES + self._data_bytes(self.frames))

    def _data_bytes(self, frames: int) -> int:
        return frames * self.channels * _SAMPLE_BYTES

    def _header(self, frames: int) -> bytes:
        data_bytes = self._data_bytes(frames)
        riff_bytes = _HEADER_BYTES - 8 + data_bytes
        is_large = riff_bytes > _LARGEST_RIFF_BYTES
        frame_bytes = self.channels * _SAMPLE_BYTES
        rates = (self.sample_rate_hz, self.sample_rate_hz * frame_bytes)
        sizes = (riff_bytes, data_bytes, frames) if is_large else (0, 0, 0)
        return b"".join(
            (
                struct.pack("<4sI", *((b"RF64", _UNKNOWN) if is_large else (b"RIFF", riff_bytes))),
                b"WAVE",
                struct.pack("<4sIQQQI", b"ds64" if is_large else b"JUNK", 28, *sizes, 0),
                struct.pack("<4sIHHII", b"fmt ", 18, _IEEE_FLOAT, self.channels, *rates),
                struct.pack("<HHH", frame_bytes, 8 * _SAMPLE_BYTES, 0),
                struct.pack("<4sII", b"fact", 4, _UNKNOWN if is_large else frames),
                struct.pack("<4sI", b"data", _UNKNOWN if is_large else data_bytes),
            )
        )
