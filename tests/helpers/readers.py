"""Readers of what the outputs write."""

import csv
import html
import io
import json
import re
from collections.abc import Callable
from typing import Any

ENDINGS = (".jsonl", ".csv", ".srt", ".vtt", ".rttm", ".txt")


CLOCK = r"(\d{2,}):([0-5]\d):([0-5]\d),(\d{3})"


def read_json(text: str) -> list[dict[str, object]]:
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def read_csv(text: str) -> list[dict[str, str]]:
    assert text.endswith("\r\n")
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    return [dict(row) for row in rows]


def read_srt(text: str) -> list[tuple[float, float, str]]:
    """A strict reader: numbers from 1, times in order, one line of text, one blank line."""
    found: list[tuple[float, float, str]] = []
    while text:
        block = re.match(rf"(\d+)\n{CLOCK} --> {CLOCK}\n([^\n]+)\n\n", text)
        assert block, text[:80]
        number, *digits, words = block.groups()
        assert int(number) == len(found) + 1
        h1, m1, s1, ms1, h2, m2, s2, ms2 = map(int, digits)
        start = 3600 * h1 + 60 * m1 + s1 + ms1 / 1000
        end = 3600 * h2 + 60 * m2 + s2 + ms2 / 1000
        assert (found[-1][1] if found else 0.0) <= start < end
        found.append((start, end, words))
        text = text[block.end() :]
    return found


def read_vtt(text: str) -> list[tuple[float, float, str]]:
    """A strict reader: SubRip without numbers, but with a head, points and escapes."""
    assert text.startswith("WEBVTT\n\n")
    subtitles = ""
    clock = CLOCK.replace(",(", r"\.(")
    for number, cue in enumerate(text.split("\n\n")[1:-1], 1):
        times, words = cue.split("\n")
        assert re.fullmatch(rf"{clock} --> {clock}", times)
        assert not re.search("[<>]|&(?!amp;|lt;|gt;)", words)
        subtitles += f"{number}\n{times.replace('.', ',')}\n{html.unescape(words)}\n\n"
    return read_srt(subtitles)


def read_rttm(text: str) -> list[tuple[float, float, str, float]]:
    """A strict reader of SPEAKER lines: ten fields between single spaces."""
    assert text == "" or text.endswith("\n")
    found = []
    for line in text.split("\n")[:-1]:
        kind, _, channel, start, duration, ortho, subtype, name, confidence, ahead = line.split(" ")
        assert (kind, channel, ortho, subtype, ahead) == ("SPEAKER", "1", "<NA>", "<NA>", "<NA>")
        assert float(duration) > 0
        found.append((float(start), float(start) + float(duration), name, float(confidence)))
    return found


def read_labels(text: str) -> list[tuple[float, float, str]]:
    """A strict reader of Audacity's labels: start, end, text between tabs, points, no commas."""
    assert text == "" or text.endswith("\n")
    found = []
    for line in text.split("\n")[:-1]:
        start, end, label = line.split("\t")
        assert re.fullmatch(r"\d+\.\d{6}", start)
        assert re.fullmatch(r"\d+\.\d{6}", end)
        found.append((float(start), float(end), label))
    return found


READERS: dict[str, Callable[[str], list[Any]]] = dict(
    zip(ENDINGS, (read_json, read_csv, read_srt, read_vtt, read_rttm, read_labels), strict=True)
)
