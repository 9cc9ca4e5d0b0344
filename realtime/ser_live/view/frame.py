"""How a frame of the live view looks, in any size from about 60x18."""

from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from ser_live.events import Event
from ser_live.view.figures import first_that_fits, frames_row, latency_row, losses_row
from ser_live.view.lettering import letters
from ser_live.view.palette import (
    AMBER,
    EVENT_COLORS,
    GREEN,
    GREY,
    RED,
    TRACK,
    in_ascii,
    label_colors,
    label_letters,
    printable,
)
from ser_live.view.timeline import legend, timeline_row
from ser_live.view.watch import Trouble, ViewState

_WIDEST = 110
_MARGIN = "  "
_COLUMN = 9
_QUIETEST_DBFS = -60.0
_NO_SIGNAL_DBFS = -100.0
_NEWS_BRIGHT_SECONDS = 4.0
_NEWS_LIT_SECONDS = 8.0
_LOG_ROWS = 8

# Headline, caption, news, timeline and losses are always there; what else there is room for
# comes in this order.
_WISHES = {
    "level": 1,
    "frames": 1,
    "axis": 1,
    "latency": 1,
    "letters": 2,
    "hint": 1,
    "gap above headline": 1,
    "gap above timeline": 1,
    "gap above level": 1,
    "gap above bars": 1,
    "gap above figures": 1,
    "legend": 1,
    "large letters": 2,
    "gap on top": 1,
    "gap above log": 1,
}
_ALWAYS_ROWS = 5


@dataclass(frozen=True, slots=True)
class Frame:
    """A view state as something that rich draws."""

    state: ViewState

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, _WIDEST + 2 * len(_MARGIN)) - 2 * len(_MARGIN)
        height = options.height or options.size.height
        is_ascii = options.ascii_only
        has_few_colors = console.no_color or console.color_system not in ("256", "truecolor")
        painter = _Painter(self.state, width, height, is_ascii or has_few_colors, is_ascii)
        # Rows fit already: without a search for places to wrap, a frame costs half.
        for row in painter.rows():
            yield from row.render(console, end="\n")


class _Painter:
    """Draw one frame, row by row."""

    def __init__(
        self, state: ViewState, width: int, height: int, has_letters: bool, is_ascii: bool
    ) -> None:
        self.state = state
        self.width = width
        self.height = height
        self.is_ascii = is_ascii
        seen = (part.prediction.label for part in state.timeline if part.prediction is not None)
        known = dict.fromkeys([*state.labels, *(label for label in seen if label is not None)])
        self.colors = label_colors(known)
        self.letters = label_letters(known) if has_letters else {}
        self.column = max(_COLUMN, *(2 + cell_len(self._name(label)) for label in state.labels))

    def rows(self) -> list[Text]:
        header = self._header()
        has, bars, log = _fitted(self.height - len(header), len(self.state.labels))
        sections = [
            _blank(has["gap on top"]),
            header,
            _blank(has["gap above headline"]),
            self._headline(1 + has["letters"] + has["large letters"]),
            [self._caption()],
            self._news(1 + has["hint"]),
            _blank(has["gap above bars"]),
            [self._bar(label) for label in self.state.labels[:bars]],
            _blank(has["gap above timeline"]),
            self._timeline(has["axis"], has["legend"]),
            _blank(has["gap above level"]),
            [self._level()][: has["level"]],
            _blank(has["gap above figures"]),
            self._figures(has["latency"], has["frames"]),
            _blank(has["gap above log"]),
            self._log(log),
        ]
        rows = [row for section in sections for row in section]
        return [self._placed(row) for row in rows[: self.height]]

    def _placed(self, row: Text) -> Text:
        row.truncate(self.width, overflow="ellipsis")
        row = Text(_MARGIN).append_text(row)
        row.plain = in_ascii(row.plain) if self.is_ascii else printable(row.plain)
        return row

    def _header(self) -> list[Text]:
        state = self.state
        clock = Text("● REC  " if state.is_recording else "", f"bold {RED}")
        clock.append(_clock(state.seconds), f"not bold {GREY}")
        hop = Text(f"hop {state.hop_seconds:g} s", GREY)
        if state.is_hop_widened:
            hop = Text(f"{hop} to save time", AMBER)
        variants = [
            Text.assemble(("ser-live", "bold"), (f"  {about}, ", GREY), hop)
            for about in (
                f"{state.source}, {state.format} · {state.model}",
                f"{state.source} · {state.model}",
                state.model,
            )
        ]
        left = first_that_fits(variants, self.width - clock.cell_len - 2)
        rows = [self._spread(left, clock)]
        if state.note:
            # What it is about, often a long path, can go; what happened cannot.
            notes = (state.note, state.note.partition(": ")[2] or state.note)
            style = f"italic {RED}"
            rows.append(first_that_fits((Text(note, style) for note in notes), self.width))
        elif state.notice:
            rows.append(Text(state.notice, f"italic {AMBER}"))
        return rows

    def _headline(self, height: int) -> list[Text]:
        words, style = self._words()
        drawn = None
        for word in words:
            if height >= 5:
                drawn = drawn or letters(word, self.width, large=True)
        for word in words:
            if height >= 3 and not self.is_ascii:
                drawn = drawn or letters(word, self.width, large=False)
        rows = drawn or [words[0].upper()]
        above = (height - len(rows)) // 2
        padded = [*[""] * above, *rows, *[""] * (height - len(rows) - above)]
        return [Text(row, style) for row in padded]

    def _words(self) -> tuple[tuple[str, ...], str]:
        """Give what stands in large letters, the wanted words first, and its style."""
        trouble, prediction = self.state.trouble, self.state.prediction
        if trouble is not None:
            return _TROUBLE_WORDS[trouble.kind]
        if prediction is None:
            return ("listening",), GREY
        if prediction.label is None:
            return ("silence" if prediction.state == "silence" else "listening",), GREY
        color = self.colors[prediction.label]
        if prediction.state == "uncertain":
            return (f"{prediction.label} ?",), color
        return (prediction.label,), f"bold {color}"

    def _caption(self) -> Text:
        state, prediction = self.state, self.state.prediction
        if state.trouble is not None:
            return _told(state.trouble, self.width)
        if prediction is None:
            return Text("waiting for sound", GREY)
        clauses = [Text(_STATE_WORDS[prediction.state], GREY)]
        if prediction.label is not None:
            clauses.append(Text(f"confidence {100 * prediction.confidence:.0f} %"))
        if prediction.state == "warming_up":
            clauses.append(Text(f"an answer after {state.warm_up_seconds:g} s of speech", GREY))
        elif state.held_seconds >= 1.0:
            clauses.append(Text(f"for {_age(state.held_seconds)}", GREY))
        if state.behind_seconds:
            clauses.insert(0, Text(f"{state.behind_seconds:.1f} s behind", f"bold {AMBER}"))
        if prediction.degraded:
            clauses.append(Text("degraded by lost audio", AMBER))
        return Text(" · ", GREY).join(clauses)

    def _news(self, height: int) -> list[Text]:
        event, age_seconds = self.state.news, self.state.news_seconds
        if event is None:
            return _blank(height)
        color, rest = EVENT_COLORS[event.kind], ""
        if age_seconds >= _NEWS_BRIGHT_SECONDS:
            rest = GREY
        if age_seconds >= _NEWS_LIT_SECONDS:
            color = GREY
        age = Text(f"{_age(age_seconds)} ago" if age_seconds >= 1.0 else "now", GREY)
        kind = f"● {_kind(event)}  "
        room = self.width - cell_len(kind) - age.cell_len - 2
        what, hint = _halves(event.detail, room) if height > 1 else (event.detail, "")
        hints = [Text(f"  {hint}", rest), *_blank(height - 2)]
        left = Text.assemble((kind, color), (what, rest))
        return [self._spread(left, age), *hints[: height - 1]]

    def _bar(self, label: str) -> Text:
        prediction = None if self.state.trouble else self.state.prediction
        share = ((prediction.probabilities if prediction else None) or {}).get(label)
        is_current = prediction is not None and prediction.label == label
        style = "bold" if is_current else GREY
        row = Text(_padded(self._name(label), self.column), style)
        row.append_text(_meter(share or 0.0, self.width - self.column - 6, self.colors[label]))
        return row.append("" if share is None else f"{100 * share:4.0f} %", style)

    def _name(self, label: str) -> str:
        return f"{self.letters[label]} {label}" if self.letters else label

    def _timeline(self, axis: int, has_legend: int) -> list[Text]:
        state, width = self.state, self.width
        row = timeline_row(
            state.timeline, state.seconds, state.hop_seconds, width, self.colors, self.letters
        )
        scale = self._spread(Text("60 s ago".ljust(width // 2 - 2) + "30 s"), Text("now"))
        scale.stylize(GREY)
        return [row, *[scale][:axis], *[legend(width, bool(self.letters))][:has_legend]]

    def _level(self) -> Text:
        state = self.state
        row = Text(_padded("level", self.column), GREY)
        is_away = state.trouble is not None and state.trouble.kind != "input_silent"
        is_away = is_away or not state.seconds
        rms_dbfs = _QUIETEST_DBFS if is_away else max(state.rms_dbfs, _QUIETEST_DBFS)
        share = 1.0 - rms_dbfs / _QUIETEST_DBFS
        row.append_text(_meter(share, max(10, self.width // 3), _level_color(state.peak_dbfs)))
        if is_away:
            row.append("  no audio", GREY)
        elif state.peak_dbfs <= _NO_SIGNAL_DBFS:
            row.append("  no signal", AMBER)
        else:
            row.append(f"  {state.rms_dbfs:.0f} dBFS, ", GREY)
            if state.is_clipping:
                row.append("CLIPPING", f"bold {RED}")
            else:
                row.append(f"peak {state.peak_dbfs:.0f}", GREY)
        return row

    def _figures(self, has_latency: int, has_frames: int) -> list[Text]:
        stats, room = self.state.stats, self.width - self.column
        trouble = self.state.trouble
        is_lost = trouble is not None and trouble.kind == "device_lost"
        away_seconds = trouble.seconds if trouble is not None and is_lost else 0.0
        rows = [
            *[("latency", latency_row(stats, room))][:has_latency],
            *[("frames", frames_row(stats, room))][:has_frames],
            ("lost", losses_row(stats, away_seconds)),
        ]
        named = [Text(_padded(name, self.column), GREY) + row for name, row in rows]
        return [*named[:-1], self._spread(named[-1], Text("Ctrl-C ends", GREY))]

    def _log(self, height: int) -> list[Text]:
        rows: list[Text] = []
        if height and not self.state.events:
            rows.append(Text(_padded("events", self.column) + "none", GREY))
        for event in self.state.events[:height]:
            row = Text(_padded("" if rows else "events", self.column), GREY)
            row.append(f"{_clock(event.at_seconds):9}", GREY)
            row.append(_padded(_kind(event), 17), EVENT_COLORS[event.kind])
            rows.append(row.append(event.detail, GREY))
        return rows

    def _spread(self, left: Text, right: Text) -> Text:
        left.truncate(self.width - right.cell_len - 2, overflow="ellipsis")
        return Text.assemble(left, " " * (self.width - left.cell_len - right.cell_len), right)


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


def _fitted(height: int, labels: int) -> tuple[dict[str, int], int, int]:
    """Share rows out: the wishes that come true, bars, and rows of the log."""
    left = height - _ALWAYS_ROWS - labels
    bars = labels + min(0, left)
    granted = {}
    for name, rows in _WISHES.items():
        granted[name] = rows if left >= rows else 0
        left -= granted[name]
    return granted, max(0, bars), max(0, min(left, _LOG_ROWS))


def _told(trouble: Trouble, width: int) -> Text:
    """Say how long it has gone on, what to do or what is done, and why."""
    if trouble.kind == "no_audio":
        return Text(f"no audio for {_age(trouble.seconds)}", GREY)
    why, _, what = trouble.detail.partition("; ")
    short = Text.assemble((f"for {_age(trouble.seconds)}", "bold"), f" · {what or why}")
    return first_that_fits([short.copy().append(f" · {why}" if what else "", GREY), short], width)


def _halves(sentence: str, width: int) -> tuple[str, str]:
    """Part a sentence: where it says so itself, else at a blank if it is too wide."""
    what, _, hint = sentence.partition("; ")
    if not hint and cell_len(sentence) > width:
        cut = sentence.rfind(" ", 0, width + 1)
        return (sentence[:cut], sentence[cut + 1 :]) if cut > 0 else (sentence, "")
    return what, hint


def _kind(event: Event) -> str:
    return event.kind.replace("_", " ")


def _age(seconds: float) -> str:
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def _clock(seconds: float) -> str:
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def _padded(text: str, cells: int) -> str:
    return text + " " * max(0, cells - cell_len(text))


def _blank(rows: int) -> list[Text]:
    return [Text() for _ in range(rows)]


def _meter(share: float, length: int, color: str) -> Text:
    """Draw a bar, exact to half a cell, on a faint track."""
    full, half = divmod(round(min(max(share, 0.0), 1.0) * length * 2), 2)
    bar = "━" * full + "╸" * half
    return Text(bar, color).append("─" * (length - len(bar)), TRACK)


def _level_color(peak_dbfs: float) -> str:
    if peak_dbfs > -1.0:
        return RED
    return AMBER if peak_dbfs > -6.0 else GREEN
