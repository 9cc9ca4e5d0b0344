"""Sound files with damaged headers and data."""

import io
import struct
from collections.abc import Sequence
from random import Random

import numpy as np
import soundfile

from fuzz import check_message, scratch
from ser_live import SerError
from ser_live.sources import FileSource

FORMATS = (
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("WAVEX", "PCM_24"),
    ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"), ("AU", "ULAW"), ("CAF", "ALAC_16"), ("W64", "PCM_16"), ("RF64", "PCM_16"),
    ("NIST", "PCM_16"), ("VOC", "PCM_U8"), ("MAT5", "FLOAT"), ("SVX", "PCM_16"), ("XI", "DPCM_16"),
    ("SDS", "PCM_16"), ("AVR", "PCM_16"), ("PVF", "PCM_16"), ("IRCAM", "FLOAT"), ("HTK", "PCM_16"),
)  # fmt: skip
LONGEST_BYTES = 6000
"""More is slow, mostly because the MP3 decoder tells of each frame that it cannot read."""
NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)


def check(data: bytes) -> None:
    path = scratch("input.bin")
    path.write_bytes(data)
    frames = 0
    try:
        with FileSource(path) as source:
            for block in source:
                frames += len(block.samples)
                assert block.samples.shape[1] == source.channels
                if frames * source.channels > 2**24:
                    source.close()  # a small file of compressed silence may be hours long
            assert source.counters.processed == frames
    except SerError as error:
        check_message(error)


def seeds() -> list[bytes]:
    random = np.random.default_rng(0)
    made = []
    for container, subtype in FORMATS:
        channels = 1 if container in ("SVX", "XI", "SDS", "HTK") else 2
        rate = 48000 if subtype == "OPUS" else 16000
        file = io.BytesIO()
        samples = random.normal(0, 0.1, (400, channels))
        soundfile.write(file, samples, rate, format=container, subtype=subtype)
        made.append(file.getvalue())
    return made


def mutate(data: bytes, random: Random) -> bytes:
    """Change numbers, mostly in the header, cut pieces out or double them."""
    changed = bytearray(data[:LONGEST_BYTES])
    for _ in range(random.choice((1, 1, 2, 4))):
        at = _place(changed, random)
        what = random.random()
        if what < 0.5:
            pack = random.choice(("<H", ">H", "<I", ">I"))
            number = random.choice(NUMBERS) & (0xFFFF if pack[1] == "H" else 0xFFFFFFFF)
            struct.pack_into(pack, changed, min(at, len(changed) - 4), number)
        elif what < 0.75:
            changed[at] ^= 1 << random.randrange(8)
        elif what < 0.85:
            del changed[at : at + random.choice((1, 2, 4, 100))]
        else:
            end = at + random.choice((4, 8, 64))
            changed[at:at] = changed[at:end]
    return bytes(changed)


def _place(data: Sequence[int], random: Random) -> int:
    header = random.random() < 0.8
    return random.randrange(min(len(data), 120) if header else len(data))
