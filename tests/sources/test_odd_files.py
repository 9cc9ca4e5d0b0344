"""Odd files through every door: what ffmpeg hears is heard whole, or one line says why not."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.odd_doors import Door, Expected, Heard, by_file, by_training, doors, expected, play
from helpers.odd_files import RATE_HZ, RECIPES, made, master
from ser_live import SerError

FEW = {
    "wav-data-size-0.wav": 48000, "wav-data-size-ffffffff.wav": 48000, "wav-cut.wav": 28791,
    "flac-count-0.flac": 48000, "flac-count-half.flac": 48000,
    "flac-twice.flac": 96000, "ogg-base-twice.ogg": 96000, "opus-twice.opus": 96000,
    "mp3-without-its-count.mp3": 48000, "mp3-twice.mp3": 96000, "mp3-frames-few.mp3": 48000,
    "mp3-noise-in-front.mp3": 48000, "text.wav": 0, "page.mp3": 0, "noise.mp3": 0,
    "mp3-two-frames-and-noise.mp3": 0,
}  # fmt: skip
"""Samples of the voice, at 16 kHz, in files that no other program has to make."""
STRANGE_NAMES = [
    "ä ö.wav", "говорить.wav", " -rf", "-rf.wav", "two\nlines.wav", "100 %s {x}.wav",
    "\x1b[31mred.wav", "w" * 250 + ".wav", os.fsdecode(b"\xff\xfe.wav"), "quote'\".mp3",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tiny_model: Path) -> Iterator[Any]:
    from helpers import serving  # noqa: PLC0415 - the default run needs none

    with serving.server("--model", tiny_model) as running:
        yield running


def check(path: Path, right: Expected, doors: dict[str, Door]) -> None:
    found = play(path, right, doors)
    wrong = {door: seen for door, seen in found.items() if seen[0] != right.by(door)}
    assert not wrong, f"wanted {right.by_file}, in a pipe {right.by_pipe}"


@pytest.mark.long
@pytest.mark.parametrize("name", RECIPES)
def test_what_ffmpeg_hears_is_heard(name: str, server: Any, tmp_path: Path) -> None:
    if not shutil.which("ffmpeg") or not shutil.which("sox"):
        pytest.skip("ffmpeg or sox is not installed")
    path = tmp_path / name
    path.write_bytes(made(name))
    check(path, expected(path), doors(server))


@pytest.mark.parametrize("name", FEW)
def test_the_voice_is_heard(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(made(name))
    voice = np.tile(master(), 2)[: FEW[name], np.newaxis]
    check(path, expected(path, Heard(RATE_HZ, voice)), doors())


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_any_name_is_opened_and_told_on_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(made("wav-cut.wav"))
    (tmp_path / "link").symlink_to(tmp_path / name)
    for path, door in ((tmp_path / name, by_file), (tmp_path / "link", by_training)):
        heard = door(path)
        assert heard.seconds == pytest.approx(28791 / RATE_HZ)
        assert "1.80 s" in heard.word
        assert heard.word.isprintable()


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/dev/stdin", "/dev/fd/9", "\0.wav"])
def test_devices_are_no_files(path: str) -> None:
    for door in (by_file, by_training):
        with pytest.raises(SerError):
            door(Path(path))
