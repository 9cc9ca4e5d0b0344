"""Rows of text and what they are made of."""

from collections.abc import Iterable

from rich.cells import cell_len
from rich.text import Text

from ser_live.cli.view.palette import TRACK


def first_that_fits(rows: Iterable[Text], width: int) -> Text:
    """Give the first row that is not too wide, else the last one."""
    row = Text()
    for row in rows:
        if row.cell_len <= width:
            break
    return row


def spread(left: Text, right: Text, width: int) -> Text:
    """Put one text to either end of a row; the left one is cut if need be."""
    left.truncate(max(0, width - right.cell_len - 2), overflow="ellipsis")
    return Text.assemble(left, " " * (width - left.cell_len - right.cell_len), right)


def padded(text: str, cells: int) -> str:
    """Fill up with blanks, also where characters are two cells wide."""
    return text + " " * max(0, cells - cell_len(text))


def blank(rows: int) -> list[Text]:
    """Give empty rows."""
    return [Text() for _ in range(rows)]


def meter(share: float, length: int, color: str) -> Text:
    """Draw a bar, exact to half a cell, on a faint track."""
    full, half = divmod(round(min(max(share, 0.0), 1.0) * length * 2), 2)
    bar = "━" * full + "╸" * half
    return Text(bar, color).append("─" * (length - len(bar)), TRACK)


def halves(sentence: str, width: int) -> tuple[str, str]:
    """Part a sentence: where it says so itself, else at a blank if it is too wide."""
    what, _, hint = sentence.partition("; ")
    if not hint and cell_len(sentence) > width:
        cut = sentence.rfind(" ", 0, width + 1)
        return (sentence[:cut], sentence[cut + 1 :]) if cut > 0 else (sentence, "")
    return what, hint


def age_words(seconds: float) -> str:
    """Say how long something has lasted."""
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def clock_words(seconds: float) -> str:
    """Say where in the stream something was."""
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"
