"""Bytes of audio files on their way to the decoder, read on, and the account of them."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Parts = Iterator[bytes | None]
"""Bytes of a stream, piece by piece; None: the stream ends, and another one follows."""

END = (1 << 32) - 1
"""Length of the files that decoders are shown: far away."""
LENGTH_UNKNOWN = 0x7F000000
"""From here on, what programs write into a pipe as the length that they do not know yet."""
MOST_CHUNKS = 10_000
MOST_JUNK_BYTES = 1 << 18
"""At a stretch: what may go on behind it is not worth hours of search."""
PIECE_BYTES = 1 << 16
TAG_BYTES = 128
"""ID3v1, at the very end."""


def wav_head(form: bytes) -> bytes:
    """Return the head of a WAV file of some format, whose length is not known."""
    end = struct.pack("<I", END)
    return b"RIFF" + end + b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + end


@dataclass(slots=True)
class Account:
    """Claims of headers that may be trusted, and bytes on the way; filled while they are read."""

    given_bytes: int = 0
    """Bytes of audio that the decoder was given."""
    missing_bytes: int = 0
    """Bytes of audio that are wanted and not there."""
    junk_bytes: int = 0
    """Bytes between those of audio that are none."""
    claimed_frames: int = 0
    """Frames that the headers of all streams so far claim; 0 where they claim nothing."""
    has_claim: bool = False
    """The decoder knows a claim of the stream that has just begun."""
    is_cut: bool = False
    """The last stream has no end."""


class ByteFeed:
    """Bytes of a file or a pipe, with a look ahead; ID3v2 tags at the start are left out.

    Parameters
    ----------
    stream : binary file
        Read on, never sought; not closed here.
    """

    def __init__(self, stream: Any) -> None:
        # From a pipe: what has come, without waiting for more.
        self._read = getattr(stream, "read1", stream.read)
        self._held = b""
        self._at = 0
        self.taken_bytes = 0

    def peek(self, size: int) -> bytes:
        """Return the next bytes without taking them, fewer at the end."""
        while len(self._held) - self._at < size and (data := self._read(PIECE_BYTES)):
            self._held = self._held[self._at :] + data
            self._at = 0
        return self._held[self._at : self._at + size]

    def take(self, size: int) -> bytes:
        """Take the next bytes, fewer at the end."""
        data = self.peek(size)
        self._at += len(data)
        self.taken_bytes += len(data)
        return data

    def some(self, most: int = PIECE_BYTES) -> bytes:
        """Take what has come, at least one byte; none at the end."""
        self.peek(1)
        return self.take(min(most, len(self._held) - self._at))

    def skip(self, size: int) -> int:
        """Take bytes that are of no use, however many; return how many there were."""
        left = size
        while left > 0 and (data := self.some(left)):
            left -= len(data)
        return size - left

    def skip_tags(self) -> bool:
        """Take ID3v2 tags, which may hold a picture of many megabytes; tell if there were any."""
        is_there = False
        while (head := self.peek(10))[:3] == b"ID3" and len(head) == 10:
            size = 0
            for byte in head[6:]:
                size = size << 7 | byte & 0x7F
            self.skip(10 + size + (10 if head[5] & 0x10 else 0))
            is_there = True
        return is_there

    def until(self, markers: tuple[bytes, ...]) -> Iterator[bytes]:
        """Take all bytes before the first of some markers, or to the end but for an ID3v1 tag."""
        margin = max(TAG_BYTES, *map(len, markers))
        while data := self.peek(margin + 1):
            # The last bytes wait: a marker may be cut, and a tag shows only at the end.
            is_end = len(data) <= margin
            data = self.peek(len(self._held) - self._at)
            found = min((at for m in markers if (at := data.find(m)) >= 0), default=-1)
            if found >= 0:
                if found:
                    yield self.take(found)
                return
            if not is_end:
                yield self.take(len(data) - margin)
                continue
            if data[-TAG_BYTES:].startswith(b"TAG"):
                data = data[:-TAG_BYTES]
            self.take(margin)
            if data:
                yield data
            return
