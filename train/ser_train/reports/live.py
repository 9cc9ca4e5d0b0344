"""Report of a stream: lines for a terminal, a page with its plots, and JSON."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from ser_live.prediction import Prediction
from ser_train.evaluation.live.stream import PAUSE_SECONDS, ROOM_DBFS, SPEAKER_DBFS
from ser_train.evaluation.live.stream_measures import Heard, StreamFigures, StreamResult
from ser_train.reports.markdown import (
    Table,
    markdown_table,
    percent,
    text_table,
    write_json,
    write_page,
)
from ser_train.reports.plots import COLOURS, GREY, PALE, plot

WANTED_MEDIAN_SECONDS = 2.0
WANTED_P90_SECONDS = 3.0
WANTED_GAIN_SHARE = 0.01
_BLUE, _ORANGE = COLOURS
_LONGEST_SHOWN_SECONDS = 36.0
_CURVE_SECONDS = 6.0
_FEWEST_SHOWN = 30
"""Recordings behind a point of a curve."""
_SECONDS_PER_LETTER = 0.19
"""That a name takes in the bars of the timeline."""


def stream_lines(result: StreamResult) -> tuple[str, ...]:
    """Return the figures as lines of text for a person."""
    figures = result.figures
    out = [f"{figures.protocol}; {_stream(figures)}:"]
    for title, rows in _tables(figures):
        out += ["", title, *(f"  {line}" for line in text_table(rows))]
    return tuple(out)


def write_stream(folder: Path, result: StreamResult) -> None:
    """Write ``stream.md`` with its plots, and ``stream.json``, into a folder."""
    figures = result.figures
    _draw_timeline(folder / "stream-timeline.png", result)
    _draw_times(folder / "stream-times.png", result.heard)
    write_page(folder / "stream.md", _page(figures))
    write_json(folder / "stream.json", dataclasses.asdict(figures))


def _page(figures: StreamFigures) -> list[str]:
    sections = [
        paragraph
        for title, rows in _tables(figures)
        for paragraph in (f"## {title[0].upper()}{title[1:]}", markdown_table(rows))
    ]
    return [
        f"# {figures.model} on a stream",
        f"{figures.protocol}; {_stream(figures)}.",
        f"The recordings follow each other in a random order, with {PAUSE_SECONDS:g} s from each "
        "end of speech to the next onset: the recordings' own background where they have some, "
        f"faded into pink noise of {ROOM_DBFS:g} dBFS, which lies under the whole stream as a "
        "quiet room does. One gain for each speaker brings the median level of their speech to "
        f"{SPEAKER_DBFS:g} dBFS. Onset and end are found by energy. A label "
        "counts for a recording from its onset to the next one, when no earlier recording is in "
        "the window; labels in state uncertain count, and are also counted apart. Clips without "
        "any label count as wrong. The utterance of a recording is the one that shares most time "
        "with it; its label is the best guess of its pooled probabilities. Where no prior is "
        "named, it is the everyday one of the card.",
        *sections,
        "## Plots",
        "![Truth, stable label and confidence of the first recordings](stream-timeline.png)",
        "![Time to the stable label](stream-times.png)",
    ]


def _stream(figures: StreamFigures) -> str:
    minutes = figures.seconds / 60.0
    return (
        f"a stream of {figures.recordings} recordings, {minutes:.1f} minutes, a prediction every "
        f"{figures.hop_seconds:g} s, gate and smoothing as the card of {figures.model} has them"
    )


def _tables(figures: StreamFigures) -> tuple[tuple[str, Table], ...]:
    return (
        ("accuracy", _accuracy(figures)),
        ("seconds from the true onset", _times(figures)),
        ("priors", _priors(figures)),
        ("steadiness", _steadiness(figures)),
        ("confidence", _confidence(figures)),
        ("emotion in a minute without speech", _false_emotions(figures)),
    )


def _accuracy(figures: StreamFigures) -> Table:
    rows = [("what", "of", "UAR %", "WA %", "recordings")]
    for one in figures.accuracy:
        for what, found in (
            ("the last stable label", one.named),
            ("the utterance", one.utterance),
            ("offline, the first window, even prior", one.offline),
        ):
            rows.append((what, one.name, percent(found.uar), percent(found.wa), str(found.count)))
    rows.append(("every label of the stream", "all", "", percent(figures.right_share), ""))
    return [*rows, ("without any label", "all", "", "", str(figures.unnamed))]


def _priors(figures: StreamFigures) -> Table:
    rows = [
        ("prior", "UAR %", "coverage: sure labels %", "right of these %", "ECE of the last label %")
    ]
    each = [(one.prior, one) for one in figures.priors]
    each += [(f"{one.prior}, utterances", one) for one in figures.utterances]
    for name, one in each:
        ece = percent(one.confidence.at_the_end.ece) if one.confidence else "-"
        shares = (percent(one.named.uar), percent(one.coverage), percent(one.sure_right_share))
        rows.append((name, *shares, ece))
    return [*rows, ("cost of everyday, points", f"{figures.cost_points:.1f}", "", "", "")]


def _times(figures: StreamFigures) -> Table:
    wanted = f"(wanted {WANTED_MEDIAN_SECONDS:g} and {WANTED_P90_SECONDS:g})"
    rows = (
        ("first label", figures.first),
        (f"first correct label {wanted}", figures.first_correct),
        ("first correct label in state speech", figures.first_sure_correct),
        ("last change", figures.last_change),
    )
    return [
        ("to", "median", "p90", "recordings that have it"),
        *((name, _seconds(t.median), _seconds(t.p90), f"{t.count} of {t.of}") for name, t in rows),
    ]


def _steadiness(figures: StreamFigures) -> Table:
    most = f"(wanted <= {100 * WANTED_GAIN_SHARE:g} %)"
    return [
        ("what", "value"),
        ("label changes a minute, inside recordings", f"{figures.changes_per_minute:.2f}"),
        ("labels in state uncertain", f"{percent(figures.uncertain_share)} %"),
        ("labels after an onset that still hear an earlier recording", str(figures.mixed)),
        *(
            (f"state or label differs at {gain_db:+g} dB {most}", f"{100 * share:.3f} %")
            for gain_db, share in figures.gains
        ),
    ]


def _confidence(figures: StreamFigures) -> Table:
    head = ("smoothed probabilities of", "ECE %", "debiased ECE %", "NLL", "count")
    if figures.confidence is None:
        return [head, ("no recording has a label", "", "", "", "0")]
    rows = (
        ("the last label of each recording", figures.confidence.at_the_end),
        ("every label (neighbours depend on each other)", figures.confidence.throughout),
    )
    return [
        head,
        *(
            (name, percent(c.ece), percent(c.debiased_ece), f"{c.nll:.3f}", str(c.count))
            for name, c in rows
        ),
    ]


def _false_emotions(figures: StreamFigures) -> Table:
    return [
        ("sound", "seconds of emotion", "seconds uncertain"),
        *(
            (one.sound, f"{one.emotion_seconds:.2f}", f"{one.uncertain_seconds:.2f}")
            for one in figures.false_emotions
        ),
    ]


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f}"


def _draw_timeline(path: Path, result: StreamResult) -> None:
    """Draw the first recordings of a stream: truth, stable label and confidence over time."""
    heard = result.heard
    shown = [o for o in heard if o.span.end_seconds <= _LONGEST_SHOWN_SECONDS] or heard[:1]
    until = shown[-1].span.end_seconds + 0.5
    seen = [p for p in result.predictions if p.end_seconds <= until]
    labels = sorted({p.label for p in seen if p.label} | {_true_label(one) for one in shown})
    colours = dict(zip(labels, itertools.cycle(PALE), strict=False))
    with plot(path, (12.0, 4.6)) as figure:
        upper, lower = figure.subplots(2, 1, height_ratios=(2, 3), sharex=True)
        for one in shown:
            start, end = one.span.onset_seconds, one.span.end_seconds
            _bar(upper, start, end, 1.0, _true_label(one), colours)
            lower.axvspan(start, end, color=GREY, alpha=0.12, linewidth=0)
        for start, end, label in _runs(seen, result.figures.hop_seconds):
            _bar(upper, start, end, 0.0, label, colours)
        upper.set_yticks([1.0, 0.0], ["truth", "stable label"])
        upper.set_ylim(-0.5, 1.5)
        upper.tick_params(axis="y", length=0)
        named = [Patch(color=colours[label], label=label) for label in labels]
        figure.legend(handles=named, loc="outside upper center", ncols=len(named), frameon=False)
        _draw_confidence(lower, seen)
        lower.set(xlabel="seconds of the stream", ylabel="confidence", ylim=(0, 1), xlim=(0, until))
        for axes in (upper, lower):
            axes.spines[["top", "right"]].set_visible(False)


def _draw_confidence(axes: Axes, predictions: Sequence[Prediction]) -> None:
    times = [prediction.end_seconds for prediction in predictions]
    confidence = [p.confidence if p.label else np.nan for p in predictions]
    axes.plot(times, confidence, color=_BLUE, marker=".", label="of the stable label")
    unsure = [p for p in predictions if p.state == "uncertain"]
    at, low = [p.end_seconds for p in unsure], [p.confidence for p in unsure]
    axes.plot(at, low, color=_ORANGE, marker="o", linestyle="", label="state uncertain")
    axes.legend(frameon=False, loc="lower right", ncols=2, bbox_to_anchor=(1.0, 1.0))


def _draw_times(path: Path, heard: Sequence[Heard]) -> None:
    """Draw how soon recordings have a label, and how good it is after so much speech."""
    with plot(path, (11.0, 4.2)) as figure:
        left, right = figure.subplots(1, 2)
        _draw_arrivals(left, heard)
        _draw_shares(right, heard)
        for axes in (left, right):
            for wanted in (WANTED_MEDIAN_SECONDS, WANTED_P90_SECONDS):
                axes.axvline(wanted, color=GREY, linewidth=0.8, linestyle=":")
            axes.set(xlim=(0, _CURVE_SECONDS), ylim=(0, 101), xlabel="seconds since the true onset")
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, loc="lower right")


def _draw_arrivals(axes: Axes, heard: Sequence[Heard]) -> None:
    curves = (
        ("any label", [one.first_seconds for one in heard], GREY),
        ("the correct label", [one.first_correct_seconds for one in heard], _BLUE),
        ("the label that stays", [one.last_change_seconds for one in heard], _ORANGE),
    )
    for name, values, colour in curves:
        there = np.sort([value for value in values if value is not None])
        shares = 100.0 * np.arange(len(there) + 1) / len(heard)
        at = np.concatenate(([0.0], there, [_CURVE_SECONDS]))
        axes.step(at, np.append(shares, shares[-1]), where="post", color=colour, label=name)
    axes.set_ylabel("recordings that have had it (%)")
    axes.set_title(f"time to the stable label, {len(heard)} recordings", fontsize=10)


def _draw_shares(axes: Axes, heard: Sequence[Heard]) -> None:
    moments, labelled, right = [], [], []
    for moment in np.arange(0.25, _CURVE_SECONDS, 0.25):
        lasting = [o for o in heard if o.span.end_seconds - o.span.onset_seconds >= moment]
        if len(lasting) < _FEWEST_SHOWN:
            break
        now = [(one, one.at(moment)) for one in lasting]
        moments.append(moment)
        labelled.append(100.0 * np.mean([p is not None for _, p in now]))
        right.append(100.0 * np.mean([p is not None and one.is_right(p) for one, p in now]))
    axes.plot(moments, labelled, color=GREY, marker=".", label="any label")
    axes.plot(moments, right, color=_BLUE, marker=".", label="the correct label")
    axes.set_ylabel("of the recordings that still last (%)")
    axes.set_title("the stable label after so much speech", fontsize=10)


def _runs(predictions: Sequence[Prediction], hop_seconds: float) -> list[tuple[float, float, str]]:
    """Join neighbours of one label into (start, end, label)."""
    runs = []
    for label, group in itertools.groupby(predictions, key=lambda p: p.label):
        ends = [prediction.end_seconds for prediction in group]
        if label is not None:
            runs.append((ends[0], ends[-1] + hop_seconds, label))
    return runs


def _bar(
    axes: Axes, start: float, end: float, height: float, label: str, colours: Mapping[str, object]
) -> None:
    axes.barh(height, end - start, left=start, height=0.8, color=colours[label])
    if end - start >= _SECONDS_PER_LETTER * len(label):
        axes.text((start + end) / 2, height, label, ha="center", va="center", fontsize=8)


def _true_label(one: Heard) -> str:
    return one.span.voice.clip.label
