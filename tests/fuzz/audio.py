"""Sound files with damaged headers and data."""

import io

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


def check(data: bytes) -> None:
    path = scratch("input.bin")
    path.write_bytes(data[:LONGEST_BYTES])
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
    """Return short files, so that most changes hit a header."""
    random = np.random.default_rng(0)
    made = []
    for container, subtype in FORMATS:
        channels = 1 if container in ("SVX", "XI", "SDS", "HTK") else 2
        rate = 48000 if subtype == "OPUS" else 16000
        file = io.BytesIO()
        samples = random.normal(0, 0.1, (40, channels))
        soundfile.write(file, samples, rate, format=container, subtype=subtype)
        made.append(file.getvalue())
    return made
