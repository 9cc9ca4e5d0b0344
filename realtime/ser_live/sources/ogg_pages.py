"""Pages of Ogg (RFC 3533): streams in a chain, damaged pages, and a last page for decoders."""

import struct
import zlib

from ser_live.sources.byte_feed import END, MOST_JUNK_BYTES, PIECE_BYTES, Account, ByteFeed, Parts

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg_parts(feed: ByteFeed, account: Account) -> Parts:
    """Yield the pages of a chain that are undamaged."""
    flags, junk_bytes = 2, 0  # flags of the last page: 2 begins a stream, 4 ends it
    while head := feed.peek(27):
        size = 27 + head[26] + sum(feed.peek(27 + head[26])[27:]) if len(head) == 27 else 0
        page = feed.peek(size)
        is_cut = len(page) < size
        if page[:4] != b"OggS" or not (is_cut or page[22:26] == _checksum(page)):
            data = feed.peek(PIECE_BYTES)
            found = data.find(b"OggS", 1)
            junk_bytes += len(feed.take(found if found > 0 else max(1, len(data) - 3)))
            if junk_bytes > MOST_JUNK_BYTES:
                account.junk_bytes += junk_bytes + feed.skip(END)
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


def last_ogg_page(serial: bytes) -> bytes:
    """Return an empty page that ends a stream of this serial number after any length."""
    head = b"OggS\0\4" + struct.pack("<Q", END) + serial + struct.pack("<II", 1 << 20, 0) + b"\0"
    return head[:22] + _checksum(head) + head[26:]


def _checksum(page: bytes) -> bytes:
    # Ogg counts bits from the other end than zlib does.
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(_MIRRORED)
    checksum = zlib.crc32(mirrored, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return struct.pack("<I", int(f"{checksum:032b}"[::-1], 2))
