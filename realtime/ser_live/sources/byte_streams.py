"""Streams in audio files that are read on, cleaned of the counts that their headers claim.

So a decoder decodes to the end of the data; what may be trusted is kept for the account.
"""

import struct

from ser_live.sources.byte_feed import (
    LENGTH_UNKNOWN,
    MOST_CHUNKS,
    PIECE_BYTES,
    Account,
    ByteFeed,
    Parts,
    wav_head,
)
from ser_live.sources.containers import HEAD_BYTES, container_of
from ser_live.sources.mpeg_frames import MPEG_BYTES, has_mpeg, is_mpeg, mpeg_parts
from ser_live.sources.ogg_pages import ogg_parts

_PLAIN_CODECS = (1, 3, 6, 7, 0xFFFE)  # PCM, float, A-law, mu-law, extensible
_MPEG_CODECS = (0x50, 0x55)
_FLAC_STREAM = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")


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
        return ogg_parts(feed, account)
    # A pipe from a microphone is slow: no more is waited for than is needed.
    if name is None and (is_mpeg(feed.peek(MPEG_BYTES)) or has_mpeg(feed.peek(PIECE_BYTES))):
        return mpeg_parts(feed, account)
    return None


def _wav(feed: ByteFeed, account: Account) -> Parts:
    """Yield the format and the samples; other chunks are left out."""
    feed.skip(12)
    head, form = b"", b""
    for _ in range(MOST_CHUNKS):
        head = feed.take(8)
        if len(head) < 8 or head[:4] == b"data":
            break
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"fmt " and size <= PIECE_BYTES:
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
        yield from mpeg_parts(feed, account)
        if is_known:
            account.missing_bytes += max(0, size - (feed.taken_bytes - before))
        return
    if codec not in _PLAIN_CODECS:
        return  # decoders of coded blocks go on where the data have ended
    block_bytes = block_bytes or max(1, channels * (bits // 8))
    form += bytes(len(form) % 2)
    most = size if is_known else LENGTH_UNKNOWN // block_bytes * block_bytes
    while True:
        yield wav_head(form)
        left = most
        while left and (data := feed.some(min(left, PIECE_BYTES))):
            left -= len(data)
            account.given_bytes += len(data)
            yield data
        account.missing_bytes += left if is_known else 0
        if is_known:
            yield from _wav_behind(feed, account, size % 2)
            return
        if not feed.peek(1):
            return
        yield None  # a decoder can be told of no more than that: another one goes on


def _wav_behind(feed: ByteFeed, account: Account, padding_bytes: int) -> Parts:
    """Yield the streams of a WAV that follows behind the chunks of another one."""
    feed.skip(padding_bytes)
    for _ in range(MOST_CHUNKS):
        head = feed.peek(HEAD_BYTES)
        if container_of(head) == "WAV":
            yield None
            yield from _wav(feed, account)
        if len(head) < 8 or container_of(head):
            return
        feed.skip(8 + (size := int.from_bytes(head[4:8], "little")) + size % 2)


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
