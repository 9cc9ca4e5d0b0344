"""The reader of audio that files, uploads, pipes and the training share."""

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from ser_live.engine.resample import require_channels, require_rate
from ser_live.errors import SerError
from ser_live.sources.byte_feed import LENGTH_UNKNOWN, Account, ByteFeed, Parts
from ser_live.sources.byte_streams import streams_of
from ser_live.sources.containers import HEAD_BYTES, advice_on, container_of, is_media
from ser_live.sources.decoder_files import ForwardBytes, SoughtBytes
from ser_live.sources.decoder_messages import logged_messages
from ser_live.sources.media import INSTALL, MediaBytes, open_media
from ser_live.text import sanitize

WANTED = "wanted WAV, FLAC, Ogg, MP3 or another format of libsndfile"

_MPEG_FRAMES = 1152
_MPEG_FULL_RATE_HZ = 32000
_OPENING_FRAMES = 2 * _MPEG_FRAMES
_PIECE_FRAMES = 1 << 18
_FORWARD = "PCM in WAV, FLAC, Ogg or MP3"
_UNKNOWN_FRAMES = 2**63 - 1
# Of lengths, not of the bytes per second, which are wrong in many a file.
_CLAIM = re.compile(r"^(?!\s*Bytes/sec).*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_LEAST_MISSING_SECONDS = 0.1  # encoders count their own padding differently


class AudioReader:
    """Samples of an audio file, read on to the end of its data.

    WAV, FLAC, Ogg and MP3 are read on from files and pipes alike, whatever length their headers
    claim, and so are streams that follow each other in one file. Other formats of libsndfile
    need a file that can be sought.

    Parameters
    ----------
    source : path or binary file
        A file stays open when this is closed.
    name : str or None
        For messages; None: the path.
    by_media : bool
        What libsndfile does not read of a path is decoded by FFmpeg, where there is one: MP4,
        Matroska, AMR, videos ... Not for files of strangers.

    Raises
    ------
    SerError
        On entering, if there is no audio that can be read.
    """

    sample_rate_hz: int
    channels: int

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        name: str | None = None,
        *,
        by_media: bool = False,
    ) -> None:
        self._source = source
        self._by_media = by_media
        self._media: MediaBytes | None = None
        is_path = isinstance(source, str | os.PathLike)
        self.name = sanitize(source if is_path else "the audio") if name is None else name
        self.frames = 0
        self._account = Account()
        self._unlike_seconds = 0.0
        self._damage = ""
        self._parts: Parts = iter(())
        self._forward: ForwardBytes | None = None
        self._file: Any = None
        self._stream_frames = 0  # that were asked for
        self._close: Callable[[], None] = lambda: None
        self._opened: BinaryIO | None = None

    def __enter__(self) -> Self:
        stream: Any = self._source
        if isinstance(stream, str | os.PathLike):
            stream = self._opened = _open(Path(stream), self.name)
            self._close = stream.close
        try:
            self._begin(stream)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, frames: int) -> NDArray[np.float32]:
        """Return the next samples, shape (n, channels), float32; fewer, at last none, at the end.

        Raises
        ------
        SerError
            If the source cannot be read, or at the end of one without samples.
        """
        # In pieces: a damaged recording may ask for more frames than memory holds.
        pieces = [np.empty((0, self.channels), np.float32)]
        while frames > 0 and len(piece := self._piece(min(frames, _PIECE_FRAMES))):
            pieces.append(piece)
            frames -= len(piece)
        if self.frames == 0 < frames:
            raise SerError(
                f"{self.name}: {self._reason() or '0 samples of audio'}; wanted a recording"
            )
        return np.concatenate(pieces)

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence on what could not be read up to here; empty if nothing is missing."""
        # Before the first sample it is an error that says what is wrong.
        if not self.frames or not (reason := self._reason()):
            return ()
        missing, heard = self._missing_seconds(), self.frames / self.sample_rate_hz
        lost = f", {missing:.2f} s were not" if missing >= _LEAST_MISSING_SECONDS else ""
        return (f"{reason}; {heard:.2f} s of it were readable{lost}",)

    @property
    def share(self) -> float | None:
        """Share of the file that has been read, about; None of what was not opened here."""
        if self._opened is None or self._opened.closed:
            return None
        return self._opened.tell() / max(1, os.fstat(self._opened.fileno()).st_size)

    def close(self) -> None:
        """Close what was opened here."""
        if self._file is not None:
            self._file.close()
        if self._media is not None:
            self._media.close()
        self._close()

    def interrupt(self) -> None:
        """End a read that waits for another process, from any thread."""
        if self._media is not None:
            self._media.interrupt()

    def _begin(self, stream: Any) -> None:
        is_seekable = stream.seekable()
        feed = ByteFeed(stream)
        head = feed.peek(HEAD_BYTES)
        if not head:
            raise SerError(f"{self.name}: is empty, wanted audio")
        kind = container_of(head)
        try:
            parts = streams_of(feed, self._account)
            if parts is not None:
                self._parts = parts
                with suppress(soundfile.SoundFileError):
                    self._file = self._next_file()
            if self._file is None and not is_seekable:
                what = f"{kind} like this" if kind else "what is of no known container"
                raise SerError(f"{what} cannot be read from a pipe; wanted {_FORWARD}")
            if self._file is None:
                self._forward, self._account = None, Account()
                with logged_messages():
                    self._file = _ForwardFile(SoughtBytes(stream, self._account))
            self.sample_rate_hz = require_rate(self._file.samplerate)
            self.channels = require_channels(self._file.channels)
        except soundfile.SoundFileError as error:
            self._decode_media(stream, kind, _reason(error))
        except (SerError, OSError) as error:
            raise SerError(f"{self.name}: {error}") from error

    def _decode_media(self, stream: Any, kind: str | None, reason: str) -> None:
        """Go on with what FFmpeg decodes of a file that libsndfile refuses for a reason."""
        advice = advice_on(kind, "convert it, as in 'ffmpeg -i FILE OUT.wav'")
        path = Path(self._source) if self._by_media else None  # type: ignore[arg-type]
        if path is not None and is_media(kind, path.suffix):
            try:
                self._media = open_media(path, stream)
            except SerError as error:
                reason, advice = str(error), ""
            else:
                if self._media is not None:
                    self._by_media = False
                    return self._begin(self._media)
                advice = f"{INSTALL}, or {advice}"
        why = f"{kind}: {reason}" if kind else "no known container"
        told = f"no audio that can be read ({why}); {WANTED}{'; ' if advice else ''}{advice}"
        raise SerError(f"{self.name}: {told}")

    def _piece(self, frames: int) -> NDArray[np.float32]:
        """Return the next samples of any stream, none at the end of all."""
        while self._file is not None:
            samples = self._samples(frames)
            if len(samples) and self._has_form:
                self.frames += len(samples)
                return samples
            if len(samples):
                self._unlike_seconds += len(samples) / self._file.samplerate
            else:
                self._go_on()
        return np.empty((0, self.channels), np.float32)

    def _samples(self, frames: int) -> NDArray[np.float32]:
        samples = np.full((frames, self._file.channels), np.nan, np.float32)
        try:
            with self._quiet(frames):
                samples = self._file.read(out=samples)
        except soundfile.SoundFileError as error:
            self._damage = self._damage or f"the file is damaged ({_reason(error)})"
            # It does not tell how many came before the damage.
            samples = samples[: np.count_nonzero(~np.isnan(samples[:, 0]))]
        fault = None if self._forward is None else self._forward.error
        if fault is not None:
            raise SerError(
                f"{self.name}: cannot read ({getattr(fault, 'strerror', None) or fault})"
            )
        return samples

    def _quiet(self, frames: int) -> AbstractContextManager[None]:
        """Return a context for the decoding of so many frames, in which mpg123 prints nothing.

        What a slow pipe has to bring for it is waited for before, as others wait for the context.
        """
        forward = self._forward
        if forward is not None and not forward.is_mpeg:
            return nullcontext()
        self._stream_frames += frames
        if forward is not None:
            is_half = self._file is not None and self._file.samplerate < _MPEG_FULL_RATE_HZ
            size = _MPEG_FRAMES // 2 if is_half else _MPEG_FRAMES
            forward.take_parts(self._stream_frames // size + 3)
        return logged_messages()

    def _go_on(self) -> None:
        """Open the stream behind the one that has ended, if there is one."""
        before, forward, self._file = self._file, self._forward, None
        if forward is None:
            self._account.claimed_frames = before.frames if before.frames != _UNKNOWN_FRAMES else 0
            self._account.is_cut = _claims_more(before.extra_info)
        else:
            forward.drain()
            try:
                self._file = None if forward.is_last else self._next_file()
            except soundfile.SoundFileError as error:
                self._damage = f"what follows is no audio ({_reason(error)})"
        before.close()

    def _next_file(self) -> Any:
        """Open the next stream that is read on; None: there is none."""
        self._forward = ForwardBytes(self._parts)
        while self._forward.is_empty:
            if self._forward.is_last:
                return None
            self._forward = ForwardBytes(self._parts)
        self._stream_frames = 0
        with self._quiet(_OPENING_FRAMES):
            file = _ForwardFile(self._forward)
        self._forward.begin()
        if self._account.has_claim:
            self._account.claimed_frames += file.frames
            self._account.has_claim = False
        return file

    @property
    def _has_form(self) -> bool:
        form = (self._file.samplerate, self._file.channels)
        return form == (self.sample_rate_hz, self.channels)

    def _reason(self) -> str:
        if damage := self._damage or (self._media.damage if self._media else ""):
            return damage
        if self._unlike_seconds:
            return "it goes on at another rate or with other channels"
        if self._account.junk_bytes and self._missing_seconds() >= _LEAST_MISSING_SECONDS:
            return "the file is damaged"
        is_short = self._missing_seconds() >= _LEAST_MISSING_SECONDS
        return "the file is cut short" if is_short or self._account.is_cut else ""

    def _missing_seconds(self) -> float:
        """Return the seconds that headers claim and that were not read, as far as they tell."""
        if self._file is not None:  # not at the end
            return 0.0
        account = self._account
        bytes_missing = account.missing_bytes + account.junk_bytes
        by_bytes = bytes_missing * self.frames / max(1, account.given_bytes)
        frames = max(0, account.claimed_frames - self.frames, by_bytes)
        return frames / self.sample_rate_hz + self._unlike_seconds


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """File that is only read on: soundfile seeks after each read if it can.

    That takes time, and it fails at the end of files that do not know their length, such as FLAC
    that was written into a pipe.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


def _open(path: Path, name: str) -> BinaryIO:
    try:
        if path.is_dir():
            raise SerError(f"{name}: is a folder, wanted an audio file")
        if not path.is_file() and path.exists():
            raise SerError(f"{name}: is no ordinary file; pipe its audio into --stdin instead")
        # Opened here, not by libsndfile: it takes no name of another alphabet on Windows, and
        # does not tell why it cannot open a file.
        return path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SerError(f"{name}: cannot read it ({reason})") from error


def _claims_more(told: str) -> bool:
    """Tell from what libsndfile tells of the header whether a length is longer than the file."""
    claims = [(int(claim), int(right)) for claim, right in _CLAIM.findall(told)]
    return any(right + 8 < claim < LENGTH_UNKNOWN for claim, right in claims)


def _reason(error: Exception) -> str:
    if "regular file" in str(error):  # so it calls a stream that has no frame
        return "nothing in it can be decoded"
    return sanitize(getattr(error, "error_string", error)).rstrip(".")
