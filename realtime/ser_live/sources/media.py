"""Audio of files that libsndfile does not read, by FFmpeg: PyAV, or a program on PATH.

Each gives the first audio track as the bytes of a WAV file that is read on.
"""

import contextlib
import itertools
import re
import shutil
import struct
import subprocess
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ser_live.errors import SerError
from ser_live.sources.byte_feed import wav_head
from ser_live.text import sanitize

INSTALL = "install a decoder for it (pip install 'ser-live[media]', or ffmpeg)"

_ADDRESS = re.compile(" @ 0x[0-9a-f]+")
_NO_TRACK = "there is no audio track in it"
_END_SECONDS = 5.0
_LEAST_MISSING_SECONDS = 0.1  # encoders count their own padding differently
_EXACT_LENGTHS = ("mov", "matroska", "asf", "avi")  # others estimate theirs from a bit rate


class MediaBytes:
    """Bytes of a WAV file as a decoder makes them."""

    damage = ""
    """Damage of the file that was met up to here; empty: none."""
    _pieces: Iterator[bytes]

    def seekable(self) -> bool:
        """Return False."""
        return False

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, as many as there are; none at the end."""
        return next(self._pieces, b"")

    def close(self) -> None:
        """End the decoder."""

    def interrupt(self) -> None:
        """End one that another thread waits for, if it is a process."""


def open_media(path: Path, stream: Any) -> MediaBytes | None:
    """Begin to decode a file; None where there is nothing that could.

    Parameters
    ----------
    path : path
        The file.
    stream : binary file
        The same, open; it stays open.

    Raises
    ------
    SerError
        If there is no audio that FFmpeg knows.
    """
    with contextlib.suppress(ImportError):
        return _PyAV(stream)
    program = shutil.which("ffmpeg")
    return None if program is None else _Program(program, path)


class _PyAV(MediaBytes):
    def __init__(self, stream: Any) -> None:
        import av  # noqa: PLC0415 - an extra, for such files alone

        self._errors: type[Exception] = av.FFmpegError
        stream.seek(0)
        try:
            # A playlist must not open an address.
            options = {"protocol_whitelist": "file"}
            self._container: Any = av.open(stream, options=options, metadata_errors="ignore")
        except self._errors as error:
            raise SerError(_words(error)) from error
        if not self._container.streams.audio:
            raise SerError(_NO_TRACK)
        self._track = self._container.streams.audio[0]
        self._resampler = av.AudioResampler("flt", self._track.layout, self._track.rate)
        self._pieces = self._decoded()

    def close(self) -> None:
        self._container.close()

    def _decoded(self) -> Iterator[bytes]:
        rate_hz, channels = self._track.rate, self._track.channels
        sizes = rate_hz * 4 * channels, 4 * channels, 32
        yield wav_head(struct.pack("<HHIIHH", 3, channels, rate_hz, *sizes))  # float32
        frames = 0
        for frame in self._frames():
            frames += frame.samples
            yield frame.to_ndarray().tobytes()
        seconds = self._claimed_seconds()
        if not self.damage and frames / rate_hz < seconds - _LEAST_MISSING_SECONDS:
            self.damage = f"the file is cut short, and claims {seconds:.2f} s"

    def _frames(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux(self._track):
                try:
                    frames = packet.decode()
                except self._errors as error:
                    self._note(error)  # what comes behind it is heard
                    continue
                for frame in frames:
                    yield from self._resampler.resample(frame)
            yield from self._resampler.resample(None)
        except self._errors as error:
            self._note(error)

    def _note(self, error: Exception) -> None:
        self.damage = self.damage or f"the file is damaged ({_words(error)})"

    def _claimed_seconds(self) -> float:
        container, track = self._container, self._track
        if not container.format.name.startswith(_EXACT_LENGTHS):
            return 0.0
        if track.duration is not None:
            return float(track.duration * track.time_base)
        is_all = len(container.streams) == 1  # else it may be the length of a picture
        return (container.duration or 0) / 1e6 if is_all else 0.0


class _Program(MediaBytes):
    """A child process, in which a file can do no harm; its pipe bounds what it decodes ahead."""

    def __init__(self, program: str, path: Path) -> None:
        # Not a pipe, which would have to be read meanwhile.
        self._told = tempfile.TemporaryFile()  # noqa: SIM115
        command = [program, "-nostdin", "-v", "error", "-protocol_whitelist", "file"]
        command += ["-i", f"file:{path}", "-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "-"]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._told
            )
        except OSError as error:
            raise SerError(f"{program} does not start ({error.strerror or error})") from error
        # Also where the interpreter ends under a reader.
        self._end = weakref.finalize(self, _kill, self._process)
        pieces = self._piped()
        head = next(pieces, b"")
        if not head:
            raise SerError(_NO_TRACK if "matches no streams" in self.damage else self.damage)
        self._pieces = itertools.chain([head], pieces)

    def close(self) -> None:
        self._end()

    interrupt = close

    def _piped(self) -> Iterator[bytes]:
        while data := self._process.stdout.read1(1 << 16):  # type: ignore[union-attr]
            yield data
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self.close()
        self._told.seek(0)
        told = self._told.read(1000).decode(errors="replace").splitlines()
        if told or self._process.returncode:
            words = told[0] if told else f"status {self._process.returncode}"
            self.damage = f"the file is damaged ({_ADDRESS.sub('', sanitize(words))})"


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _words(error: Exception) -> str:
    return sanitize(getattr(error, "strerror", None) or error)
