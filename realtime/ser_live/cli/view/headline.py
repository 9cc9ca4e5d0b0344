"""The upper part of a frame: source and model, the emotion in large letters, the latest event."""

import textwrap
from collections.abc import Mapping

from rich.cells import cell_len
from rich.text import Text

from ser_live.cli.view.palette import AMBER, EVENT_COLORS, GREY, RED
from ser_live.cli.view.tracker import Problem, ViewState
from ser_live.events import Event

_BRIGHT_SECONDS = 4.0
_LIT_SECONDS = 8.0
_PROBLEMS = {
    "device_lost": (("microphone lost", "mic lost"), f"bold {RED}"),
    "input_silent": (("no signal",), f"bold {AMBER}"),
    "no_audio": (("waiting",), GREY),
}

# Large letters, five pixels high: strips of letters, five rows each, under the characters that
# they draw; "#" is a lit pixel.
_SHEET = """
a    b    c    d    e    f    g    h    i j   k    l    m     n    o    p
.##. ###. .### ###. #### #### .### #..# # ..# #..# #... #...# #..# .##. ###.
#..# #..# #... #..# #... #... #... #..# # ..# #.#. #... ##.## ##.# #..# #..#
#### ###. #... #..# ###. ###. #.## #### # ..# ##.. #... #.#.# #.## #..# ###.
#..# #..# #... #..# #... #... #..# #..# # ..# #.#. #... #...# #..# #..# #...
#..# ###. .### ###. #### #... .### #..# # ##. #..# #### #...# #..# .##. #...

q    r    s    t     u    v     w     x     y     z    -   ?    .
.##. ###. .### ##### #..# #...# #...# #...# #...# #### ... ###. .
#..# #..# #... ..#.. #..# #...# #...# .#.#. .#.#. ...# ... ...# .
#..# ###. .##. ..#.. #..# #...# #.#.# ..#.. ..#.. .##. ### .##. .
#.#. #.#. ...# ..#.. #..# .#.#. ##.## .#.#. ..#.. #... ... .... .
.#.# #..# ###. ..#.. .##. ..#.. #...# #...# ..#.. #### ... .#.. #
"""
_GLYPHS = {" ": ("..",) * 5} | {
    character: glyph
    for strip in _SHEET.split("\n\n")
    for character, *glyph in zip(*(row.split() for row in strip.strip().split("\n")), strict=True)
}
_HALVES = {"..": " ", "#.": "▀", ".#": "▄", "##": "█"}


def header_rows(state: ViewState, width: int) -> list[Text]:
    """Draw source, model and length of the stream; then the note or notice, if there is one."""
    clock = Text("● REC  " if state.is_recording else "", f"bold {RED}")
    clock.append(clock_time(state.seconds), f"not bold {GREY}")
    hop = (f"hop {state.hop_seconds:g} s", GREY)
    if state.is_hop_widened:
        hop = (f"{hop[0]} to save energy", AMBER)
    # The source comes last: its name may be long, and is cut first.
    model, source = (f"  {state.card.name}, ", GREY), (f" · {state.source}", GREY)
    rows = [spread(Text.assemble(("ser-live", "bold"), model, hop, source), clock, width)]
    if state.note:
        # The name in front, often a long path, can go; what happened cannot.
        is_long = cell_len(state.note) > width
        note = (state.note.partition(": ")[2] if is_long else "") or state.note
        rows.append(Text(note, f"italic {RED}"))
    elif state.notice:
        rows.append(Text(state.notice, f"italic {AMBER}"))
    return rows


def headline_rows(
    state: ViewState, colors: Mapping[str, str], width: int, height: int, is_ascii: bool
) -> list[Text]:
    """Draw the one word that matters, as large as it may be."""
    words, style = _words(state, colors)
    sizes = [large for large, rows in ((True, 5), (False, 3)) if height >= rows]
    if is_ascii:
        sizes = [large for large in sizes if large]  # small letters are made of half blocks
    drawings = (letters(word, width, large=large) for large in sizes for word in words)
    rows = next(filter(None, drawings), [words[0].upper()])
    above, free = (height - len(rows)) // 2, height - len(rows)
    return [Text(row, style) for row in [""] * above + rows + [""] * (free - above)]


def caption(state: ViewState) -> Text:
    """Draw in a row of text how sure that is, and for how long."""
    prediction = state.prediction
    if state.problem is not None:
        return _problem_row(state.problem)
    if prediction is None:
        return Text("waiting for sound", GREY)
    state_name = {"silence": "no speech", "warming_up": "warming up"}
    clauses = [Text(state_name.get(prediction.state, prediction.state), GREY)]
    if prediction.label is not None:
        clauses.append(Text(f"confidence {100 * prediction.confidence:.0f} %", "default"))
    if prediction.state == "warming_up":
        seconds = state.card.window.warm_up_seconds
        clauses.append(Text(f"an answer after {seconds:g} s of speech", GREY))
    elif state.held_seconds >= 1.0:
        clauses.append(Text(f"for {duration(state.held_seconds)}", GREY))
    if state.behind_seconds:
        clauses.insert(0, Text(f"{state.behind_seconds:.1f} s behind", f"bold {AMBER}"))
    if prediction.degraded:
        clauses.append(Text("degraded by lost audio", AMBER))
    return Text(" · ", GREY).join(clauses)


def event_rows(state: ViewState, width: int) -> list[Text]:
    """Draw the event whose turn it is, fading, in two rows: what happened, and what to do."""
    event, age_seconds = state.event, state.event_seconds
    if event is None:
        return [Text(), Text()]
    color = EVENT_COLORS[event.kind] if age_seconds < _LIT_SECONDS else GREY
    rest = "" if age_seconds < _BRIGHT_SECONDS else GREY
    age = Text(f"{duration(age_seconds)} ago" if age_seconds >= 1.0 else "now", GREY)
    kind = f"● {kind_name(event)}  "
    what, _, hint = event.detail.partition("; ")
    if not hint:
        room = width - cell_len(kind) - age.cell_len - 2
        what, *more = textwrap.wrap(what, max(1, room)) or [""]
        hint = " ".join(more)
    row = spread(Text.assemble((kind, color), (what, rest)), age, width)
    return [row, Text(f"  {hint}", rest)]


def kind_name(event: Event) -> str:
    """Return the kind of an event in words."""
    return event.kind.replace("_", " ")


def spread(left: Text, right: Text, width: int) -> Text:
    """Put one text to either end of a row; the left one is cut if need be."""
    left.truncate(max(0, width - right.cell_len - 2), overflow="ellipsis", pad=True)
    return Text.assemble(left, "  ", right)


def duration(seconds: float) -> str:
    """Return how long something has lasted, as in "1 h 2 min" or "3 min 4 s"."""
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def clock_time(seconds: float) -> str:
    """Return a place in the stream, as in "1:02:03" or "4:05"."""
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def letters(text: str, width: int, *, large: bool) -> list[str] | None:
    """Draw a word, three rows high, or five if it shall be large.

    Returns
    -------
    list of str or None
        One string per row; None if it does not fit into ``width`` or has other characters than
        letters, hyphen, question mark, period and blank.
    """
    glyphs = [_GLYPHS.get(character) for character in text.lower()]
    if None in glyphs:
        return None
    pixels = [".".join(row) for row in zip(*filter(None, glyphs), strict=True)]
    if large:
        rows = [row.replace("#", "██").replace(".", "  ") for row in pixels]
    else:
        pixels.append("." * len(pixels[0]))
        pairs = zip(pixels[::2], pixels[1::2], strict=True)
        rows = ["".join(_HALVES[a + b] for a, b in zip(*pair, strict=True)) for pair in pairs]
    return rows if len(rows[0]) <= width else None


def _words(state: ViewState, colors: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
    """Return the word in large letters and what is shorter, and their style."""
    prediction = state.prediction
    if state.problem is not None:
        return _PROBLEMS[state.problem.kind]
    if prediction is None or prediction.label is None:
        is_silence = prediction is not None and prediction.state == "silence"
        return ("silence" if is_silence else "listening",), GREY
    color = colors[prediction.label]
    if prediction.state == "uncertain":
        return (f"{prediction.label} ?",), color
    return (prediction.label,), f"bold {color}"


def _problem_row(problem: Problem) -> Text:
    """Draw how long it has gone on, what to do or what is done, and why."""
    if problem.kind == "no_audio":
        return Text(f"no audio for {duration(problem.seconds)}", GREY)
    why, _, remedy = problem.detail.partition("; ")
    row = Text.assemble((f"for {duration(problem.seconds)}", "bold"), f" · {remedy or why}")
    return row.append(f" · {why}" if remedy else "", GREY)
