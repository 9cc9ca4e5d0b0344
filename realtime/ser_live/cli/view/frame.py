"""One frame of the live view, in any size from about 60x18."""

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions
from rich.text import Text

from ser_live.cli.view.headline import (
    caption,
    clock_time,
    event_rows,
    header_rows,
    headline_rows,
    kind_name,
    spread,
)
from ser_live.cli.view.palette import (
    AMBER,
    EVENT_COLORS,
    GREEN,
    GREY,
    RED,
    TRACK,
    in_ascii,
    label_letters,
    printable,
)
from ser_live.cli.view.timeline import legend, timeline_row
from ser_live.cli.view.tracker import ViewState
from ser_live.latency import StageLatency
from ser_live.output.label_colors import label_colors

_WIDEST = 110
_MARGIN = "  "
_COLUMN = 9
_QUIETEST_DBFS = -60.0
_NO_SIGNAL_DBFS = -100.0
_STAGES = {"total": "compute", "lag": "lag", "callback": "callback"}


class Frame:
    """Draw one frame, row by row.

    Parameters
    ----------
    state : ViewState
        What the frame shows.
    console : rich.console.Console
        Tells how many colours there are.
    options : rich.console.ConsoleOptions
        Tell the size, and whether there is more than ASCII.
    """

    def __init__(self, state: ViewState, console: Console, options: ConsoleOptions) -> None:
        self.state = state
        self.width = min(options.max_width, _WIDEST + 2 * len(_MARGIN)) - 2 * len(_MARGIN)
        self.height = options.height or options.size.height
        self.is_ascii = options.ascii_only
        has_few_colors = console.no_color or console.color_system not in ("256", "truecolor")
        # After a swap of the model the timeline may hold labels that it does not know.
        shown = [state.prediction, *(span.prediction for span in state.timeline)]
        seen = (prediction.label for prediction in shown if prediction is not None)
        labels = state.card.labels
        known = dict.fromkeys([*labels, *(label for label in seen if label is not None)])
        self.colors = label_colors(known)
        self.letters = label_letters(known) if self.is_ascii or has_few_colors else {}
        self.column = max(_COLUMN, *(2 + cell_len(self._name(label)) for label in labels))

    def rows(self) -> list[Text]:
        """Return as many rows as there is room for, the important ones first."""
        state, width = self.state, self.width
        header, event = header_rows(state, width), event_rows(state, width)
        bars = [self._bar(label) for label in state.card.labels]
        # Beside what is always there: word, caption, event, timeline and losses in a row each. The
        # word grows by two rows after the ranks 2 to 4 have theirs, and again after rank 11.
        spare = self.height - len(header) - len(bars) - 5
        word_rows = 5 if spare >= 15 else 3 if spare >= 6 else 1
        word = headline_rows(state, self.colors, width, word_rows, self.is_ascii)
        axis = Text("60 s ago".ljust(width // 2 - 2) + "30 s", GREY)
        losses = spread(self._row("lost", self._losses()), Text("Ctrl-C ends", GREY), width)
        gap: list[Text] = [Text()]
        # From top to bottom; what has the lowest rank gets its rows first.
        sections: list[tuple[int, list[Text]]] = [
            (13, gap),
            (0, header),
            (6, gap),
            (0, word),
            (0, [caption(state)]),
            (0, event[:1]),
            (5, event[1:]),
            (9, gap),
            (1, bars),
            (7, gap),
            (0, [self._timeline()]),
            (3, [spread(axis, Text("now", GREY), width)]),
            (11, [legend(width, bool(self.letters))]),
            (8, gap),
            (2, [self._row("level", self._level())]),
            (10, gap),
            (4, [self._row("latency", self._latency())]),
            (2, [self._row("frames", self._frames())]),
            (0, [losses]),
            (14, gap),
            (15, self._log()),
        ]
        left, granted = self.height, dict[int, list[Text]]()
        for index, (_, rows) in sorted(enumerate(sections), key=lambda item: item[1][0]):
            granted[index] = rows[:left]
            left -= len(granted[index])
        return [self._placed(row) for index in sorted(granted) for row in granted[index]]

    def _placed(self, row: Text) -> Text:
        row.truncate(self.width, overflow="ellipsis")
        clean = in_ascii(row.plain) if self.is_ascii else printable(row.plain)
        if clean != row.plain:
            row.plain = clean
        return Text(_MARGIN).append_text(row)

    def _row(self, name: str, content: Text) -> Text:
        return Text(set_cell_size(name, self.column), GREY) + content

    def _bar(self, label: str) -> Text:
        prediction = None if self.state.problem else self.state.prediction
        share = ((prediction.probabilities if prediction else None) or {}).get(label)
        is_current = prediction is not None and prediction.label == label
        style = "bold" if is_current else GREY
        row = Text(set_cell_size(self._name(label), self.column), style)
        row.append_text(_meter(share or 0.0, self.width - self.column - 6, self.colors[label]))
        return row.append("" if share is None else f"{100 * share:4.0f} %", style)

    def _name(self, label: str) -> str:
        return f"{self.letters[label]} {label}" if self.letters else label

    def _timeline(self) -> Text:
        state = self.state
        return timeline_row(
            state.timeline, state.seconds, state.hop_seconds, self.width, self.colors, self.letters
        )

    def _level(self) -> Text:
        state = self.state
        is_away = state.problem is not None and state.problem.kind != "input_silent"
        is_away = is_away or not state.seconds
        rms_dbfs = _QUIETEST_DBFS if is_away else max(state.rms_dbfs, _QUIETEST_DBFS)
        peak = state.peak_dbfs
        color = RED if peak > -1.0 else AMBER if peak > -6.0 else GREEN
        row = _meter(1.0 - rms_dbfs / _QUIETEST_DBFS, max(10, self.width // 3), color)
        if is_away:
            return row.append("  no audio", GREY)
        if peak <= _NO_SIGNAL_DBFS:
            return row.append("  no signal", AMBER)
        row.append(f"  {state.rms_dbfs:.0f} dBFS, ", GREY)
        if state.is_clipping:
            return row.append("CLIPPING", f"bold {RED}")
        return row.append(f"peak {peak:.0f}", GREY)

    def _latency(self) -> Text:
        """Draw the cost of a prediction, its age, and the delay that no machine removes."""
        stats = self.state.stats
        figures = {_STAGES[s.name]: s for s in stats.stages if s.count and s.name in _STAGES}
        delay = Text.assemble(("delay ", GREY), f"{stats.recognizer.delay.total_seconds:.1f} s")
        names = [name for name in _STAGES.values() if name in figures]
        return self._fitting(
            [
                Text("   ").join([*(_figure(n, figures[n], has_p95) for n in shown), delay])
                for shown, has_p95 in ((names, True), (names[:2], True), (names[:2], False))
            ]
        )

    def _frames(self) -> Text:
        """Draw the account: captured = processed + dropped + buffered."""
        source = self.state.stats.source
        counts = (source.captured, source.processed, source.dropped, source.buffered)
        captured, processed, dropped, buffered = (f"{n:,}".replace(",", " ") for n in counts)
        sums = (f"{captured} captured = {processed} processed + ", f"{captured} = {processed} + ")
        lost = (f"{dropped} dropped", RED if source.dropped else GREY)
        rest = (f" + {buffered} buffered", GREY)
        return self._fitting([Text.assemble((frames, GREY), lost, rest) for frames in sums])

    def _losses(self) -> Text:
        """Draw what was lost so far, also while the device is away, or that nothing was."""
        stats, source = self.state.stats, self.state.stats.source
        missing_seconds = stats.missing_seconds + self.state.away_seconds
        clauses = (
            (source.restarts, _counted(source.restarts, "restart"), RED),
            (missing_seconds, f"{missing_seconds:.1f} s missing", RED),
            (source.overruns, _counted(source.overruns, "overrun"), AMBER),
            (stats.skipped_predictions, f"{stats.skipped_predictions} left out", AMBER),
            (stats.degraded, f"{stats.degraded} degraded", AMBER),
            (stats.replaced_samples, f"{stats.replaced_samples} replaced", AMBER),
        )
        told = [Text(words, style) for amount, words, style in clauses if amount]
        return Text(", ", GREY).join(told) if told else Text("nothing", GREY)

    def _log(self) -> list[Text]:
        if not self.state.events:
            return [self._row("events", Text("none", GREY))]
        rows: list[Text] = []
        for event in self.state.events:
            at = Text(f"{clock_time(event.at_seconds):9}", GREY)
            row = self._row("" if rows else "events", at)
            row.append(set_cell_size(kind_name(event), 17), EVENT_COLORS[event.kind])
            rows.append(row.append(event.detail, GREY))
        return rows

    def _fitting(self, rows: Sequence[Text]) -> Text:
        """Return the first row that is not too wide, else the last one."""
        room = self.width - self.column
        return next((row for row in rows if row.cell_len <= room), rows[-1])


def _meter(share: float, length: int, color: str) -> Text:
    """Draw a bar, exact to half a cell, on a faint track."""
    full, half = divmod(round(min(max(share, 0.0), 1.0) * length * 2), 2)
    bar = "━" * full + "╸" * half
    return Text(bar, color).append("─" * (length - len(bar)), TRACK)


def _figure(name: str, stage: StageLatency, has_p95: bool) -> Text:
    p95 = f" (p95 {_milliseconds(stage.p95_seconds)})" if has_p95 else ""
    return Text.assemble((f"{name} ", GREY), f"{_milliseconds(stage.p50_seconds)} ms{p95}")


def _milliseconds(seconds: float) -> str:
    milliseconds = 1000.0 * seconds
    digits = 0 if milliseconds >= 10 else 1 if milliseconds >= 1 else 2
    return f"{milliseconds:.{digits}f}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
