"""Report of a model on ordinary talk: lines for a terminal, a page with its plot, and JSON."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np

from ser_train.evaluation.live.conditions import CLEAN
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

WANTED_EMOTION = 0.08
"""Share of the heard hops that may be sure of an emotion."""
WANTED_IN_CONDITIONS = 0.15
_FEWEST_TOLD = 0.005
"""Share of a label that a table tells."""


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
    return (
        f"{figures.protocol}; {figures.recordings} recordings of ordinary talk, "
        f"{figures.seconds / 60:.1f} minutes"
    )


def _table(figures: TalkFigures) -> Table:
    head = ("condition", "prior", "emotion %", "95 %", "neutral %", "95 %", "uncertain %")
    return [(*head, "speakers", "hops", "sure labels %"), *map(_row, figures.said)]


def _row(said: Said) -> tuple[str, ...]:
    told = sorted(said.sure.items(), key=lambda item: -item[1])
    labels = ", ".join(f"{name} {100 * share:.0f}" for name, share in told if share >= _FEWEST_TOLD)
    shares = (*_cells(said.emotion), *_cells(said.neutral), percent(said.uncertain.mean))
    return (said.condition, said.prior, *shares, str(said.speakers), str(said.hops), labels)


def _cells(share: Share) -> tuple[str, str]:
    bounds = share.interval
    return (
        percent(share.mean),
        f"{percent(bounds.low)} to {percent(bounds.high)}" if bounds else "",
    )


def _draw(path: Path, figures: TalkFigures) -> None:
    """Draw a stack of the sure labels, emotions below, for each condition and prior."""
    said = figures.said
    labels = sorted(said[0].sure, key=lambda label: label in NEUTRAL)
    colours = itertools.chain(PALE, itertools.cycle(COLOURS))
    names = [f"{one.condition}\n{one.prior}" for one in said]
    with plot(path, (9.0, 4.6)) as figure:
        axes = figure.subplots()
        below = np.zeros(len(said))
        for label, colour in zip(labels, colours, strict=False):
            heights = np.array([100.0 * one.sure[label] for one in said])
            hatch = "//" if label in NEUTRAL else None
            axes.bar(names, heights, 0.7, below, label=label, color=colour, hatch=hatch)
            below += heights
        unsure = [100.0 * one.uncertain.mean for one in said]
        axes.bar(names, unsure, 0.7, below, label="uncertain", color=GREY, alpha=0.3)
        for place, one in enumerate(said):
            wanted = WANTED_EMOTION if one.condition == CLEAN.name else WANTED_IN_CONDITIONS
            line = {"color": "black", "linestyle": ":", "linewidth": 1.2}
            axes.hlines(100.0 * wanted, place - 0.45, place + 0.45, **line)
        axes.set(ylabel="heard hops (%)", ylim=(0, 100))
        axes.set_title(f"{figures.model}, {figures.recordings} recordings of talk", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside right upper", frameon=False)
