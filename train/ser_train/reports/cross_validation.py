"""The report of a cross-validation: ``summary.json``, ``report.md`` and its pictures."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ser_train.cross_validation.ledger import Ledger
from ser_train.cross_validation.measurement import Measurement, measure_ledger
from ser_train.metrics import confusion, reliability
from ser_train.reports import markdown as pages
from ser_train.reports.cross_validation_plots import draw_report
from ser_train.reports.cross_validation_text import headline, markdown, repeat_command

SUMMARY = "summary.json"
REPORT = "report.md"


def summarise(folder: Path) -> tuple[str, ...]:
    """Write the report of the finished folds in a folder; needs no TensorFlow.

    Returns
    -------
    tuple of str
        The headline figures as lines of text.

    Raises
    ------
    SerError
        If no fold is finished, or the files in the folder do not fit together.
    """
    measured = measure_ledger(Ledger(folder))
    pages.write_json(folder / SUMMARY, _data(measured, folder))
    drawn = draw_report(folder, measured)
    pages.write_page(folder / REPORT, markdown(measured, folder.name, drawn))
    return (*headline(measured), f"the report is {folder / REPORT}")


def _data(measured: Measurement, folder: Path) -> dict[str, Any]:
    configuration = measured.rows[0].configuration
    truth = np.concatenate([one.truth for one in measured.pools])
    answers = np.concatenate([one.probabilities[measured.headline] for one in measured.pools])
    return {
        "command": repeat_command(measured, folder.name),
        "configuration": dataclasses.asdict(configuration),
        "protocol": measured.protocol.words,
        "speaker_independent": measured.protocol.speaker_independent,
        "labels": measured.labels,
        "seeds": measured.seeds,
        "folds": measured.folds,
        "finished_folds": len(measured.rows),
        "heard": measured.heard,
        "figures": dataclasses.asdict(measured.single),
        "ensemble": _optional(measured.together),
        "among_tested": _optional(measured.among_tested),
        "ensemble_among_tested": _optional(measured.together_among_tested),
        "untempered": dataclasses.asdict(measured.untempered),
        "normalised_by_speaker": _optional(measured.normalised),
        "by_seconds_heard": {
            name: {"uar": uar, "wa": wa} for name, (uar, wa) in measured.heard_figures().items()
        },
        "by_speaker": measured.speakers(),
        "mean_over_folds": measured.mean_over_folds(),
        "by_fold": [dataclasses.asdict(fold) for fold in measured.per_fold],
        "confusion": confusion(answers, truth).tolist(),
        "reliability": [dataclasses.asdict(one) for one in reliability(answers, truth)],
    }


def _optional(record: Any) -> dict[str, Any] | None:
    return dataclasses.asdict(record) if record else None
