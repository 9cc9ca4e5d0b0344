"""The last minute as one row: predictions, and where audio is missing."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from rich.text import Text

from ser_live.cli.view.palette import AMBER, GREY, RED
from ser_live.cli.view.tracker import TIMELINE_SECONDS, Span
from ser_live.prediction import Prediction

_LATE_SECONDS = 1.0
_EDGE = 1e-9

_MISSING = ("×", RED)  # noqa: RUF001 - that is the sign
_LEFT_OUT = ("-", AMBER)
_NOT_YET = (" ", "")
_BLOCKS = {"speech": "█", "uncertain": "▒", "degraded": "▄"}
_LETTERS = {"speech": "A", "uncertain": "a", "degraded": "a"}
_NO_LABEL = {"warming_up": "▁", "silence": "·"}


def timeline_row(
    spans: Sequence[Span],
    now_seconds: float,
    hop_seconds: float,
    cells: int,
    colors: Mapping[str, str],
    letters: Mapping[str, str],
) -> Text:
    """Draw the last minute.

    Parameters
    ----------
    spans : sequence of Span
        Predictions and gaps of the last minute.
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
    shown: dict[int, tuple[str, str]] = {}
    # Gaps last: lost audio must not hide behind its neighbours.
    for span in sorted(spans, key=lambda s: (s.prediction is None, s.end_seconds)):
        mark = _MISSING if span.prediction is None else _mark(span.prediction, colors, letters)
        shown.update(dict.fromkeys(_cells(span, cell_seconds), mark))
    first_known, last_known = min(shown, default=0), max(shown, default=-1)
    end_seconds = max((span.end_seconds for span in spans), default=0.0)
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
    """Draw the marks with their meanings, as many as fit."""
    marks = {name: (sign, GREY) for name, sign in (_LETTERS if has_letters else _BLOCKS).items()}
    if has_letters:
        marks["degraded"] = (_LETTERS["degraded"], f"{GREY} underline")
    marks |= {name.replace("_", " "): (sign, GREY) for name, sign in _NO_LABEL.items()}
    marks |= {"missing": _MISSING, "left out": _LEFT_OUT}
    signs = [Text.assemble(mark, (f" {name}", GREY)) for name, mark in marks.items()]
    while (row := Text("   ").join(signs)).cell_len > width:
        signs.pop()
    return row


def _cells(span: Span, cell_seconds: float) -> Iterable[int]:
    start, end = span.start_seconds / cell_seconds, span.end_seconds / cell_seconds
    if span.prediction is not None:
        return range(math.floor(start + _EDGE), math.ceil(end - _EDGE))
    return range(math.floor(start), max(math.floor(start) + 1, round(end)))


def _mark(
    prediction: Prediction, colors: Mapping[str, str], letters: Mapping[str, str]
) -> tuple[str, str]:
    """Return the sign of a prediction and its style."""
    label = prediction.label
    if label is None:
        return _NO_LABEL[prediction.state], GREY
    if letters:
        is_sure = prediction.state == "speech"
        letter = letters[label].upper() if is_sure else letters[label]
        return letter, colors[label] + (" underline" if prediction.degraded else "")
    return _BLOCKS["degraded" if prediction.degraded else prediction.state], colors[label]
