"""Audio from a pipe: raw PCM, or a file in a container that is read on."""

import os
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any, BinaryIO, Self, cast

from numpy.typing import NDArray

from ser_live.engine.resample import require_channels, require_rate
from ser_live.errors import SerError
from ser_live.sources.audio_reader import AudioReader
from ser_live.sources.containers import HEAD_BYTES, advice_on, container_of
from ser_live.sources.contract import Block, WaitingSource
from ser_live.sources.mpeg_frames import MPEG_BYTES, has_mpeg, is_mpeg
from ser_live.sources.pcm import decode_samples
from ser_live.stream_protocol import SAMPLE_BYTES, SampleFormat, require_sample_format
from ser_live.text import quoted

_READ_BYTES = 1 << 16


class RawSource(WaitingSource):
    """Interleaved samples without a header, from an open binary stream.

    Bytes may come in any portions: those of an unfinished frame wait for the next ones. The
    stream is read as fast as its samples are taken, so a writer that is too fast has to wait.
    Entering waits for the first bytes: if they are those of a WAV, FLAC, Ogg or MP3 file, that is
    decoded as it comes, and its own rate and channels hold.

    Parameters
    ----------
    stream : binary file
        Usually ``sys.stdin.buffer``; not closed here.
    sample_rate_hz, channels : int
        Format of samples without a header.
    sample_format : str
        "s16le", "f32le", "mulaw" or another one of `SampleFormat`.
    name : str
        For messages.
    """

    def __init__(
        self,
        stream: BinaryIO,
        sample_rate_hz: int = 16000,
        channels: int = 1,
        sample_format: SampleFormat = "s16le",
        name: str = "stdin",
    ) -> None:
        try:
            self.sample_rate_hz = require_rate(sample_rate_hz)
            self.channels = require_channels(channels)
            self.sample_format = require_sample_format(sample_format)
        except SerError as error:
            raise SerError(f"{name}: {error}") from error
        self.name = name
        self._stream = stream
        self._bytes = _ForwardBytes(stream, name)
        self._reader: AudioReader | None = None
        self._closed = False

    def __enter__(self) -> Self:
        try:
            is_terminal = self._stream.isatty()
        except ValueError as error:
            raise SerError(f"{self.name}: cannot read ({error})") from error
        if is_terminal:
            raise SerError(
                f"{self.name}: is a terminal, wanted audio from a pipe or a file, as in "
                f"'arecord -t raw -f S16_LE -r {self.sample_rate_hz} | ser-live --stdin'"
            )
        # The parent process may have made the pipe non-blocking: it would seem to end at once.
        with suppress(AttributeError, OSError, ValueError):
            os.set_blocking(self._stream.fileno(), True)
        if (container := self._container()) is not None:
            self._open(container)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Block]:
        for samples in self._raw() if self._reader is None else self._decoded(self._reader):
            self._frames += len(samples)
            yield Block(samples, time.monotonic())
        if self._frames == 0 and not self._closed:
            raise SerError(f"{self.name}: ended before the first sample; wanted raw PCM")

    def close(self) -> None:
        """End the iteration before its next read; a read that waits ends with its writer."""
        self._closed = True

    def _raw(self) -> Iterator[NDArray[Any]]:
        frame_bytes = SAMPLE_BYTES[self.sample_format] * self.channels
        held = b""
        while not self._closed and (data := self._bytes.read1()):
            held += data
            whole = len(held) // frame_bytes * frame_bytes
            if whole == 0:
                continue
            samples = decode_samples(held[:whole], self.sample_format)
            held = held[whole:]
            yield samples.reshape(-1, self.channels)
        if held:
            self._notes = (
                f"{self.name}: ended inside a frame; {len(held)} of its {frame_bytes} bytes "
                "were left over",
            )

    def _decoded(self, reader: AudioReader) -> Iterator[NDArray[Any]]:
        with closing(reader):
            while not self._closed and len(samples := reader.read(self.sample_rate_hz // 10)):
                yield samples
            self._notes += tuple(f"{self.name}: {note}" for note in reader.notes)

    def _container(self) -> str | None:
        """Return the container that the first bytes tell; None: raw PCM."""
        head = self._bytes.peek(HEAD_BYTES)
        # Silence in G.711 does too, and would have to wait to be told from it.
        if SAMPLE_BYTES[self.sample_format] == 1:
            return container_of(head)
        # Faint raw PCM may begin as MP3 does, whose first frames tell for sure.
        if head[:1] == b"\xff" and head[1:2] >= b"\xe0":
            return "MP3" if is_mpeg(self._bytes.peek(MPEG_BYTES)) else None
        # What has come is looked through for one that begins a little later; nothing is waited for.
        return container_of(head) or ("MP3" if has_mpeg(self._bytes.peek(HEAD_BYTES)) else None)

    def _open(self, container: str) -> None:
        try:
            self._reader = AudioReader(cast("BinaryIO", self._bytes), self.name).__enter__()
        except SerError as error:
            conversion = (
                "convert it, as in 'ffmpeg -i FILE -f wav - | ser-live --stdin', or try --file"
            )
            raise SerError(f"{error}; {advice_on(container, conversion)}") from error
        declared = (self.sample_rate_hz, self.channels, self.sample_format)
        own = (self._reader.sample_rate_hz, self._reader.channels)
        self.sample_rate_hz, self.channels = own
        if declared not in ((16000, 1, "s16le"), (*own, "s16le")):
            found = f"{container} of {own[0]} Hz and {own[1]} channel{'s' * (own[1] > 1)}"
            self._notes = (f"{self.name}: is {found}; what was declared is left aside",)


class _ForwardBytes:
    """Bytes of a stream as they come, with a look ahead: a file that cannot be sought."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._name = name
        self._ahead = b""
        # What has come, without waiting for more: a pipe from a microphone is slow.
        self._read: Any = getattr(stream, "read1", stream.read)

    def seekable(self) -> bool:
        """Return False."""
        return False

    def peek(self, size: int) -> bytes:
        """Return the next bytes without taking them, fewer at the end."""
        while len(self._ahead) < size and (data := self._wait()):
            self._ahead += data
        return self._ahead

    def read1(self, size: int = _READ_BYTES) -> bytes:
        """Take what has come; none at the end."""
        ahead, self._ahead = self._ahead, b""
        return ahead or self._wait()

    read = read1

    def _wait(self) -> bytes:
        try:
            data = self._read(_READ_BYTES)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SerError(f"{self._name}: cannot read ({reason})") from error
        if not isinstance(data, bytes):
            raise SerError(f"{self._name}: gives {quoted(data)}, wanted bytes; open it as binary")
        return data
