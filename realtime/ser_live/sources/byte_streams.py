"""Bytes of audio files on their way to the decoder: read on, cleaned, told where streams end.

A decoder is given no count that a header claims, so that it decodes to the end of the data:
lengths in headers are hidden, and those that may be trusted are kept for the account.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ser_live.errors import SerError
from ser_live.sources.containers import HEAD_BYTES, container_of

Parts = Iterator[bytes | None]
"""Bytes of a stream, piece by piece; None: the stream ends, and another one follows."""

MPEG_BYTES = 4400
"""Longest that three frames of MPEG audio may be."""

_PIECE_BYTES = 1 << 16
_END = (1 << 32) - 1
_TAG_BYTES = 128  # ID3v1, at the very end

# From here on, what programs write into a pipe as the length that they do not know yet.
LENGTH_UNKNOWN = 0x7F000000
_PLAIN_CODECS = (1, 3, 6, 7, 0xFFFE)  # PCM, float, A-law, mu-law, extensible
_MPEG_CODECS = (0x50, 0x55)
_MPEG_MARK = re.compile(
    rb"\xff[\xe2-\xff][\x10-\x1b\x20-\x2b\x30-\x3b\x40-\x4b\x50-\x5b\x60-\x6b\x70-\x7b"
    rb"\x80-\x8b\x90-\x9b\xa0-\xab\xb0-\xbb\xc0-\xcb\xd0-\xdb\xe0-\xeb]|ID3|TAG"
)
_MOST_CHUNKS = 10_000
_MOST_JUNK_BYTES = 1 << 18  # at a stretch: what may go on behind it is not worth hours of search

_FLAC_STREAM = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")

# MPEG audio (ISO 11172-3 and 13818-3): kbit/s by version 1 or not, and layer.
_KBIT_S = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_RATES_HZ = (44100, 48000, 32000)


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
        while len(self._held) - self._at < size and (data := self._read(_PIECE_BYTES)):
            self._held = self._held[self._at :] + data
            self._at = 0
        return self._held[self._at : self._at + size]

    def take(self, size: int) -> bytes:
        """Take the next bytes, fewer at the end."""
        data = self.peek(size)
        self._at += len(data)
        self.taken_bytes += len(data)
        return data

    def some(self, most: int = _PIECE_BYTES) -> bytes:
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
        margin = max(_TAG_BYTES, *map(len, markers))
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
            if data[-_TAG_BYTES:].startswith(b"TAG"):
                data = data[:-_TAG_BYTES]
            self.take(margin)
            if data:
                yield data
            return


def streams_of(feed: ByteFeed, account: Account) -> Parts | None:
    """Return the streams of a container that is read on; None: it is none of these."""
    feed.skip_tags()
    head = feed.peek(HEAD_BYTES)
    name = container_of(head)
    if name == "WAV":
        return _wav(feed, account)
    if name == "FLAC":
        return _flac(feed, account)
    if name == "Ogg":
        return _ogg(feed, account)
    # A pipe from a microphone is slow: no more is waited for than is needed.
    if name is None and (is_mpeg(feed.peek(MPEG_BYTES)) or _has_mpeg(feed.peek(_PIECE_BYTES))):
        return _mpeg(feed, account)
    return None


def _wav(feed: ByteFeed, account: Account) -> Parts:
    """Yield the format and the samples; other chunks are left out."""
    feed.skip(12)
    head, form = b"", b""
    for _ in range(_MOST_CHUNKS):
        head = feed.take(8)
        if len(head) < 8 or head[:4] == b"data":
            break
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"fmt " and size <= _PIECE_BYTES:
            form = feed.take(size)
        else:
            feed.skip(size)
        feed.skip(size % 2)
    if head[:4] != b"data" or len(head) < 8 or len(form) < 16:
        return
    size = int.from_bytes(head[4:], "little")
    is_known = 0 < size < LENGTH_UNKNOWN
    codec, channels, block_bytes, bits = struct.unpack_from("<HH8xHH", form)
    if codec in _MPEG_CODECS:
        before = feed.taken_bytes
        yield from _mpeg(feed, account)
        if is_known:
            account.missing_bytes += max(0, size - (feed.taken_bytes - before))
        return
    if codec not in _PLAIN_CODECS:
        return  # decoders of coded blocks go on where the data have ended
    block_bytes = block_bytes or max(1, channels * (bits // 8))
    form += bytes(len(form) % 2)
    header = (
        b"RIFF"
        + struct.pack("<I", _END)
        + b"WAVEfmt "
        + struct.pack("<I", len(form))
        + form
        + b"data"
        + struct.pack("<I", _END)
    )
    most = size if is_known else LENGTH_UNKNOWN // block_bytes * block_bytes
    while True:
        yield header
        left = most
        while left and (data := feed.some(min(left, _PIECE_BYTES))):
            left -= len(data)
            account.given_bytes += len(data)
            yield data
        account.missing_bytes += left if is_known else 0
        if is_known or not feed.peek(1):
            return
        yield None  # a decoder can be told of no more than that: another one goes on


def _flac(feed: ByteFeed, account: Account) -> Parts:
    """Yield streams without the number of samples that each of them claims."""
    while feed.peek(4) == b"fLaC":
        head = bytearray(feed.take(26))
        if len(head) == 26:
            account.claimed_frames += (head[21] & 0x0F) << 32 | int.from_bytes(head[22:])
            head[21:] = bytes([head[21] & 0xF0, 0, 0, 0, 0])
        yield bytes(head)
        yield from feed.until(_FLAC_STREAM)
        if feed.peek(1):
            yield None


def _ogg(feed: ByteFeed, account: Account) -> Parts:
    """Yield the pages of a chain that are undamaged."""
    flags, junk_bytes = 2, 0  # flags of the last page: 2 begins a stream, 4 ends it
    while head := feed.peek(27):
        size = 27 + head[26] + sum(feed.peek(27 + head[26])[27:]) if len(head) == 27 else 0
        page = feed.peek(size)
        is_cut = len(page) < size
        if page[:4] != b"OggS" or not (is_cut or page[22:26] == _ogg_checksum(page)):
            data = feed.peek(_PIECE_BYTES)
            found = data.find(b"OggS", 1)
            junk_bytes += len(feed.take(found if found > 0 else max(1, len(data) - 3)))
            if junk_bytes > _MOST_JUNK_BYTES:
                account.junk_bytes += junk_bytes + feed.skip(_END)
                return
            continue
        if page[5] & 2 and not flags & 2:
            account.is_cut |= not flags & 4
            yield None
        yield feed.take(size)
        account.junk_bytes += junk_bytes
        account.given_bytes += len(page)
        flags, junk_bytes = 0 if is_cut else page[5], 0
    account.is_cut |= not flags & 4


def _mpeg(feed: ByteFeed, account: Account) -> Parts:
    """Yield frames alone: decoders give up at what lies between them, and estimate lengths."""
    kind, is_in_step, junk_bytes = b"", False, 0
    data_bytes, frames_left = 0, None  # since the last break; of those that a tag claims
    while head := feed.peek(4):
        size, own_kind = _mpeg_frame_bytes(head), _mpeg_kind(head)
        is_frame = size > 0 and (
            (is_in_step and own_kind == kind) or _mpeg_kind(feed.peek(size + 4)[size:]) == own_kind
        )
        if not is_frame:
            is_in_step = False
            data_bytes = 0
            if feed.skip_tags():
                continue
            if head[:3] == b"TAG":
                feed.skip(_TAG_BYTES)
                continue
            data = feed.peek(_PIECE_BYTES)
            found = _MPEG_MARK.search(data, 1)
            junk_bytes += len(feed.take(found.start() if found else max(1, len(data) - 2)))
            if junk_bytes > _MOST_JUNK_BYTES:
                account.junk_bytes += junk_bytes + feed.skip(_END)
                return
            continue
        frame = feed.take(size)
        tag = _mpeg_tag(frame)
        if kind and (own_kind != kind or tag is not None or frames_left == 0):
            yield None
            data_bytes, frames_left = 0, None
        account.junk_bytes += junk_bytes if kind else 0
        account.missing_bytes += size - len(frame)
        kind, is_in_step, junk_bytes = own_kind, True, 0
        side_at, side_bytes, begins_before = _mpeg_side(frame)
        # A frame may begin in those before it. Without them a decoder only complains: silence
        # instead, which hands what there is on to the next frame.
        if tag is None and begins_before > data_bytes:
            begin = min(data_bytes, 511) << 7 if frame[1] & 8 else min(data_bytes, 255) << 8
            side = begin.to_bytes(2).ljust(side_bytes, b"\0")
            frame = frame[:side_at] + side + frame[side_at + side_bytes :]
            account.junk_bytes += size
        if len(frame) == size:
            account.given_bytes += size
            yield frame if tag is None else tag.frame
        data_bytes += size - side_at - side_bytes
        if tag is not None:
            account.has_claim = tag.frames > 0
        frames_left = (tag.frames or None) if tag is not None else frames_left and frames_left - 1


def is_mpeg(data: bytes) -> bool:
    """Return whether MPEG audio begins here: three headers that agree, at their distances.

    Parameters
    ----------
    data : bytes
        As many as `MPEG_BYTES` tell it surely.
    """
    at, kind = 0, _mpeg_kind(data)
    for _ in range(3):
        size = _mpeg_frame_bytes(data[at : at + 4])
        if size == 0 or _mpeg_kind(data[at:]) != kind:
            return False
        at += size
    return True


def _has_mpeg(data: bytes) -> bool:
    """Return whether MPEG audio begins here, or behind what does not belong to it."""
    at = data.find(b"\xff")
    while at >= 0 and not is_mpeg(data[at : at + MPEG_BYTES]):
        at = data.find(b"\xff", at + 1)
    return at >= 0


def _mpeg_frame_bytes(head: bytes) -> int:
    """Return the length of the frame of MPEG audio that begins so; 0: none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bit_rate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or bit_rate in {0, 15} or rate == 3:
        return 0
    bits = 1000 * _KBIT_S[version == 3, layer][bit_rate - 1]
    rate_hz = _RATES_HZ[rate] >> (0 if version == 3 else 1 if version == 2 else 2)
    if layer == 1:
        return (12 * bits // rate_hz + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits // rate_hz + padding


def _mpeg_kind(head: bytes) -> bytes:
    """Return what all headers of a stream share: version, layer and rate."""
    return bytes([head[0], head[1] & 0xFE, head[2] & 0x0C]) if len(head) >= 3 else b""


def _mpeg_side(frame: bytes) -> tuple[int, int, int]:
    """Return where the side information of a frame lies, its length, and the reservoir it needs.

    The reservoir are bytes of data in the frames before; only layer 3 has one.
    """
    is_mono, is_first_version = frame[3] >= 0xC0, frame[1] & 8
    at = 4 if frame[1] & 1 else 6
    size = (17 if is_mono else 32) if is_first_version else (9 if is_mono else 17)
    begin = int.from_bytes(frame[at : at + 2].ljust(2, b"\0")) >> (7 if is_first_version else 8)
    return at, size, begin if frame[1] & 6 == 2 else 0


@dataclass(frozen=True, slots=True)
class _MpegTag:
    """Frame in which an encoder tells of those that follow."""

    frame: bytes
    """With the length in bytes that `ForwardBytes` has: mpg123 complains if they differ."""
    frames: int
    """As many follow; 0: it does not tell."""


def _mpeg_tag(frame: bytes) -> _MpegTag | None:
    at = 4 + _mpeg_side(frame)[1]
    if frame[at : at + 4] not in {b"Xing", b"Info"}:
        return None
    flags, frames = struct.unpack_from(">II", frame.ljust(at + 12, b"\0"), at + 4)
    if flags & 2:
        size_at = at + 8 + 4 * (flags & 1)
        frame = frame[:size_at] + struct.pack(">I", _END) + frame[size_at + 4 :]
    return _MpegTag(frame, frames if flags & 1 else 0)


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
    error : Exception or None
        Fault of the parts: callbacks of libsndfile must not raise.
    """

    def __init__(self, parts: Parts) -> None:
        self.is_over = self.is_last = False
        self.error: Exception | None = None
        self._parts = parts
        self._held = b""
        self._start = 0  # position of the first byte that is held
        self._position = 0
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
        self._pull(1)
        return not self._held

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position and return it."""
        self._position = offset + (0, self._position, _END)[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer and return the number of bytes, fewer at the end of the parts."""
        start, size = self._position, len(buffer)
        if start > self._start + len(self._held) + _PIECE_BYTES:
            data = self._far(start, size)
        else:
            self._pull(start + size - self._start)
            data = self._held[start - self._start :][:size]
        buffer[: len(data)] = data
        self._position += len(data)
        if self._is_begun and start - self._start > _PIECE_BYTES:
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
            pieces.append(part or b"")
            held += len(pieces[-1])
        self._held = b"".join(pieces)

    def _far(self, start: int, size: int) -> bytes:
        """Return zeros and, at the very end, a last page where an Ogg decoder looks for one."""
        data = bytearray(max(0, min(size, _END - start)))
        page = _last_ogg_page(self._held[14:18]) if self._held[:4] == b"OggS" else b""
        first = max(start, _END - len(page))
        data[first - start :] = page[first - _END + len(page) :][: len(data) - (first - start)]
        return bytes(data)


def _last_ogg_page(serial: bytes) -> bytes:
    """Return an empty page that ends a stream of this serial number after any length (RFC 3533)."""
    head = b"OggS\0\4" + struct.pack("<Q", _END) + serial + struct.pack("<II", 1 << 20, 0) + b"\0"
    return head[:22] + _ogg_checksum(head) + head[26:]


def _ogg_checksum(page: bytes) -> bytes:
    # Ogg counts bits from the other end than zlib does.
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(_MIRRORED)
    checksum = zlib.crc32(mirrored, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return struct.pack("<I", int(f"{checksum:032b}"[::-1], 2))


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
        for _ in range(_MOST_CHUNKS):
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
