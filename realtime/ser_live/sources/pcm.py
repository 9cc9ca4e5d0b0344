"""Formats of raw samples: integers and floats in either byte order, and G.711."""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.stream_protocol import SAMPLE_BYTES, SampleFormat

_G711 = ("mulaw", "alaw")


def decode_samples(data: bytes, sample_format: SampleFormat) -> NDArray[Any]:
    """Turn bytes into samples, shape (n,): int16 of s16le, else float32, 1 being full scale.

    Each is the value that a WAV file of the same samples gives.

    Parameters
    ----------
    data : bytes
        Whole samples.
    sample_format : str
        Their format.
    """
    if sample_format == "s16le":
        return np.frombuffer(data, "<i2").astype(np.int16, copy=False)
    if sample_format in _G711:
        return _g711_values(sample_format)[np.frombuffer(data, np.uint8)]
    kind, order = sample_format[0], ">" if sample_format.endswith("be") else "<"
    if kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):  # the reader tells
            floats = np.frombuffer(data, f"{order}f{SAMPLE_BYTES[sample_format]}")
            return floats.astype(np.float32)
    # The bytes of all widths become the upper ones of 32 bits.
    raw = np.frombuffer(data, np.uint8).reshape(-1, SAMPLE_BYTES[sample_format])
    wide = np.zeros((len(raw), 4), np.uint8)
    wide[:, 4 - raw.shape[1] :] = raw[:, ::-1] if order == ">" else raw
    if kind == "u":
        wide ^= np.array([0, 0, 0, 0x80], np.uint8)
    return wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2.0**31)


@functools.cache
def _g711_values(law: str) -> NDArray[np.float32]:
    """Return the value of each byte, by ITU-T G.711."""
    code = np.arange(256) ^ (0xFF if law == "mulaw" else 0x55)
    segment, step = code >> 4 & 7, code & 15
    if law == "mulaw":
        size = ((step << 3) + 132 << segment) - 132
    else:
        size = np.where(segment, (step << 4) + 264 << np.maximum(segment, 1) - 1, (step << 4) + 8)
    is_positive = code & 0x80 == (0 if law == "mulaw" else 0x80)
    return (np.where(is_positive, size, -size) / 32768).astype(np.float32)
