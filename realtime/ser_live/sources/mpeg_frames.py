"""Frames of MPEG audio (ISO 11172-3 and 13818-3), told from what lies between them."""

import re
import struct
from dataclasses import dataclass

from ser_live.sources.byte_feed import (
    END,
    MOST_JUNK_BYTES,
    PIECE_BYTES,
    TAG_BYTES,
    Account,
    ByteFeed,
    Parts,
)

MPEG_BYTES = 4400
"""Longest that three frames may be."""

# kbit/s by version 1 or not, and layer
_KBIT_S = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = (44100, 48000, 32000)
_MARK = re.compile(
    rb"\xff[\xe2-\xff][\x10-\x1b\x20-\x2b\x30-\x3b\x40-\x4b\x50-\x5b\x60-\x6b\x70-\x7b"
    rb"\x80-\x8b\x90-\x9b\xa0-\xab\xb0-\xbb\xc0-\xcb\xd0-\xdb\xe0-\xeb]|ID3|TAG"
)


def mpeg_parts(feed: ByteFeed, account: Account) -> Parts:
    """Yield frames alone: decoders give up at what lies between them, and estimate lengths."""
    kind, is_in_step, junk_bytes = b"", False, 0
    data_bytes, frames_left = 0, None  # since the last break; of those that a tag claims
    while head := feed.peek(4):
        size, own_kind = _frame_bytes(head), _kind(head)
        is_frame = size > 0 and (
            (is_in_step and own_kind == kind) or _kind(feed.peek(size + 4)[size:]) == own_kind
        )
        if not is_frame:
            is_in_step = False
            data_bytes = 0
            if feed.skip_tags():
                continue
            if head[:3] == b"TAG":
                feed.skip(TAG_BYTES)
                continue
            data = feed.peek(PIECE_BYTES)
            found = _MARK.search(data, 1)
            junk_bytes += len(feed.take(found.start() if found else max(1, len(data) - 2)))
            if junk_bytes > MOST_JUNK_BYTES:
                account.junk_bytes += junk_bytes + feed.skip(END)
                return
            continue
        frame = feed.take(size)
        tag = _tag(frame)
        if kind and (own_kind != kind or tag is not None or frames_left == 0):
            yield None
            data_bytes, frames_left = 0, None
        account.junk_bytes += junk_bytes if kind else 0
        account.missing_bytes += size - len(frame)
        kind, is_in_step, junk_bytes = own_kind, True, 0
        side_at, side_bytes, begins_before = _side(frame)
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
    at, kind = 0, _kind(data)
    for _ in range(3):
        size = _frame_bytes(data[at : at + 4])
        if size == 0 or _kind(data[at:]) != kind:
            return False
        at += size
    return True


def has_mpeg(data: bytes) -> bool:
    """Return whether MPEG audio begins here, or behind what does not belong to it."""
    at = data.find(b"\xff")
    while at >= 0 and not is_mpeg(data[at : at + MPEG_BYTES]):
        at = data.find(b"\xff", at + 1)
    return at >= 0


def _frame_bytes(head: bytes) -> int:
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


def _kind(head: bytes) -> bytes:
    """Return what all headers of a stream share: version, layer and rate."""
    return bytes([head[0], head[1] & 0xFE, head[2] & 0x0C]) if len(head) >= 3 else b""


def _side(frame: bytes) -> tuple[int, int, int]:
    """Return where the side information of a frame lies, its length, and the reservoir it needs.

    The reservoir are bytes of data in the frames before; only layer 3 has one.
    """
    is_mono, is_first_version = frame[3] >= 0xC0, frame[1] & 8
    at = 4 if frame[1] & 1 else 6
    size = (17 if is_mono else 32) if is_first_version else (9 if is_mono else 17)
    begin = int.from_bytes(frame[at : at + 2].ljust(2, b"\0")) >> (7 if is_first_version else 8)
    return at, size, begin if frame[1] & 6 == 2 else 0


@dataclass(frozen=True, slots=True)
class _Tag:
    """Frame in which an encoder tells of those that follow."""

    frame: bytes
    """With the length in bytes that `ForwardBytes` has: mpg123 complains if they differ."""
    frames: int
    """As many follow; 0: it does not tell."""


def _tag(frame: bytes) -> _Tag | None:
    at = 4 + _side(frame)[1]
    if frame[at : at + 4] not in {b"Xing", b"Info"}:
        return None
    flags, frames = struct.unpack_from(">II", frame.ljust(at + 12, b"\0"), at + 4)
    if flags & 2:
        size_at = at + 8 + 4 * (flags & 1)
        frame = frame[:size_at] + struct.pack(">I", END) + frame[size_at + 4 :]
    return _Tag(frame, frames if flags & 1 else 0)
