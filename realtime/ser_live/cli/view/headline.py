"""The upper part of a frame: what is heard and by what, and what has just happened."""

from collections.abc import Mapping

from rich.cells import cell_len
from rich.text import Text

from ser_live.cli.view.big_letters import letters
from ser_live.cli.view.palette import AMBER, EVENT_COLORS, GREY, RED
from ser_live.cli.view.state import Trouble, ViewState
from ser_live.cli.view.text import age_words, blank, clock_words, first_that_fits, halves, spread
from ser_live.events import Event

_BRIGHT_SECONDS = 4.0
_LIT_SECONDS = 8.0
_TROUBLE_WORDS = {
    "device_lost": (("microphone lost", "mic lost"), f"bold {RED}"),
    "input_silent": (("no signal",), f"bold {AMBER}"),
    "no_audio": (("waiting",), GREY),
}
_STATE_WORDS = {
    "speech": "speech",
    "uncertain": "uncertain",
    "warming_up": "warming up",
    "silence": "nobody speaks",
}


def header_rows(state: ViewState, width: int) -> list[Text]:
    """Say what is heard, by which model, for how long; then what must not be overlooked."""
    clock = Text("● REC  " if state.is_recording else "", f"bold {RED}")
    clock.append(clock_words(state.seconds), f"not bold {GREY}")
    hop = Text(f"hop {state.hop_seconds:g} s", GREY)
    if state.is_hop_widened:
        hop = Text(f"{hop} to save time", AMBER)
    variants = (
        Text.assemble(("ser-live", "bold"), (f"  {about}, ", GREY), hop)
        for about in (
            f"{state.source}, {state.format} · {state.model}",
            f"{state.source} · {state.model}",
            state.model,
        )
    )
    rows = [spread(first_that_fits(variants, width - clock.cell_len - 2), clock, width)]
    if state.note:
        # What it is about, often a long path, can go; what happened cannot.
        notes = (state.note, state.note.partition(": ")[2] or state.note)
        rows.append(first_that_fits((Text(note, f"italic {RED}") for note in notes), width))
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
    above = (height - len(rows)) // 2
    return [
        *blank(above),
        *(Text(row, style) for row in rows),
        *blank(height - len(rows) - above),
    ]


def caption(state: ViewState, width: int) -> Text:
    """Say in a row of text how sure that is, and for how long."""
    prediction = state.prediction
    if state.trouble is not None:
        return _told(state.trouble, width)
    if prediction is None:
        return Text("waiting for sound", GREY)
    clauses = [Text(_STATE_WORDS[prediction.state], GREY)]
    if prediction.label is not None:
        clauses.append(Text(f"confidence {100 * prediction.confidence:.0f} %", "default"))
    if prediction.state == "warming_up":
        clauses.append(Text(f"an answer after {state.warm_up_seconds:g} s of speech", GREY))
    elif state.held_seconds >= 1.0:
        clauses.append(Text(f"for {age_words(state.held_seconds)}", GREY))
    if state.behind_seconds:
        clauses.insert(0, Text(f"{state.behind_seconds:.1f} s behind", f"bold {AMBER}"))
    if prediction.degraded:
        clauses.append(Text("degraded by lost audio", AMBER))
    return Text(" · ", GREY).join(clauses)


def news_rows(state: ViewState, width: int, height: int) -> list[Text]:
    """Tell of the event whose turn it is, fading; its second half has a row of its own."""
    event, age_seconds = state.news, state.news_seconds
    if event is None:
        return blank(height)
    color = EVENT_COLORS[event.kind] if age_seconds < _LIT_SECONDS else GREY
    rest = "" if age_seconds < _BRIGHT_SECONDS else GREY
    age = Text(f"{age_words(age_seconds)} ago" if age_seconds >= 1.0 else "now", GREY)
    kind = f"● {kind_words(event)}  "
    what, hint = event.detail, ""
    if height > 1:
        what, hint = halves(event.detail, width - cell_len(kind) - age.cell_len - 2)
    rows = [spread(Text.assemble((kind, color), (what, rest)), age, width), Text(f"  {hint}", rest)]
    return rows[:height]


def kind_words(event: Event) -> str:
    """Say what kind of event it is."""
    return event.kind.replace("_", " ")


def _words(state: ViewState, colors: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
    """Give what stands in large letters, the wanted words first, and its style."""
    prediction = state.prediction
    if state.trouble is not None:
        return _TROUBLE_WORDS[state.trouble.kind]
    if prediction is None:
        return ("listening",), GREY
    if prediction.label is None:
        return ("silence" if prediction.state == "silence" else "listening",), GREY
    color = colors[prediction.label]
    if prediction.state == "uncertain":
        return (f"{prediction.label} ?",), color
    return (prediction.label,), f"bold {color}"


def _told(trouble: Trouble, width: int) -> Text:
    """Say how long it has gone on, what to do or what is done, and why."""
    if trouble.kind == "no_audio":
        return Text(f"no audio for {age_words(trouble.seconds)}", GREY)
    why, _, what = trouble.detail.partition("; ")
    short = Text.assemble((f"for {age_words(trouble.seconds)}", "bold"), f" · {what or why}")
    return first_that_fits([short.copy().append(f" · {why}" if what else "", GREY), short], width)
