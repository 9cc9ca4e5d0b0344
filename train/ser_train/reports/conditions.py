"""Reports of conditions and of ordinary talk: lines for a terminal, a page with its plot, JSON."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np

from ser_train.evaluation.live.conditions import CLEAN, ConditionsFigures
from ser_train.evaluation.live.ordinary import NEUTRAL, Said, Share, TalkFigures
from ser_train.reports.markdown import (
    Table,
    markdown_table,
    percent,
    text_table,
    write_json,
    write_page,
)
from ser_train.reports.plots import COLOURS, GREY, PALE, plot

WANTED_POINTS = 6.0
"""Of UAR that a condition may cost."""
WANTED_EMOTION = 0.08
"""Share of the heard hops of ordinary talk that may be sure of an emotion."""
WANTED_IN_CONDITIONS = 0.15
"""The same from afar, by telephone and as MP3."""
_FEWEST_TOLD = 0.005
"""Share of a label that a table tells."""
_BLUE, _ORANGE = COLOURS


def conditions_lines(figures: ConditionsFigures) -> tuple[str, ...]:
    """Return the figures as lines of text for a person."""
    return (f"{figures.protocol}:", "", *text_table(_conditions_table(figures)))


def write_conditions(folder: Path, figures: ConditionsFigures) -> None:
    """Write ``conditions.md`` with its plot, and ``conditions.json``, into a folder."""
    page = [
        f"# {figures.model} in bad conditions",
        f"{figures.protocol}. Every condition is made from the recording's samples, the same for "
        f"the same recording in every run (seed {figures.seed}). Lost: points of UAR, wanted at "
        f"most {WANTED_POINTS:g}.",
        markdown_table(_conditions_table(figures)),
        "![UAR in each condition](conditions.png)",
    ]
    _draw_conditions(folder / "conditions.png", figures)
    write_page(folder / "conditions.md", page)
    write_json(folder / "conditions.json", dataclasses.asdict(figures))


def _conditions_table(figures: ConditionsFigures) -> Table:
    rows = [("condition", "UAR %", "lost", "WA %", "ECE %", "clips", "what it is")]
    for one in figures.measured:
        lost = "" if one.name == CLEAN.name else f"{one.lost_points:.1f}"
        shares = (percent(one.scores.uar), lost, percent(one.scores.wa), percent(one.scores.ece))
        rows.append((one.name, *shares, str(one.scores.count), one.words))
    return rows


def _draw_conditions(path: Path, figures: ConditionsFigures) -> None:
    """Draw the UAR in each condition, and the line under which too much is lost."""
    with plot(path, (7.5, 4.2)) as figure:
        axes = figure.subplots()
        uars = [100.0 * one.scores.uar for one in figures.measured]
        bars = axes.bar(
            [one.name for one in figures.measured],
            uars,
            width=0.65,
            color=[
                _BLUE if one.lost_points <= WANTED_POINTS else _ORANGE for one in figures.measured
            ],
        )
        lost = ["", *(f"\n{-one.lost_points:+.1f}" for one in figures.measured[1:])]
        texts = [f"{uar:.1f}{less}" for uar, less in zip(uars, lost, strict=True)]
        axes.bar_label(bars, texts, label_type="center", fontsize=10, color="white")
        least, right = uars[0] - WANTED_POINTS, len(uars) - 0.5
        axes.axhline(least, color=GREY, linestyle=":", linewidth=1.2)
        under = f" {WANTED_POINTS:g} points\n under clean"
        axes.text(right, least, under, color=GREY, fontsize=9, va="center")
        axes.set(ylabel="UAR (%)", ylim=(0, min(100.0, 1.1 * max(uars))), xlim=(-0.6, right))
        count = figures.measured[0].scores.count
        axes.set_title(f"{figures.model}, {count} recordings", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)


def talk_lines(figures: TalkFigures) -> tuple[str, ...]:
    """Return the figures as lines of text for a person."""
    return (f"{_opening(figures)}:", "", *text_table(_table(figures)))


def write_talk(folder: Path, figures: TalkFigures) -> None:
    """Write ``ordinary.md`` with its plot, and ``ordinary.json``, into a folder."""
    words = {said.condition: said.words for said in figures.said}
    _draw(folder / "ordinary.png", figures)
    page = [
        f"# {figures.model} on ordinary talk",
        f"{_opening(figures)}. Each recording is played by itself through the live engine as it "
        "is used, with gate, smoothing and threshold. Shares are of the heard hops, those in state "
        "speech or uncertain, and means over speakers, each counting alike; 95 % intervals are "
        "over speakers (Student's t), none with fewer than three. Emotion: a sure label that is "
        "neither neutral nor calm.",
        markdown_table(_table(figures)),
        f"Wanted: at most {100 * WANTED_EMOTION:g} % sure of an emotion, in the other conditions "
        f"{100 * WANTED_IN_CONDITIONS:g} %. "
        + "; ".join(f"{name}: {what}" for name, what in words.items()),
        "![Sure labels in each condition, under each prior](ordinary.png)",
    ]
    write_page(folder / "ordinary.md", page)
    write_json(folder / "ordinary.json", dataclasses.asdict(figures))


def _opening(figures: TalkFigures) -> str:
    return f"{figures.protocol}; {figures.recordings} recordings of ordinary talk"


def _table(figures: TalkFigures) -> Table:
    head = ("condition", "prior", "emotion %", "95 %", "neutral %", "95 %", "uncertain %")
    return [(*head, "speakers", "hops", "sure labels %"), *map(_row, figures.said)]


def _row(said: Said) -> tuple[str, ...]:
    told = sorted(said.sure.items(), key=lambda item: -item[1])
    labels = ", ".join(f"{name} {100 * share:.0f}" for name, share in told if share >= _FEWEST_TOLD)
    shares = [*_cells(said.emotion), *_cells(said.neutral), percent(said.uncertain.mean)]
    if not said.hops:  # nothing was heard: no share is known, not even that of 0 %
        shares = [""] * len(shares)
    return (said.condition, said.prior, *shares, str(said.speakers), str(said.hops), labels)


def _cells(share: Share) -> tuple[str, str]:
    bounds = share.interval
    within = f"{percent(bounds.low)} to {percent(bounds.high)}" if bounds else ""
    return percent(share.mean), within


def _draw(path: Path, figures: TalkFigures) -> None:
    """Draw a stack of the sure labels, emotions below, for each condition and prior."""
    labels = sorted(figures.said[0].sure, key=lambda label: label in NEUTRAL)
    names = [f"{one.condition}\n{one.prior}" for one in figures.said]
    with plot(path, (9.0, 4.6)) as figure:
        axes = figure.subplots()
        below = np.zeros(len(names))
        for label, colour in zip(labels, itertools.cycle(PALE), strict=False):
            heights = np.array([100.0 * one.sure[label] for one in figures.said])
            hatch = "//" if label in NEUTRAL else None
            axes.bar(names, heights, 0.7, below, label=label, color=colour, hatch=hatch)
            below += heights
        for wanted in (WANTED_EMOTION, WANTED_IN_CONDITIONS):
            axes.axhline(100.0 * wanted, color="black", linestyle=":", linewidth=1.0)
        axes.set(ylabel="heard hops with a sure label (%)", ylim=(0, 100))
        axes.set_title(f"{figures.model}, {figures.recordings} recordings of talk", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside right upper", frameon=False)
