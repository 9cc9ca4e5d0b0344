"""Doors of the product through which odd files go, and what ffmpeg makes of the same file."""

import contextlib
import functools
import io
import logging
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from helpers.odd_files import RATE_HZ, SECONDS, master
from ser_live import SerError
from ser_live.sources import FileSource
from ser_live.sources.audio_reader import AudioReader
from ser_train.audio import read_audio


@dataclass(frozen=True)
class Heard:
    """Audio that came through a door."""

    rate_hz: int
    samples: NDArray[np.float32]
    """Shape (frames, channels); the upload tells their number only, as zeros."""
    word: str = ""
    """The note, or the line of the refusal."""

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate_hz


NOTHING = Heard(1, np.zeros((0, 1), np.float32))

_RULES = [
    line.split(None, 4)
    for line in Path(__file__).with_name("odd_outcomes.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]
_VOICES = {"voice": (1, "whole"), "voice-twice": (2, "whole")}

Door = Callable[[Path], Heard]


def of_ffmpeg(path: Path) -> Heard:
    """Return what ffmpeg decodes at the file's own rate and channels."""
    options = "-vn -c:a pcm_f32le -f wav -"
    command = ["ffmpeg", "-v", "error", "-i", str(path), *options.split()]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if not done.stdout:
        return NOTHING
    samples, rate_hz = soundfile.read(io.BytesIO(done.stdout), dtype="float32", always_2d=True)
    return Heard(rate_hz, samples)


def by_file(path: Path) -> Heard:
    with FileSource(path) as source:
        blocks = [block.samples for block in source]
        return Heard(source.sample_rate_hz, np.concatenate(blocks), "; ".join(source.notes))


def by_training(path: Path) -> Heard:
    told = logging.StreamHandler(io.StringIO())
    logging.getLogger("ser_train.audio").addHandler(told)
    try:
        return Heard(16000, read_audio(path)[:, np.newaxis], told.stream.getvalue().strip())
    finally:
        logging.getLogger("ser_train.audio").removeHandler(told)


def by_upload(server: Any, path: Path) -> Heard:
    answer = server.post(path.read_bytes())
    told = answer.json()
    if answer.status_code != 200:
        raise SerError(told["detail"])
    rate_hz = told["sample_rate_hz"]
    silence = np.zeros((round(told["seconds"] * rate_hz), told["channels"]), np.float32)
    return Heard(rate_hz, silence, "; ".join(told["notes"]))


class _Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation


def by_pipe(path: Path) -> Heard:
    with AudioReader(_Pipe(path.read_bytes()), path.name) as reader:
        blocks = [reader.read(4000)]
        while len(blocks[-1]):
            blocks.append(reader.read(4000))
        return Heard(reader.sample_rate_hz, np.concatenate(blocks), "; ".join(reader.notes))


def doors(server: Any = None) -> dict[str, Door]:
    """Return the doors by name; that of uploads, if a server runs."""
    upload = {"upload": functools.partial(by_upload, server)} if server else {}
    return {"file": by_file, **upload, "training": by_training, "pipe": by_pipe}


@contextlib.contextmanager
def streams_of_decoders() -> Iterator[list[str]]:
    """Gather what is written to file descriptors 1 and 2, past Python, into the list."""
    told: list[str] = []
    with tempfile.TemporaryFile() as file, contextlib.ExitStack() as stack:
        for number in (1, 2):
            own = os.dup(number)
            stack.callback(os.close, own)
            stack.callback(os.dup2, own, number)
            os.dup2(file.fileno(), number)
        yield told
        file.seek(0)
        told += file.read().decode(errors="replace").splitlines()


@dataclass(frozen=True)
class Expected:
    """Seconds that are to be heard, and the outcomes that are right."""

    truth: Heard
    by_file: str
    by_pipe: str
    why: str = ""
    """The outcomes are not simply what ffmpeg hears."""
    padding_seconds: float = 0.0
    """Decoders may differ by so much at the ends."""

    def by(self, door: str) -> str:
        """Return the outcome of a door."""
        outcome = self.by_pipe if door == "pipe" else self.by_file
        if outcome == "media":
            return "whole" if door == "file" and len(self.truth.samples) else "refused"
        return outcome


def judge(heard: Heard, truth: Heard, padding_seconds: float, is_damaged: bool) -> str:
    """Return "whole", "told" (whole, with a note), "part", "refused", or what is wrong in words."""
    is_told = bool(re.search(r"\d s\b", heard.word))
    if not len(heard.samples):
        return "refused" if heard.word else "nothing, without a word"
    if is_damaged and is_told:
        return "damaged"
    off = heard.seconds - truth.seconds
    if abs(off) > padding_seconds + 1 / 15999:  # resampling rounds
        return "part" if off < 0 and is_told else f"{off:+.3f} s, {heard.word or 'without a word'}"
    if heard.samples.any():
        error = difference(heard, truth, padding_seconds)
        if not error < (0.25 if padding_seconds else 1e-4):
            return f"differs by {error:.3f}"
    if heard.word and not is_told:
        return f"a note without seconds: {heard.word}"
    return "told" if heard.word else "whole"


def difference(heard: Heard, truth: Heard, padding_seconds: float) -> float:
    """Return the relative error of the worst half second, each shifted by the padding at most.

    Left out is one for each seam of files that follow each other.
    """
    rate_hz = heard.rate_hz
    one, other = heard.samples.mean(axis=1), truth.samples.mean(axis=1)
    if truth.rate_hz != rate_hz and len(other):
        other = soxr.resample(other, truth.rate_hz, rate_hz)
    most, size = round(padding_seconds * rate_hz), rate_hz // 2
    errors = [0.0]
    for start in range(most, len(other) - most - size // 4, size):
        piece = other[start : min(start + size, len(other) - most)]
        first = max(0, start - most)
        near = one[first : start + most + len(piece)]
        piece = piece[: len(near)]
        power = np.cumsum(np.append(0.0, near.astype(float) ** 2))
        misfit = power[len(piece) :] - power[: len(power) - len(piece)]
        misfit -= 2 * np.correlate(near, piece, "valid")
        by = int(misfit.argmin())
        error = near[by : by + len(piece)] - piece
        loudness = max(np.mean(piece**2), np.mean(other**2) / 100)
        errors.append(float(np.sqrt(np.mean(error**2) / loudness)))
    seams = round(truth.seconds / SECONDS) if padding_seconds else 0
    return sorted(errors)[-1 - seams]


def play(path: Path, right: Expected, doors: Mapping[str, Door]) -> dict[str, tuple[str, Heard]]:
    """Send a file through the doors; return the outcome, and what was heard, by each."""
    outcomes = {}
    for name, door in doors.items():
        with streams_of_decoders() as printed:
            heard, fault = NOTHING, ""
            try:
                heard = door(path)
            except SerError as error:
                heard = replace(NOTHING, word=str(error))
            except Exception as error:
                fault = f"raised {error!r}"
        if printed or not heard.word.isprintable():
            fault = f"printed {printed}, told {heard.word!r}"
        is_damaged = right.by(name) == "damaged"
        outcome = fault or judge(heard, right.truth, right.padding_seconds, is_damaged)
        outcomes[name] = (outcome, heard)
    return outcomes


def expected(path: Path, truth: Heard | None = None) -> Expected:
    """Return what is to be heard, by default what ffmpeg hears, and the outcomes that follow."""
    rules = [rule for rule in _RULES if fnmatch(path.name, rule[0])]
    padding, by_file, by_pipe, why = (
        next((rule[column] for rule in rules if rule[column] != "-"), "") for column in range(1, 5)
    )
    times, outcome = _VOICES.get(by_file, (0, by_file))
    if times:
        truth = Heard(RATE_HZ, np.tile(master(), times)[:, np.newaxis])
    truth = truth or of_ffmpeg(path)
    outcome = outcome or ("whole" if len(truth.samples) else "refused")
    return Expected(truth, outcome, by_pipe or outcome, why, float(padding or 0))
