"""Two files of a recording, kept in step: samples as WAV, and lines beside them."""

import contextlib
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser_live.engine.resample import as_float
from ser_live.errors import SerError
from ser_live.output.files import GrowingFile
from ser_live.recording.sidecar import (
    BlockMark,
    EndMark,
    Mark,
    NoticeMark,
    Session,
    StopMark,
    line_of,
    sidecar_path,
)
from ser_live.sources.contract import Block, Notice

_IEEE_FLOAT = 3
_SAMPLE_BYTES = 4
_UNKNOWN = 0xFFFFFFFF
_LARGEST_RIFF_BYTES = 0xFFFFFFFF
_HEADER_BYTES = 94


class RecordingFiles:
    """The two files of a recording, each complete after every call.

    Parameters
    ----------
    path : Path
        The WAV file; its sidecar lies beside it.
    session : Session
        How the recording is made.

    Raises
    ------
    SerError
        If one of them cannot be made, or exists already.
    """

    def __init__(self, path: Path, session: Session) -> None:
        self._paths = (path, sidecar_path(path))
        self._block_frames = 0
        self._next_mark_frame = 0
        try:
            self.wav = WavFile(path, session.sample_rate_hz, session.channels)
        except OSError as error:
            raise refusal(path, error) from error
        self._lines: GrowingFile | None = None
        try:
            self._lines = GrowingFile(sidecar_path(path), "xb")
            self._say(session)
        except OSError as error:
            self.close()
            raise refusal(sidecar_path(path), error) from error

    def block(self, block: Block) -> None:
        """Append a block; OSError if that fails."""
        at_frame, frames = self.wav.frames, len(block.samples)
        samples = np.ascontiguousarray(as_float(block.samples), "<f4")
        is_usual = 0 < frames == self._block_frames and at_frame < self._next_mark_frame
        if not is_usual or block.missing_frames or block.overruns:
            # Before the samples: a recording that is cut here lacks a block, never its mark.
            counts = at_frame, frames, block.missing_frames, block.overruns
            self._say(BlockMark(*counts, zlib.crc32(samples.data)))
            self._block_frames = frames
            self._next_mark_frame = max(self.wav.sample_rate_hz, 2 * at_frame)
        self.wav.write(samples)

    def notice(self, notice: Notice) -> None:
        """Append a notice of the source; OSError if that fails."""
        self._say(NoticeMark(self.wav.frames, notice.kind, notice.detail))

    def stop(self, reason: str) -> None:
        """Say why the recording ends here, if that can still be written, and close it."""
        with contextlib.suppress(OSError):
            self._say(StopMark(self.wav.frames, reason))
        self.close()

    def end(self) -> None:
        """Say that the stream came to its end, if that can still be written."""
        # By its path: another thread, which ended the stream, may have closed the files.
        if self.wav.frames:
            with contextlib.suppress(OSError), self._paths[1].open("ab") as lines:
                lines.write(line_of(EndMark(self.wav.frames)).encode())

    def change_of_format(self, block: Block, sample_rate_hz: int) -> str:
        """Return a sentence on how a block differs from the file's format; empty if it does not."""
        was = (self.wav.sample_rate_hz, self.wav.channels)
        now = (sample_rate_hz, block.samples.shape[1])
        if now == was:
            return ""
        return f"the device came back with {now[0]} Hz x {now[1]} instead of {was[0]} Hz x {was[1]}"

    def close(self) -> None:
        """Close both files; a recording of nothing leaves none behind."""
        self.wav.close()
        if self._lines is not None:
            self._lines.close()
        if self.wav.frames == 0:
            for path in self._paths if self._lines is not None else self._paths[:1]:
                path.unlink(missing_ok=True)

    def _say(self, mark: Mark) -> None:
        if self._lines is not None:
            self._lines.append(line_of(mark).encode())


class WavFile(GrowingFile):
    """New file of 32-bit floats whose header is right after every block, whatever happens next.

    libsndfile writes the length into the header when a file is closed: a process that is killed
    leaves a WAV file that only libsndfile itself reads, and an RF64 file that it takes for empty.
    This one becomes RF64 when it passes 4 GiB (EBU Tech 3306).

    Parameters
    ----------
    path : Path
        Must not exist.
    sample_rate_hz, channels : int
        Of the frames that are written.

    Raises
    ------
    OSError
        If it cannot be made.
    """

    def __init__(self, path: Path, sample_rate_hz: int, channels: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.channels = channels
        self.frames = 0
        super().__init__(path, "xb")
        try:
            self.append(self._header(0))
        except OSError:
            self.close()
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
        self.append(np.ascontiguousarray(samples, "<f4").tobytes(), self._header(frames))
        self.frames = frames

    def _header(self, frames: int) -> bytes:
        frame_bytes = self.channels * _SAMPLE_BYTES
        data_bytes = frames * frame_bytes
        riff_bytes = _HEADER_BYTES - 8 + data_bytes
        is_large = riff_bytes > _LARGEST_RIFF_BYTES
        # JUNK is as long as ds64: the header keeps its length when the file outgrows RIFF.
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


def refusal(path: Path, error: OSError) -> SerError:
    """Say why a file of a recording cannot be made."""
    if isinstance(error, FileExistsError):
        return SerError(
            f"{path}: is there already, and a recording is never overwritten; choose another name "
            "or move it away"
        )
    return SerError(
        f"{path}: cannot record to it ({error.strerror or error}); wanted a file in a folder that "
        "exists and may be written to"
    )
