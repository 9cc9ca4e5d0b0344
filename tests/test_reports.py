"""The published figures follow from the published posteriors, by other code than made them."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
LEDGERS = sorted((ROOT / "docs" / "reports").iterdir())
REPORTS = [folder for folder in LEDGERS if (folder / "summary.json").is_file()]
"""A run of many hours, of which only some folds are finished, has no summary yet."""
QUOTING = [(ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/accuracy.md")]
reports = pytest.mark.parametrize("folder", REPORTS, ids=lambda folder: folder.name)


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    rows = (folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return summary, [json.loads(row) for row in rows]


def answers(
    folder: Path, seed: int, summary: dict[str, Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Names, speakers, true labels and tempered probabilities of one seed, in labels' order."""
    names, speakers, truth, probabilities = [], [], [], []
    for fold in summary["by_fold"]:
        temperature = fold["temperatures"][summary["seeds"].index(seed)]
        with np.load(folder / "posteriors" / f"seed{seed}-fold{fold['fold']}.npz") as saved:
            labels = saved["labels"].tolist()
            heard = saved["heard"].tolist()
            window = f"{summary['configuration']['window_seconds']:g}"
            powers = np.exp(saved["logits"][heard.index(window)].astype(float) / temperature)
            names += saved["names"].tolist()
            speakers += saved["speakers"].tolist()
            truth += [labels[k] for k in saved["truth"]]
        wide = np.zeros((len(powers), len(summary["labels"])))
        wide[:, [summary["labels"].index(label) for label in labels]] = powers
        probabilities += (wide / wide.sum(axis=1, keepdims=True)).tolist()
    order = np.argsort(names)
    return tuple(np.array(x)[order] for x in (names, speakers, truth, probabilities))  # type: ignore[return-value]


def uar_and_wa(
    truth: NDArray[Any], probabilities: NDArray[Any], labels: list[str]
) -> tuple[float, float]:
    best = np.array(labels)[probabilities.argmax(axis=1)]
    recalls = [(best[truth == label] == label).mean() for label in sorted(set(truth))]
    return float(np.mean(recalls)), float((best == truth).mean())


def calibration_error(truth: NDArray[Any], probabilities: NDArray[Any], labels: list[str]) -> float:
    right = np.array(labels)[probabilities.argmax(axis=1)] == truth
    confidence, total = probabilities.max(axis=1), 0.0
    for k in range(15):
        own = (confidence >= k / 15) & ((confidence < (k + 1) / 15) | (k == 14))
        total += abs(right[own].sum() - confidence[own].sum())
    return float(total / len(truth))


@reports
def test_figures_follow_from_the_posteriors(folder: Path) -> None:
    summary, _ = read(folder)
    labels, sums, found = summary["labels"], [], []
    for seed in summary["seeds"]:
        names, _, truth, probabilities = answers(folder, seed, summary)
        assert len(names) == len(set(names)) == summary["figures"]["clips"]
        true = probabilities[np.arange(len(truth)), [labels.index(label) for label in truth]]
        nll = -np.log(np.maximum(true, 1e-12)).mean()
        ece = calibration_error(truth, probabilities, labels)
        found.append([*uar_and_wa(truth, probabilities, labels), ece, nll])
        sums.append(probabilities)
    for name, values in zip(("uar", "wa", "ece", "nll"), zip(*found, strict=True), strict=True):
        assert summary["figures"][name]["seeds"] == pytest.approx(values, abs=1e-6)
        assert summary["figures"][name]["mean"] == pytest.approx(np.mean(values), abs=1e-6)
    assert (summary["ensemble"] is not None) == (len(sums) > 1)
    if summary["ensemble"]:
        uar, wa = uar_and_wa(truth, np.sum(sums, axis=0), labels)
        assert summary["ensemble"]["uar"]["mean"] == pytest.approx(uar, abs=1e-9)
        assert summary["ensemble"]["wa"]["mean"] == pytest.approx(wa, abs=1e-9)


@reports
def test_intervals_come_from_other_draws_of_the_speakers(folder: Path) -> None:
    summary, _ = read(folder)
    random, labels = np.random.default_rng(1), summary["labels"]
    tables = [answers(folder, seed, summary) for seed in summary["seeds"]]
    people = np.unique(tables[0][1])
    counts = np.zeros((len(tables), len(people), len(labels), len(labels)))
    for k, (_, speakers, truth, probabilities) in enumerate(tables):
        true = np.array([labels.index(label) for label in truth])
        own = np.searchsorted(people, speakers)
        np.add.at(counts[k], (own, true, probabilities.argmax(axis=1)), 1)
    values = []
    for _ in range(2000):
        drawn = counts[:, random.integers(len(people), size=len(people))].sum(axis=1)
        right, clips = np.diagonal(drawn, axis1=1, axis2=2), drawn.sum(axis=2)
        recalls = right / np.where(clips, clips, np.nan)
        values.append(
            (np.nanmean(recalls, axis=1).mean(), (right.sum(axis=1) / clips.sum(axis=1)).mean())
        )
    for k, name in enumerate(("uar", "wa")):
        interval = summary["figures"][name]["interval"]
        wanted = np.quantile(np.array(values)[:, k], (0.025, 0.975))
        assert (interval["low"], interval["high"]) == pytest.approx(wanted, abs=0.012)


def loss(folder: Path, rows: list[dict[str, Any]], temperature: float) -> float:
    """Sum of the negative log-likelihoods of some folds' first windows."""
    total = 0.0
    for row in rows:
        with np.load(folder / "posteriors" / f"seed{row['seed']}-fold{row['fold']}.npz") as saved:
            window = f"{row['configuration']['window_seconds']:g}"
            logits = saved["logits"][saved["heard"].tolist().index(window)] / temperature
            own = logits[np.arange(len(logits)), saved["truth"]]
            total += float((np.log(np.exp(logits.astype(float)).sum(axis=1)) - own).sum())
    return total


@reports
def test_temperatures_come_from_held_out_speakers_or_from_the_other_folds(folder: Path) -> None:
    summary, rows = read(folder)
    for row in rows:
        if row["seed"] not in summary["seeds"]:
            continue
        (fold,) = [fold for fold in summary["by_fold"] if fold["fold"] == row["fold"]]
        temperature = fold["temperatures"][summary["seeds"].index(row["seed"])]
        if row["temperature"] is not None:
            assert temperature == row["temperature"]
            assert {*row["validation_speakers"]}.isdisjoint(row["test_speakers"])
        else:
            seed = [r for r in rows if r["seed"] == row["seed"] and r["fold"] != row["fold"]]
            best = loss(folder, seed, temperature)
            assert best <= min(loss(folder, seed, temperature * x) for x in (0.97, 1.03))


@reports
def test_speakers_are_disjoint_where_it_is_said(folder: Path) -> None:
    summary, rows = read(folder)
    for row in rows:
        shared = {*row["training_speakers"]} & {*row["test_speakers"]}
        assert bool(shared) != summary["speaker_independent"]


@pytest.mark.parametrize("folder", LEDGERS, ids=lambda folder: folder.name)
def test_a_ledger_has_the_posteriors_of_its_rows_and_no_others(folder: Path) -> None:
    rows = [json.loads(row) for row in (folder / "ledger.jsonl").read_text().splitlines()]
    wanted = {f"seed{row['seed']}-fold{row['fold']}.npz" for row in rows}
    assert {path.name for path in (folder / "posteriors").iterdir()} == wanted


def test_every_report_that_is_named_is_there() -> None:
    named = set(re.findall(r"reports/([^/)]+)/report\.md", "".join(QUOTING)))
    assert named == {folder.name for folder in REPORTS}


@reports
def test_a_report_shows_all_its_pictures(folder: Path) -> None:
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([^)]+)\)", text)) == {p.name for p in folder.glob("*.png")}


@reports
def test_pages_quote_the_report(folder: Path) -> None:
    summary, _ = read(folder)
    lines = "\n".join(QUOTING).splitlines()
    rows = [line for line in lines if line.startswith("|") and f"reports/{folder.name}/" in line]
    assert rows
    for row in rows:
        figures = summary["ensemble"] if "ensemble of" in row else summary["figures"]
        uar, wa = (float(text) for text in re.findall(r"(\d+\.\d)(?: ± \d+\.\d)? %", row)[:2])
        assert uar == round(100 * figures["uar"]["mean"], 1)
        assert wa == round(100 * figures["wa"]["mean"], 1)
        assert ("speaker-dependent" in row) != summary["speaker_independent"]
