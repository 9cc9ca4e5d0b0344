"""Tables of answers that every kind of report has: figures, speakers, confusion."""

from collections.abc import Iterable, Sequence

import numpy as np

from ser_train.cross_validation.measurement import Figures, speaker_figures
from ser_train.cross_validation.pooling import Pool
from ser_train.metrics import confusion
from ser_train.reports.markdown import Table, percent


def tables_of(
    figures: Iterable[tuple[str, Figures | None]], pools: Sequence[Pool], heard: int
) -> dict[str, Table]:
    """Return all tables by name, with plain numbers, and columns for spread and 95 % interval.

    Parameters
    ----------
    figures : iterable of (str, Figures or None)
        Ways of answering, by name; None: not measured.
    pools : sequence of Pool
        Answers of each seed.
    heard : int
        Length of speech that the speakers and the confusion rest on.
    """
    rows = [_row(name, of) for name, of in figures if of]
    titles = [title for title in rows[0] if any(row[title] for row in rows)]
    return {
        "figures": [titles, *([row[title] for title in titles] for row in rows)],
        "speakers": speakers_table(pools, heard),
        "confusion": confusion_table(pools, heard),
    }


def speakers_table(pools: Sequence[Pool], heard: int) -> Table:
    """List clips, UAR and WA of each speaker, mean over seeds."""
    rows = [
        (of.speaker, str(of.clips), percent(of.uar), percent(of.wa))
        for of in speaker_figures(pools, heard)
    ]
    return [("speaker", "clips", "UAR %", "WA %"), *rows]


def confusion_table(pools: Sequence[Pool], heard: int) -> Table:
    """Count clips by true label (row) and answer (column), mean over seeds."""
    labels = pools[0].labels
    counts = np.mean([confusion(one.probabilities[heard], one.truth) for one in pools], axis=0)
    rows = [
        (label, *(f"{count:.1f}".removesuffix(".0") for count in row))
        for label, row in zip(labels, counts, strict=True)
        if row.any()
    ]
    return [("true", *labels), *rows]


def size_words(parameters: int | None, multiply_adds: int | None, window: str) -> str:
    """Tell the size of a network, with the method; empty if it was not counted."""
    if parameters is None:
        return ""
    text = f"{parameters:,} parameters"
    if multiply_adds is None:
        return f"{text}; multiply-adds not counted (the graph has loops or Einsum)."
    return (
        f"{text}; {multiply_adds / 1e6:,.1f} million multiply-adds for a window of {window} s "
        "(convolutions and matrix products in the traced graph, by TensorFlow's profiler)."
    )


def _row(name: str, of: Figures) -> dict[str, str]:
    """Return the cells of one way of answering, by the heads of their columns."""
    cells = {"answers": name, "clips": str(of.clips)}
    figures = {"UAR": of.uar, "WA": of.wa, "ECE": of.ece, "debiased ECE": of.debiased_ece}
    for title, figure in figures.items():
        cells[f"{title} %"] = percent(figure.mean)
        cells[f"{title} sd"] = "" if figure.sd is None else percent(figure.sd)
        if figure.interval:
            bounds = figure.interval.low, figure.interval.high
            cells[f"{title} from"], cells[f"{title} to"] = map(percent, bounds)
    return {**cells, "NLL": f"{of.nll.mean:.3f}"}
