"""How a frame of the live view looks, in any size from about 60x18."""

from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from ser_live.cli.view.figures import frames_row, latency_row, losses_row
from ser_live.cli.view.headline import caption, header_rows, headline_rows, kind_words, news_rows
from ser_live.cli.view.palette import (
    AMBER,
    EVENT_COLORS,
    GREEN,
    GREY,
    RED,
    in_ascii,
    label_colors,
    label_letters,
    printable,
)
from ser_live.cli.view.state import ViewState
from ser_live.cli.view.text import blank, clock_words, meter, padded, spread
from ser_live.cli.view.timeline import legend, timeline_row

_WIDEST = 110
_MARGIN = "  "
_COLUMN = 9
_QUIETEST_DBFS = -60.0
_NO_SIGNAL_DBFS = -100.0
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
            yield from Text(_MARGIN).append_text(row).render(console, end="\n")


class _Painter:
    """Draw one frame, row by row."""

    def __init__(
        self, state: ViewState, width: int, height: int, has_letters: bool, is_ascii: bool
    ) -> None:
        self.state = state
        self.width = width
        self.height = height
        self.is_ascii = is_ascii
        # After a swap of the model there may be labels that it does not know.
        shown = [state.prediction, *(part.prediction for part in state.timeline)]
        seen = (prediction.label for prediction in shown if prediction is not None)
        known = dict.fromkeys([*state.labels, *(label for label in seen if label is not None)])
        self.colors = label_colors(known)
        self.letters = label_letters(known) if has_letters else {}
        self.column = max(_COLUMN, *(2 + cell_len(self._name(label)) for label in state.labels))

    def rows(self) -> list[Text]:
        state, width = self.state, self.width
        header = header_rows(state, width)
        has, bars, log = _fitted(self.height - len(header), len(state.labels))
        letter_rows = 1 + has["letters"] + has["large letters"]
        sections = [
            blank(has["gap on top"]),
            header,
            blank(has["gap above headline"]),
            headline_rows(state, self.colors, width, letter_rows, self.is_ascii),
            [caption(state, width)],
            news_rows(state, width, 1 + has["hint"]),
            blank(has["gap above bars"]),
            [self._bar(label) for label in state.labels[:bars]],
            blank(has["gap above timeline"]),
            [self._timeline()],
            [self._axis()] if has["axis"] else [],
            [legend(width, bool(self.letters))] if has["legend"] else [],
            blank(has["gap above level"]),
            [self._level()] if has["level"] else [],
            blank(has["gap above figures"]),
            self._figures(has["latency"] > 0, has["frames"] > 0),
            blank(has["gap above log"]),
            self._log(log),
        ]
        rows = [row for section in sections for row in section]
        return [self._placed(row) for row in rows[: self.height]]

    def _placed(self, row: Text) -> Text:
        row.truncate(self.width, overflow="ellipsis")
        clean = in_ascii(row.plain) if self.is_ascii else printable(row.plain)
        if clean != row.plain:
            row.plain = clean
        return row

    def _bar(self, label: str) -> Text:
        prediction = None if self.state.trouble else self.state.prediction
        share = ((prediction.probabilities if prediction else None) or {}).get(label)
        is_current = prediction is not None and prediction.label == label
        style = "bold" if is_current else GREY
        row = Text(padded(self._name(label), self.column), style)
        row.append_text(meter(share or 0.0, self.width - self.column - 6, self.colors[label]))
        return row.append("" if share is None else f"{100 * share:4.0f} %", style)

    def _name(self, label: str) -> str:
        return f"{self.letters[label]} {label}" if self.letters else label

    def _timeline(self) -> Text:
        state = self.state
        return timeline_row(
            state.timeline, state.seconds, state.hop_seconds, self.width, self.colors, self.letters
        )

    def _axis(self) -> Text:
        left = Text("60 s ago".ljust(self.width // 2 - 2) + "30 s", GREY)
        return spread(left, Text("now", GREY), self.width)

    def _level(self) -> Text:
        state = self.state
        row = Text(padded("level", self.column), GREY)
        is_away = state.trouble is not None and state.trouble.kind != "input_silent"
        is_away = is_away or not state.seconds
        rms_dbfs = _QUIETEST_DBFS if is_away else max(state.rms_dbfs, _QUIETEST_DBFS)
        share = 1.0 - rms_dbfs / _QUIETEST_DBFS
        row.append_text(meter(share, max(10, self.width // 3), _level_color(state.peak_dbfs)))
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

    def _figures(self, has_latency: bool, has_frames: bool) -> list[Text]:
        stats, room = self.state.stats, self.width - self.column
        rows = {"lost": losses_row(stats, self.state.away_seconds)}
        if has_frames:
            rows = {"frames": frames_row(stats, room), **rows}
        if has_latency:
            rows = {"latency": latency_row(stats, room), **rows}
        named = [Text(padded(name, self.column), GREY) + row for name, row in rows.items()]
        return [*named[:-1], spread(named[-1], Text("Ctrl-C ends", GREY), self.width)]

    def _log(self, height: int) -> list[Text]:
        rows: list[Text] = []
        if height and not self.state.events:
            rows.append(Text(padded("events", self.column) + "none", GREY))
        for event in self.state.events[:height]:
            row = Text(padded("" if rows else "events", self.column), GREY)
            row.append(f"{clock_words(event.at_seconds):9}", GREY)
            row.append(padded(kind_words(event), 17), EVENT_COLORS[event.kind])
            rows.append(row.append(event.detail, GREY))
        return rows


def _fitted(height: int, labels: int) -> tuple[dict[str, int], int, int]:
    """Share rows out: the wishes that come true, bars, and rows of the log."""
    left = height - _ALWAYS_ROWS - labels
    bars = labels + min(0, left)
    granted = {}
    for name, rows in _WISHES.items():
        granted[name] = rows if left >= rows else 0
        left -= granted[name]
    return granted, max(0, bars), max(0, min(left, _LOG_ROWS))


def _level_color(peak_dbfs: float) -> str:
    if peak_dbfs > -1.0:
        return RED
    return AMBER if peak_dbfs > -6.0 else GREEN
