"""Pictures of a stream that was measured."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ser_live.prediction import Prediction
from ser_train.evaluation.live.stream_measures import Heard
from ser_train.reports.plots import COLOURS, GREY, save

_BLUE, _ORANGE = COLOURS
_PALE = (
    "#aec7e8", "#ffbb78", "#98df8a", "#ff9896", "#c5b0d5", "#c49c94", "#f7b6d2", "#dbdb8d",
    "#9edae5",
)  # fmt: skip
_LONGEST_SHOWN_SECONDS = 36.0
_CURVE_SECONDS = 6.0
_FEWEST_SHOWN = 30
"""Recordings behind a point of a curve."""
_SECONDS_PER_LETTER = 0.19
"""That a name takes in the bars of the timeline."""


def draw_timeline(
    path: Path, heard: Sequence[Heard], predictions: Sequence[Prediction], hop_seconds: float
) -> None:
    """Draw the first recordings of a stream: truth, stable label and confidence over time."""
    shown = [o for o in heard if o.span.end_seconds <= _LONGEST_SHOWN_SECONDS] or heard[:1]
    until = shown[-1].span.end_seconds + 0.5
    seen = [p for p in predictions if p.end_seconds <= until]
    labels = sorted({p.label for p in seen if p.label} | {_true_label(one) for one in shown})
    colours = dict(zip(labels, itertools.cycle(_PALE), strict=False))
    figure = Figure(figsize=(12.0, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(2, 3), sharex=True)
    for one in shown:
        start, end = one.span.onset_seconds, one.span.end_seconds
        _bar(upper, start, end, 1.0, _true_label(one), colours)
        lower.axvspan(start, end, color=GREY, alpha=0.12, linewidth=0)
    for start, end, label in _runs(seen, hop_seconds):
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
    save(figure, path)


def _draw_confidence(axes: Axes, predictions: Sequence[Prediction]) -> None:
    times = [prediction.end_seconds for prediction in predictions]
    confidence = [p.confidence if p.label else np.nan for p in predictions]
    axes.plot(times, confidence, color=_BLUE, marker=".", label="of the stable label")
    unsure = [p for p in predictions if p.state == "uncertain"]
    at, low = [p.end_seconds for p in unsure], [p.confidence for p in unsure]
    axes.plot(at, low, color=_ORANGE, marker="o", linestyle="", label="state uncertain")
    axes.legend(frameon=False, loc="lower right", ncols=2, bbox_to_anchor=(1.0, 1.0))


def draw_times(path: Path, heard: Sequence[Heard]) -> None:
    """Draw how soon recordings have a label, and how good it is after so much speech."""
    figure = Figure(figsize=(11.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_arrivals(left, heard)
    _draw_shares(right, heard)
    for axes in (left, right):
        for wanted in (2.0, 3.0):
            axes.axvline(wanted, color=GREY, linewidth=0.8, linestyle=":")
        axes.set(xlim=(0, _CURVE_SECONDS), ylim=(0, 101), xlabel="seconds since the true onset")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower right")
    save(figure, path)


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
    runs: list[tuple[float, float, str]] = []
    for p in predictions:
        if p.label is None:
            continue
        joins = bool(runs) and runs[-1][2] == p.label
        if joins and abs(runs[-1][1] - p.end_seconds) < 1e-6:
            runs[-1] = (runs[-1][0], p.end_seconds + hop_seconds, p.label)
        else:
            runs.append((p.end_seconds, p.end_seconds + hop_seconds, p.label))
    return runs


def _bar(
    axes: Axes, start: float, end: float, height: float, label: str, colours: Mapping[str, object]
) -> None:
    axes.barh(height, end - start, left=start, height=0.8, color=colours[label])
    if end - start >= _SECONDS_PER_LETTER * len(label):
        axes.text((start + end) / 2, height, label, ha="center", va="center", fontsize=8)


def _true_label(one: Heard) -> str:
    return one.span.voice.clip.label
