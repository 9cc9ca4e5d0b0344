"""The published figures follow from the published posteriors."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
REPORTS = sorted((ROOT / "docs" / "reports").iterdir())
README = (ROOT / "README.md").read_text(encoding="utf-8")
reports = pytest.mark.parametrize("folder", REPORTS, ids=lambda folder: folder.name)


@reports
def test_figures_follow_from_the_posteriors(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    truth, best, clips = [], [], []
    for fold in sorted(folder.glob("fold*")):
        with np.load(fold / "posteriors.npz") as saved:
            truth.append(saved["truth"])
            best.append(saved["window"].argmax(axis=1))
            clips += saved["names"].tolist()
    right = np.concatenate(truth) == np.concatenate(best)
    recalls = [right[np.concatenate(truth) == k].mean() for k in range(len(summary["labels"]))]
    assert len(clips) == len(set(clips)) == summary["window"]["count"]
    assert right.mean() == pytest.approx(summary["window"]["wa"], abs=1e-9)
    assert np.mean(recalls) == pytest.approx(summary["window"]["uar"], abs=1e-9)


@reports
def test_speakers_are_disjoint_where_it_is_said(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    for fold in summary["folds"]:
        shared = {*fold["training_speakers"]} & {*fold["test_speakers"]}
        assert bool(shared) != summary["speaker_independent"]


@reports
def test_the_readme_quotes_the_report(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    (row,) = [line for line in README.splitlines() if f"docs/reports/{folder.name}" in line]
    uar, wa = (float(text) for text in re.findall(r"(\d+\.\d) %", row)[:2])
    assert uar == round(100 * summary["window"]["uar"], 1)
    assert wa == round(100 * summary["window"]["wa"], 1)
    assert ("speaker-dependent" in row) != summary["speaker_independent"]
