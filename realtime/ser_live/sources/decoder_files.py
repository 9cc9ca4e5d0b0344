"""Files that libsndfile is given: over parts that are read on, or over one that can be sought."""

import struct
from typing import Any

from ser_live.errors import SerError
from ser_live.sources.byte_feed import (
    END,
    LENGTH_UNKNOWN,
    MOST_CHUNKS,
    PIECE_BYTES,
    Account,
    Parts,
)
from ser_live.sources.ogg_pages import last_ogg_page


class ForwardBytes:
    """File for libsndfile over parts that come once, in order.

    Its end is far away and nothing is there, so that no decoder estimates a length from it.
    Headers are read several times: all that was read stays until `begin`.

    Parameters
    ----------
    parts : iterator of bytes or None
        None, or the end of the iteration, ends this file.

    Attributes
    ----------
    is_over : bool
        All of this file was taken.
    is_last : bool
        So was all that followed.
    is_mpeg : bool
        Its parts are frames of MPEG audio.
    error : Exception or None
        Fault of the parts: callbacks of libsndfile must not raise.
    """

    def __init__(self, parts: Parts) -> None:
        self.is_over = self.is_last = self.is_mpeg = False
        self.error: Exception | None = None
        self._parts = parts
        self._held = b""
        self._start = 0  # position of the first byte that is held
        self._position = 0
        self._taken_parts = 0
        self._is_begun = False

    def begin(self) -> None:
        """Let go of what has been read, from now on: the decoder has begun."""
        self._is_begun = True

    def drain(self) -> None:
        """Leave the rest of this file out."""
        while not self.is_over:
            self._held = b""
            self._pull(1)

    @property
    def is_empty(self) -> bool:
        """True if there is nothing in it; waits for its first part."""
        self.take_parts(1)
        return not self._held

    def take_parts(self, count: int) -> None:
        """Wait until so many parts have come, since the start of this file."""
        while self._taken_parts < count and not self.is_over:
            self._pull(len(self._held) + 1)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position and return it."""
        self._position = offset + (0, self._position, END)[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer and return the number of bytes, fewer at the end of the parts."""
        start, size = self._position, len(buffer)
        if start > self._start + len(self._held) + PIECE_BYTES:
            data = self._far(start, size)
        else:
            self._pull(start + size - self._start)
            data = self._held[start - self._start :][:size]
        buffer[: len(data)] = data
        self._position += len(data)
        if self._is_begun and start - self._start > PIECE_BYTES:
            self._held = self._held[start - self._start :]
            self._start = start
        return len(data)

    def write(self, data: bytes) -> int:
        """Do nothing: soundfile asks for it."""
        return 0

    def _pull(self, size: int) -> None:
        """Take parts until so many bytes are held."""
        pieces, held = [self._held], len(self._held)
        while held < size and not self.is_over:
            part = None
            try:
                part = next(self._parts)
            except StopIteration:
                self.is_last = True
            except (SerError, OSError, ValueError) as error:
                self.error, self.is_last = error, True
            self.is_over = part is None
            self._taken_parts += 1
            self.is_mpeg = self.is_mpeg or (self._taken_parts == 1 and (part or b"")[:1] == b"\xff")
            pieces.append(part or b"")
            held += len(pieces[-1])
        self._held = b"".join(pieces)

    def _far(self, start: int, size: int) -> bytes:
        """Return zeros and, at the very end, a last page where an Ogg decoder looks for one."""
        data = bytearray(max(0, min(size, END - start)))
        page = last_ogg_page(self._held[14:18]) if self._held[:4] == b"OggS" else b""
        first = max(start, END - len(page))
        data[first - start :] = page[first - END + len(page) :][: len(data) - (first - start)]
        return bytes(data)


class SoughtBytes:
    """File for libsndfile over one that can be sought, with what it takes wrongly put right.

    Recorders that were killed, and pipes, leave lengths in WAV and CAF that are zero, endless or
    longer than the data; libsndfile reads floats of an extensible W64 as integers.

    Parameters
    ----------
    stream : binary file
        Not closed here.
    account : Account
        Told of what is missing.
    """

    def __init__(self, stream: Any, account: Account) -> None:
        self._stream = stream
        self._at, self._right = 0, b""  # what stands there instead
        self._end = stream.seek(0, 2)
        head = self._bytes(0, 104)
        if head[:4] == b"RIFF":
            self._mend_length(12, "<4sI", 2, account)
        elif head[:4] == b"caff":
            self._mend_length(8, ">4sq", 1, account)
        elif head[24:28] == b"wave" and head[64:66] == b"\xfe\xff" and head[88:90] == b"\3\0":
            self._at, self._right = 64, b"\3\0"
        stream.seek(0)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position and return it; the end at most, whatever a header asks for."""
        position = offset + (0, self._stream.tell(), self._end)[whence]
        found: int = self._stream.seek(min(max(0, position), self._end))
        return found

    def tell(self) -> int:
        """Return the position."""
        position: int = self._stream.tell()
        return position

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer and return the number of bytes."""
        begin = self._at - self._stream.tell()
        data = bytearray(self._stream.read(len(buffer)))
        for index, byte in enumerate(self._right, begin):
            if 0 <= index < len(data):
                data[index] = byte
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: bytes) -> int:
        """Do nothing: soundfile asks for it."""
        return 0

    def _bytes(self, at: int, size: int) -> bytes:
        self._stream.seek(at)
        data: bytes = self._stream.read(size)
        return data

    def _mend_length(self, at: int, form: str, align: int, account: Account) -> None:
        """Find the chunk of the data; if its length is wrong, it becomes what is there."""
        size = struct.calcsize(form)
        for _ in range(MOST_CHUNKS):
            head = self._bytes(at, size)
            if len(head) < size:
                return
            name, length = struct.unpack(form, head)
            at += size
            if name == b"data":
                if not 0 < length <= self._end - at:
                    account.given_bytes = self._end - at
                    account.missing_bytes = length - account.given_bytes
                    right = struct.pack(form, name, account.given_bytes)[4:]
                    self._at, self._right = at - len(right), right
                if not 0 < length < LENGTH_UNKNOWN:
                    account.missing_bytes = 0
                return
            at += max(0, length) + length % align
