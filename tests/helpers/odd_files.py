"""Odd audio files: every container, codec and fault of a header that can be made here.

``odd_files.txt`` says how each is made, of three seconds of the demo voice.
"""

import functools
import io
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from helpers.signals import demo_voice

RATE_HZ = 16000
SECONDS = 3.0
RECIPES = {
    line.split()[0]: line.split()[1:]
    for line in Path(__file__).with_suffix(".txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
}


@functools.cache
def made(name: str) -> bytes:
    """Return the bytes of a file by its name."""
    maker, *arguments = RECIPES[name]
    if maker == "libsndfile":
        container, subtype, rate_hz, channels = arguments
        return written(container, subtype, int(rate_hz), int(channels))
    if maker in ("ffmpeg", "sox"):
        return encoded(name, maker, arguments)
    data = made(maker)
    for step, *values in map(str.split, " ".join(arguments).split(" ; ")):
        data = changed(data, step, *values)
    return data


@functools.cache
def master() -> NDArray[np.float32]:
    """Two utterances of the demo voice, so that a missing part shows; in steps of 16 bits."""
    halves = [demo_voice(RATE_HZ, SECONDS / 2, start) for start in (5.5, 16.0)]
    return (np.round(np.concatenate(halves) * 32767) / 32768).astype(np.float32)


def written(container: str, subtype: str, rate_hz: int = RATE_HZ, channels: int = 1) -> bytes:
    """Return the voice as libsndfile writes it; each channel is quieter than the one before."""
    voice = soxr.resample(master(), RATE_HZ, rate_hz)
    samples = np.stack([voice / 2**channel for channel in range(channels)], axis=1)
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, subtype, format=container)
    return file.getvalue()


def encoded(name: str, program: str, arguments: list[str]) -> bytes:
    """Return the voice as a program writes it, into a file or ``-`` a pipe."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "voice.wav").write_bytes(made("wav-base.wav"))
        options = ["-v", "error", "-bitexact", "-i"] if program == "ffmpeg" else []
        is_piped = arguments[-1:] == ["-"]
        command = [program, *options, "voice.wav", *arguments, *[name] * (not is_piped)]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return done.stdout if is_piped else Path(folder, name).read_bytes()


def changed(data: bytes, step: str, *values: str) -> bytes:  # noqa: PLR0911 - one for each step
    """Return a file after one step of its recipe."""
    match step, *values:
        case "put", at, form, value:
            place = place_of(data, at)
            new = struct.pack(form, int(value, 0))
            return data[:place] + new + data[place + len(new) :]
        case "cut", share, *more:
            return data[: int(len(data) * float(share)) + sum(map(int, more))]
        case "cut-at", mark:
            return data[: data.rindex(mark.encode())]
        case "drop", size:
            return data[int(size) :]
        case ("drop-frame",):  # the first of an MP3 holds no sound but the header of Xing
            return data[data.index(data[:2], 200) :]
        case "swap", old, new:
            return data.replace(old.encode(), new.encode(), 1)
        case ("sums",):
            return b"".join(map(with_sum, data.split(b"OggS")[1:]))
        case "only", thing:
            return things(thing)
        case "front", thing:
            return things(thing) + data
        case "behind", thing:
            return data + things(thing)
        case "before", mark, thing:
            place = data.index(mark.encode())
            return data[:place] + things(thing) + data[place:]
        case "middle" | "over", thing:
            half, new = len(data) // 2, things(thing)
            return data[:half] + new + data[half + (len(new) if step == "over" else 0) :]
    raise ValueError(step)


def place_of(data: bytes, at: str) -> int:
    """Return a place: a number, or so many bytes behind the first or the last mark."""
    mark, _, offset = at.rpartition("+")
    if mark.startswith("last:"):
        return data.rindex(mark[5:].encode()) + int(offset)
    return (data.index(mark.encode()) if mark else 0) + int(offset)


def things(told: str) -> bytes:  # noqa: PLR0911 - one for each kind
    """Return what is put into a file, by its kind and its size."""
    match told.split(":", 2):
        case "zeros", size:
            return bytes(int(size))
        case "noise", size:
            return np.random.default_rng(0).bytes(int(size))
        case "text", text:
            return text.encode()
        case "file", name:
            return made(name)
        case "chunk", name, size:
            return name.replace("_", " ").encode() + struct.pack("<I", int(size)) + bytes(int(size))
        case "id3", size:  # a picture, which looks like frames of MP3
            picture = b"\xff\xfb\x90\x64" * (int(size) // 4)
            frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
            digits = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
            return b"ID3\3\0\0" + digits + frame
        case ["id3v1"]:
            return b"TAG" + bytes(125)
        case ["ape"]:
            return b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, 0x80000000)
    raise ValueError(told)


def with_sum(page: bytes) -> bytes:
    """Return a page of Ogg with its marker and a right checksum."""
    page, check = b"OggS" + page[:18] + bytes(4) + page[22:], 0
    for byte in page:
        check ^= byte << 24
        for _ in range(8):
            check = (check << 1 ^ (0x04C11DB7 if check >> 31 else 0)) & 0xFFFFFFFF
    return page[:22] + struct.pack("<I", check) + page[26:]
