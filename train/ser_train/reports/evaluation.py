"""Report of one measured model: a page with its plots, tables, JSON and the answer to each clip."""

import dataclasses

import numpy as np

from ser_live.model.card import ModelCard
from ser_train.cross_validation.comparison import ANSWERS, pool_of
from ser_train.cross_validation.ledger import Posteriors
from ser_train.cross_validation.measurement import figures_of, speaker_figures
from ser_train.cross_validation.plan import conditions
from ser_train.evaluation.calibration import Measured
from ser_train.evaluation.clips import Evaluation
from ser_train.metrics import confusion
from ser_train.models.size import ModelSize
from ser_train.reports.markdown import markdown_table, write_json, write_page, write_tables
from ser_train.reports.plots import draw_measured
from ser_train.reports.tables import size_words, tables_of


def write_evaluation(
    job: Evaluation, card: ModelCard, measured: Measured, protocol: str, size: ModelSize
) -> None:
    """Write the report of a measurement into the job's folder.

    Parameters
    ----------
    job : Evaluation
        With a report folder.
    card : ModelCard
    measured : Measured
    protocol : str
        Whose recordings were heard, in words.
    size : ModelSize
    """
    folder, window = job.report_folder or job.cache_folder, f"{card.window.seconds:g}"
    answers = measured.probabilities[np.newaxis]
    Posteriors.of(measured.clips, card.labels, (window,), answers).save(folder / ANSWERS)
    pools = (pool_of(folder / ANSWERS),)
    tables = tables_of([(card.name, figures_of(pools, 0))], pools, 0)
    draw_measured(folder, measured, card.labels, card.name)
    write_tables(folder, tables, job.tables)
    made = conditions(job.command_line)
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    paragraphs = (
        f"# {card.name}",
        f"{protocol[0].upper()}{protocol[1:].rstrip(':')}.",
        f"```console\n{job.command_line}\n```" if job.command_line else "",
        markdown_table(tables["figures"]),
        "Intervals are t intervals over speakers (jackknife); none with fewer than three.",
        "![confusion](confusion.png)\n![reliability](reliability.png)",
        "## Speakers",
        markdown_table(tables["speakers"]),
        "## Conditions",
        size_words(size.parameters, size.multiply_adds, window),
        f"Measured with {versions}, on {made['machine']}.",
    )
    write_page(folder / "report.md", paragraphs)
    write_json(
        folder / "metrics.json",
        {
            "protocol": protocol,
            "scores": dataclasses.asdict(measured.scores),
            "labels": card.labels,
            "speakers": [dataclasses.asdict(of) for of in speaker_figures(pools, 0)],
            "confusion": confusion(measured.probabilities, measured.truth).tolist(),
            **dataclasses.asdict(size),
            **made,
        },
    )
