"""The last minute as one row: what was recognized, and where audio is missing."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from rich.text import Text

from ser_live.cli.view.palette import AMBER, GREY, RED
from ser_live.cli.view.state import TIMELINE_SECONDS, Stretch
from ser_live.prediction import Prediction

_LATE_SECONDS = 1.0
_EDGE = 1e-9

_HOLE = ("×", RED)  # noqa: RUF001 - that is the sign
_LEFT_OUT = ("-", AMBER)
_NOT_YET = (" ", "")
_OTHER_LEGEND = (
    ("▁", GREY, "warming up"),
    ("·", GREY, "silence"),
    (*_HOLE, "missing"),
    (*_LEFT_OUT, "left out"),
)
_BLOCK_LEGEND = (
    ("█", GREY, "speech"),
    ("▒", GREY, "uncertain"),
    ("▄", GREY, "degraded"),
    *_OTHER_LEGEND,
)
_LETTER_LEGEND = (
    ("A", GREY, "speech"),
    ("a", GREY, "uncertain"),
    ("a", f"{GREY} underline", "degraded"),
    *_OTHER_LEGEND,
)


def timeline_row(
    stretches: Sequence[Stretch],
    now_seconds: float,
    hop_seconds: float,
    cells: int,
    colors: Mapping[str, str],
    letters: Mapping[str, str],
) -> Text:
    """Draw the last minute.

    Parameters
    ----------
    stretches : sequence of Stretch
        What is known of it.
    now_seconds : float
        Length of the stream.
    hop_seconds : float
        From one prediction to the next.
    cells : int
        Width of the row.
    colors : mapping
        Colour of each label.
    letters : mapping
        Letter of each label, where colours cannot tell them apart; else empty.
    """
    cell_seconds = TIMELINE_SECONDS / cells
    shown = _shown(stretches, cell_seconds, colors, letters)
    first_known, last_known = min(shown, default=0), max(shown, default=-1)
    end_seconds = max((stretch.end_seconds for stretch in stretches), default=0.0)
    if now_seconds - end_seconds > 2 * hop_seconds + _LATE_SECONDS:
        end_seconds = now_seconds
        last_known = math.floor(now_seconds / cell_seconds)
    # Cells stand still on the stream's clock: the row moves by whole cells, without shimmer.
    last = math.ceil(end_seconds / cell_seconds - _EDGE)
    marks = (
        shown.get(cell, _LEFT_OUT if first_known < cell <= last_known else _NOT_YET)
        for cell in range(last - cells, last)
    )
    return Text.assemble(*((mark * len([*run]), style) for (mark, style), run in groupby(marks)))


def legend(width: int, has_letters: bool) -> Text:
    """Say what the marks mean, as many as fit."""
    row = Text()
    for mark, style, meaning in _LETTER_LEGEND if has_letters else _BLOCK_LEGEND:
        sign = Text.assemble("   " if row else "", (mark, style), (f" {meaning}", GREY))
        if row.cell_len + sign.cell_len > width:
            break
        row.append_text(sign)
    return row


def _shown(
    stretches: Iterable[Stretch],
    cell_seconds: float,
    colors: Mapping[str, str],
    letters: Mapping[str, str],
) -> dict[int, tuple[str, str]]:
    shown: dict[int, tuple[str, str]] = {}
    # Holes last: what is lost must not hide behind its neighbours.
    for stretch in sorted(stretches, key=lambda s: (s.prediction is None, s.end_seconds)):
        mark = _HOLE
        if stretch.prediction is not None:
            mark = _mark(stretch.prediction, colors, letters)
        shown.update(dict.fromkeys(_cells(stretch, cell_seconds), mark))
    return shown


def _cells(stretch: Stretch, cell_seconds: float) -> range:
    start, end = stretch.start_seconds / cell_seconds, stretch.end_seconds / cell_seconds
    if stretch.prediction is not None:
        return range(math.floor(start + _EDGE), math.ceil(end - _EDGE))
    return range(math.floor(start), max(math.floor(start) + 1, round(end)))


def _mark(
    prediction: Prediction, colors: Mapping[str, str], letters: Mapping[str, str]
) -> tuple[str, str]:
    label = prediction.label
    if label is None:
        return ("·" if prediction.state == "silence" else "▁"), GREY
    is_sure = prediction.state == "speech"
    if letters:
        letter = letters[label].upper() if is_sure else letters[label]
        return letter, colors[label] + (" underline" if prediction.degraded else "")
    if prediction.degraded:
        return "▄", colors[label]
    return ("█" if is_sure else "▒"), colors[label]
