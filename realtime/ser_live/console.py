"""The live view: what the engine hears, at most four times a second."""

import math
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.text import Text

from ser_live.latency import StageLatency
from ser_live.lettering import ROWS, letters
from ser_live.live import Listener, LiveStats, LiveStep
from ser_live.prediction import Prediction

TIMELINE_SECONDS = 60.0
_FRAME_SECONDS = 0.25
_CLIP_SECONDS = 1.5
_QUIETEST_DBFS = -60.0
_WIDEST = 110
_MARGIN = "  "

_COLORS = {
    "neutral": "#9fb0c0",
    "calm": "#74b9b0",
    "happy": "#e9c46a",
    "sad": "#6c93e0",
    "angry": "#e0655f",
    "fearful": "#a98bd8",
    "disgust": "#86b45e",
    "surprised": "#ee9b5a",
}
_SPARE_COLORS = ("#d78fb5", "#5fb3d4", "#c2b280", "#8fd19e", "#c98b6b")
_DIM = "#7a8290"
_TRACK = "dim #6b7280"
_STATE_WORDS = {"silence": "silence", "warming_up": "listening", "uncertain": "uncertain"}
_STAGES = ("resample", "gate", "spectrum", "inference", "smoothing")


@dataclass(frozen=True, slots=True)
class ViewState:
    """Everything that one frame shows."""

    source: str
    """The source in words."""
    model: str
    """The model and its settings in words."""
    notice: str
    """A sentence that must not be overlooked, or nothing."""
    labels: tuple[str, ...]
    prediction: Prediction | None
    """The latest one."""
    seconds: float
    """Length of the stream."""
    held_seconds: float
    """How long the present label or state has held."""
    timeline: tuple[Prediction, ...]
    """Those of the last minute."""
    hop_seconds: float
    rms_dbfs: float
    peak_dbfs: float
    is_clipping: bool
    stats: LiveStats


class LiveView:
    """Show a listener's steps on the terminal.

    Parameters
    ----------
    listener : Listener
        Open.
    notice : str
        A sentence that must not be overlooked, or nothing.
    console : rich.console.Console or None
        None: the terminal.
    """

    def __init__(
        self, listener: Listener[Any], notice: str = "", console: Console | None = None
    ) -> None:
        self.listener = listener
        self.notice = notice
        self.console = Console() if console is None else console
        self._live = Live(console=self.console, auto_refresh=False, screen=True)
        self.reset()

    def reset(self) -> None:
        """Forget what was shown: as new."""
        self._timeline: deque[Prediction] = deque()
        self._since_seconds = 0.0
        self._seconds = 0.0
        self._levels: deque[LiveStep] = deque()
        self._clipped_at = -math.inf
        self._due_at = -math.inf

    def __enter__(self) -> Self:
        self._live.__enter__()
        self._live.update(Frame(self.state()), refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, step: LiveStep) -> None:
        """Take a step, and draw if the last frame is old enough."""
        self.hear(step)
        now = time.monotonic()
        # A frame is best drawn with a fresh prediction, so other steps let it go first.
        patience = -0.05 if step.predictions else 0.1
        if now >= self._due_at + patience:
            self._due_at = max(self._due_at + _FRAME_SECONDS, now + _FRAME_SECONDS - 0.1)
            self._live.update(Frame(self.state()), refresh=True)

    def hear(self, step: LiveStep) -> None:
        """Take a step without drawing."""
        self._seconds = step.seconds
        self._levels.append(step)
        while self._levels[0].seconds <= step.seconds - _FRAME_SECONDS:
            self._levels.popleft()
        if step.is_clipping:
            self._clipped_at = step.seconds
        for prediction in step.predictions:
            if prediction.changed:
                self._since_seconds = prediction.end_seconds
            self._timeline.append(prediction)
        while self._timeline and self._timeline[0].end_seconds <= self._seconds - TIMELINE_SECONDS:
            self._timeline.popleft()

    def state(self) -> ViewState:
        """Give what a frame would show now."""
        source, recognizer = self.listener.source, self.listener.recognizer
        channels = {1: "mono", 2: "stereo"}.get(source.channels, f"{source.channels} channels")
        return ViewState(
            source=f"{source.name}, {source.sample_rate_hz / 1000:g} kHz {channels}",
            model=f"{recognizer.card.name}, hop {recognizer.hop_seconds:g} s",
            notice=self.notice,
            labels=recognizer.labels,
            prediction=self._timeline[-1] if self._timeline else None,
            seconds=self._seconds,
            held_seconds=max(0.0, self._seconds - self._since_seconds),
            timeline=tuple(self._timeline),
            hop_seconds=recognizer.hop_seconds,
            rms_dbfs=_dbfs(max((step.rms for step in self._levels), default=0.0)),
            peak_dbfs=_dbfs(max((step.peak for step in self._levels), default=0.0)),
            is_clipping=self._seconds - self._clipped_at < _CLIP_SECONDS,
            stats=self.listener.stats,
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """A view state as something that rich draws, in any size from about 60x18."""

    state: ViewState

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, _WIDEST + 2 * len(_MARGIN)) - 2 * len(_MARGIN)
        height = options.height or options.size.height
        letters_shown = _keys(self.state.labels) if console.no_color else {}
        yield _Painter(self.state, width, height, letters_shown).frame()


class _Painter:
    """Draw one frame, row by row."""

    def __init__(self, state: ViewState, width: int, height: int, keys: dict[str, str]) -> None:
        self.state = state
        self.width = width
        self.height = height
        self.keys = keys
        self.colors = colors(state.labels)

    def frame(self) -> Group:
        sections = [
            self._header(),
            self._headline(),
            self._bars(),
            self._timeline(),
            [self._level()],
            self._figures(),
        ]
        spare = self.height - sum(len(section) for section in sections)
        rows: list[Text] = []
        for index, section in enumerate(sections):
            # Blank rows first where they help most: around the headline and the bars.
            if index and spare > (3, 0, 1, 2, 4)[index - 1]:
                rows.append(Text(""))
            rows += section
        if spare > 6:
            rows.insert(0, Text(""))
        return Group(*(self._placed(row) for row in rows[: self.height]))

    def _placed(self, row: Text) -> Text:
        row = Text(_MARGIN, no_wrap=True, end="") + row
        row.truncate(self.width + len(_MARGIN))
        row.no_wrap = True
        row.end = "\n"
        return row

    def _header(self) -> list[Text]:
        state = self.state
        minutes, seconds = divmod(int(state.seconds), 60)
        about = f"  {state.source} · {state.model}"
        left = Text.assemble(("ser-live", "bold"), (about, _DIM))
        rows = [self._spread(left, Text(f"{minutes}:{seconds:02d}", style=_DIM))]
        return [*rows, Text(state.notice, style="italic #e9c46a")] if state.notice else rows

    def _headline(self) -> list[Text]:
        prediction = self.state.prediction
        word = "listening" if prediction is None else _word(prediction)
        style = self._style(prediction)
        roomy = self.height >= 30
        drawn = letters(word, self.width, large=True) if roomy else None
        drawn = drawn or letters(word, self.width, large=False)
        if self.height < 12 + ROWS + len(self.state.labels):
            drawn = None
        rows = [Text(row, style=style) for row in drawn or [word.upper()]]
        return [*rows, self._caption()]

    def _caption(self) -> Text:
        prediction = self.state.prediction
        if prediction is None:
            return Text("waiting for sound", style=_DIM)
        words = _STATE_WORDS.get(prediction.state, "speech")
        parts = [words, f"for {self.state.held_seconds:.0f} s"]
        if prediction.label is not None:
            parts.insert(1, f"confidence {100 * prediction.confidence:.0f} %")
        if prediction.degraded:
            parts.append("degraded by a gap")
        return Text(" · ".join(parts), style=_DIM)

    def _bars(self) -> list[Text]:
        prediction = self.state.prediction
        shares = (prediction.probabilities if prediction else None) or {}
        name_width = max(map(cell_len, self.state.labels))
        return [self._bar(label, shares.get(label), name_width) for label in self.state.labels]

    def _bar(self, label: str, share: float | None, name_width: int) -> Text:
        prediction = self.state.prediction
        is_current = prediction is not None and prediction.label == label
        key = f"{self.keys[label]} " if label in self.keys else ""
        length = self.width - name_width - 9 - len(key)
        row = Text(key + label.ljust(name_width + 2), style="bold" if is_current else _DIM)
        row.append_text(_meter(share or 0.0, length, self.colors[label]))
        figure = "" if share is None else f"{100 * share:5.0f} %"
        return row.append(figure.rjust(7), style="bold" if is_current else _DIM)

    def _timeline(self) -> list[Text]:
        cells = self.width
        cell_seconds = TIMELINE_SECONDS / cells
        # Cells stand still on the stream's clock: the line moves by whole cells, without shimmer.
        now = self.state.timeline[-1].end_seconds if self.state.timeline else 0.0
        last = math.ceil(now / cell_seconds - 1e-9)
        shown: dict[int, Prediction] = {}
        for prediction in self.state.timeline:
            first = math.floor((prediction.end_seconds - self.state.hop_seconds) / cell_seconds)
            for cell in range(first, math.ceil(prediction.end_seconds / cell_seconds - 1e-9)):
                shown[cell] = prediction
        row = Text()
        for cell in range(last - cells, last):
            row.append(*self._mark(shown.get(cell)))
        axis = self._spread(Text("60 s ago".ljust(cells // 2 - 2) + "30 s"), Text("now"))
        axis.stylize(_DIM)
        return [row, axis]

    def _mark(self, prediction: Prediction | None) -> tuple[str, str]:
        if prediction is None:
            return " ", ""
        if prediction.label is None:
            return ("·" if prediction.state == "silence" else "▁"), _DIM
        if self.keys:
            return self.keys[prediction.label], ""
        mark = "█" if prediction.state == "speech" else "▒"
        return mark, self.colors[prediction.label]

    def _level(self) -> Text:
        state = self.state
        share = 1.0 - max(state.rms_dbfs, _QUIETEST_DBFS) / _QUIETEST_DBFS
        row = Text("level".ljust(9), style=_DIM)
        row.append_text(_meter(share, max(10, self.width // 3), _level_color(state.peak_dbfs)))
        quiet = state.peak_dbfs <= -100.0
        figure = "no signal" if quiet else f"{state.rms_dbfs:.0f} dBFS, peak {state.peak_dbfs:.0f}"
        row.append("  " + figure, style=_DIM)
        if state.is_clipping:
            row.append("  CLIPPING", style="bold #e0655f")
        return row

    def _figures(self) -> list[Text]:
        stats = self.state.stats
        stages = {stage.name: stage for stage in stats.stages}
        row = Text("latency".ljust(9), style=_DIM)
        row.append("compute ", style=_DIM).append(_milliseconds(stages["total"]))
        if stages["lag"].count:
            row.append("   lag ", style=_DIM).append(_milliseconds(stages["lag"]))
        row.append("   delay ", style=_DIM)
        row.append(f"{stats.recognizer.delay.total_seconds:.1f} s")
        lost = stats.source.dropped
        second = Text("lost".ljust(9), style=_DIM)
        second.append(f"{lost} frames", style="bold #e0655f" if lost else _DIM)
        second.append(f", {stats.source.overruns} overruns, {stats.degraded} degraded", style=_DIM)
        return [row, self._spread(second, Text("Ctrl-C ends", style=_DIM))]

    def _spread(self, left: Text, right: Text) -> Text:
        gap = max(2, self.width - left.cell_len - right.cell_len)
        return Text.assemble(left, " " * gap, right)

    def _style(self, prediction: Prediction | None) -> str:
        if prediction is None or prediction.label is None:
            return _DIM
        color = self.colors[prediction.label]
        return f"bold {color}" if prediction.state == "speech" else f"dim {color}"


def colors(labels: Iterable[str]) -> dict[str, str]:
    """Give every label a colour: the usual ones theirs, others what is left."""
    chosen: dict[str, str] = {}
    unknown = 0
    for label in labels:
        if label in _COLORS:
            chosen[label] = _COLORS[label]
        else:
            chosen[label] = _SPARE_COLORS[unknown % len(_SPARE_COLORS)]
            unknown += 1
    return chosen


def _keys(labels: Iterable[str]) -> dict[str, str]:
    """Give every label a letter of its own, for terminals without colour."""
    chosen: dict[str, str] = {}
    for label in labels:
        free = (c for c in label + "abcdefghijklmnopqrstuvwxyz" if c not in chosen.values())
        chosen[label] = next(free, "?")
    return chosen


def _word(prediction: Prediction) -> str:
    return prediction.label or _STATE_WORDS[prediction.state]


def _meter(share: float, length: int, color: str) -> Text:
    """Draw a bar, exact to half a cell, on a faint track."""
    full, half = divmod(round(min(max(share, 0.0), 1.0) * length * 2), 2)
    bar = "━" * full + "╸" * half
    return Text(bar, style=color).append("─" * (length - len(bar)), style=_TRACK)


def _level_color(peak_dbfs: float) -> str:
    if peak_dbfs > -1.0:
        return "#e0655f"
    return "#e9c46a" if peak_dbfs > -6.0 else "#86b45e"


def _milliseconds(stage: StageLatency) -> str:
    p50, p95 = 1000 * stage.p50_seconds, 1000 * stage.p95_seconds
    return f"{p50:.1f} ms (p95 {p95:.1f})"


def _dbfs(amplitude: float) -> float:
    return 20.0 * math.log10(max(amplitude, 1e-6))
