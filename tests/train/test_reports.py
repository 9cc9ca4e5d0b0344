"""The published figures follow from the published posteriors, by other code than made them."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ser_train.cross_validation.ledger import Ledger
from ser_train.cross_validation.measurement import measure_ledger
from ser_train.reports.cross_validation import report_page

ROOT = Path(__file__).parents[2]
REPORTS = sorted((ROOT / "docs" / "reports").iterdir())
QUOTING = [(ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/accuracy.md")]


class Report:
    """A report folder, read without the code that wrote it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rows = (folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
        self.rows = [json.loads(row) for row in rows]
        self.summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        self.labels: list[str] = self.summary["labels"]
        self.window = f"{self.summary['configuration']['window_seconds']:g}"
        self.seeds = [self.answers(seed) for seed in self.summary["seeds"]]

    def fold(self, seed: int, fold: int) -> dict[str, NDArray[Any]]:
        """Posteriors of one fold, with the logits of the headline's window."""
        with np.load(self.folder / "posteriors" / f"seed{seed}-fold{fold}.npz") as saved:
            place = saved["heard"].tolist().index(self.window)
            return {**saved, "logits": saved["logits"][place].astype(float)}

    def temperature(self, seed: int, fold: int) -> float:
        (own,) = [one for one in self.summary["by_fold"] if one["fold"] == fold]
        return float(own["temperatures"][self.summary["seeds"].index(seed)])

    def answers(self, seed: int) -> tuple[NDArray[Any], ...]:
        """True labels, probabilities, names and untempered probabilities of one seed's clips."""
        folds = []
        for fold in (one["fold"] for one in self.summary["by_fold"]):
            saved = self.fold(seed, fold)
            places = np.array([self.labels.index(label) for label in saved["labels"]])
            wide = np.zeros((2, len(saved["names"]), len(self.labels)))
            for place, temperature in enumerate((self.temperature(seed, fold), 1.0)):
                powers = np.exp(saved["logits"] / temperature)
                wide[place][:, places] = powers / powers.sum(axis=1, keepdims=True)
            folds.append((places[saved["truth"]], wide[0], saved["names"], wide[1]))
        columns = [np.concatenate(parts) for parts in zip(*folds, strict=True)]
        order = np.argsort(columns[2])
        return tuple(column[order] for column in columns)


def uar_and_wa(truth: NDArray[np.intp], probabilities: NDArray[Any]) -> tuple[float, float]:
    from sklearn.metrics import accuracy_score, recall_score  # noqa: PLC0415 - takes seconds

    best, tested = probabilities.argmax(axis=1), np.unique(truth)
    uar = recall_score(truth, best, labels=tested, average="macro")
    return float(uar), float(accuracy_score(truth, best))


def calibration_error(truth: NDArray[np.intp], probabilities: NDArray[Any]) -> float:
    right = probabilities.argmax(axis=1) == truth
    confidence, total = probabilities.max(axis=1), 0.0
    for k in range(15):
        own = (confidence >= k / 15) & ((confidence < (k + 1) / 15) | (k == 14))
        total += abs(right[own].sum() - confidence[own].sum())
    return float(total / len(truth))


def debiased_error(truth: NDArray[np.intp], probabilities: NDArray[Any]) -> float:
    right = probabilities.argmax(axis=1) == truth
    confidence, squares, told = probabilities.max(axis=1), 0.0, 0
    for k in range(15):
        own = (confidence >= k / 15) & ((confidence < (k + 1) / 15) | (k == 14))
        if (count := int(own.sum())) > 1:
            gap = right[own].mean() - confidence[own].mean()
            squares += count * (gap**2 - right[own].var(ddof=1) / count)
            told += count
    return float(np.sign(squares) * np.sqrt(abs(squares) / told))


@pytest.mark.parametrize("folder", REPORTS, ids=lambda folder: folder.name)
def test_a_report_follows_from_its_posteriors(folder: Path) -> None:
    report = Report(folder)
    posteriors = {f"seed{row['seed']}-fold{row['fold']}.npz" for row in report.rows}
    assert {path.name for path in (folder / "posteriors").iterdir()} == posteriors
    check_figures(report)
    check_speakers(report)
    check_page(report)
    check_quotations(report)


def check_figures(report: Report) -> None:
    from sklearn.metrics import log_loss  # noqa: PLC0415 - takes seconds

    figures, ensemble, found = report.summary["figures"], report.summary["ensemble"], []
    for truth, probabilities, names, _ in report.seeds:
        assert len(names) == len(set(names)) == figures["clips"]
        nll = log_loss(truth, np.maximum(probabilities, 1e-12), labels=range(len(report.labels)))
        ece = calibration_error(truth, probabilities)
        debiased = debiased_error(truth, probabilities)
        found.append([*uar_and_wa(truth, probabilities), ece, debiased, nll])
    of = ("uar", "wa", "ece", "debiased_ece", "nll")
    for name, values in zip(of, zip(*found, strict=True), strict=True):
        assert figures[name]["seeds"] == pytest.approx(values, abs=1e-6)
        assert figures[name]["mean"] == pytest.approx(np.mean(values), abs=1e-6)
    assert (ensemble is not None) == (len(found) > 1)
    if ensemble:
        uar, wa = uar_and_wa(truth, np.sum([one[3] for one in report.seeds], axis=0))
        assert ensemble["uar"]["mean"] == pytest.approx(uar, abs=1e-9)
        assert ensemble["wa"]["mean"] == pytest.approx(wa, abs=1e-9)


def check_speakers(report: Report) -> None:
    for row in report.rows:
        shared = {*row["training_speakers"]} & {*row["test_speakers"]}
        assert bool(shared) != report.summary["speaker_independent"]
        assert {*row["validation_speakers"]}.isdisjoint(row["test_speakers"])


def check_page(report: Report) -> None:
    """Every figure of the page, also intervals and temperatures, is the one of today's code."""
    text = (report.folder / "report.md").read_text(encoding="utf-8")
    shown = re.findall(r"\]\(([^)]+)\)", text)
    assert sorted(shown) == sorted(path.name for path in report.folder.glob("*.png"))
    paragraphs = report_page(measure_ledger(Ledger(report.folder)), report.folder.name, shown)
    assert text == "\n\n".join(filter(None, paragraphs)) + "\n"


def check_quotations(report: Report) -> None:
    """Pages that quote the report say the same."""
    lines = "\n".join(QUOTING).splitlines()
    place = f"reports/{report.folder.name}/"
    rows = [line for line in lines if line.startswith("|") and place in line]
    assert rows
    for row in rows:
        figures = report.summary["ensemble" if "ensemble of" in row else "figures"]
        uar, wa = (float(text) for text in re.findall(r"(\d+\.\d)(?: ± \d+\.\d)? %", row)[:2])
        assert uar == round(100 * figures["uar"]["mean"], 1)
        assert wa == round(100 * figures["wa"]["mean"], 1)
        assert ("speaker-dependent" in row) != report.summary["speaker_independent"]


def test_every_report_that_is_named_is_there() -> None:
    named = set(re.findall(r"reports/([^/)]+)/report\.md", "".join(QUOTING)))
    assert named == {folder.name for folder in REPORTS}
