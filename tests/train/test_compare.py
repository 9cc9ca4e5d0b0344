"""Two reports of the same clips: paired differences, their intervals, and tables."""

import csv
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy
from numpy.typing import NDArray

from helpers.in_process import call, error_of
from helpers.measured import CONFIGURATION, LABELS, posteriors_of, write
from ser_train.commands.cli import main
from ser_train.cross_validation.comparison import ANSWERS, compare_reports, read_answers
from ser_train.metrics import paired_intervals
from ser_train.reports.markdown import latex_table

SPEAKERS, CLIPS = 6, 8


def write_report(
    folder: Path, right: NDArray[np.bool_], labels: tuple[str, ...] = LABELS, **changes: object
) -> Path:
    """Write a report of (seeds, speakers, clips) answers that are right or wrong."""
    truth, folds = np.arange(CLIPS) % 2, {}
    for seed, speaker in np.ndindex(right.shape[:2]):
        answers = np.where(right[seed, speaker], truth, 1 - truth)
        posteriors = posteriors_of(speaker, np.eye(4)[answers] * 0.6 + 0.1, truth)
        order = [labels.index(label) for label in LABELS]
        folds[seed, speaker] = dataclasses.replace(
            posteriors,
            labels=labels,
            truth=np.array(order, np.intp)[truth],
            probabilities=posteriors.probabilities[..., np.argsort(order)],
        )
    write(folder, folds, total=right.shape[1], **changes)
    return folder


def drawn(seed: int, accuracy: float, seeds: int = 1) -> NDArray[np.bool_]:
    random = np.random.default_rng(seed)
    return random.random((seeds, SPEAKERS, CLIPS)) < accuracy


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    """With as many clips of each speaker, the jackknife of a mean is the usual standard error."""
    first, second = (np.random.default_rng(k).integers(20, 50, (7, 1)) / 50 for k in (1, 2))
    clips = np.full((7, 1), 50)
    uar, wa = paired_intervals(first * 50, second * 50, clips)
    test = scipy.stats.ttest_rel(second[:, 0], first[:, 0]).confidence_interval()
    assert (uar.low, uar.high) == (wa.low, wa.high) == pytest.approx((test.low, test.high))


def test_differences_are_those_of_the_answers(tmp_path: Path) -> None:
    """The mean over seeds counts, and the order of a network's labels does not."""
    right = drawn(1, 0.5, seeds=2), drawn(2, 0.8)
    first = write_report(tmp_path / "a", right[0])
    second = write_report(tmp_path / "b", right[1], labels=LABELS[::-1])
    found = compare_reports(read_answers(first), read_answers(second))
    shares = [own.mean(axis=0) for own in right]
    gains = shares[1].mean(axis=1) - shares[0].mean(axis=1)
    assert [d.difference for d in found.speakers] == pytest.approx(gains)
    test = scipy.stats.ttest_1samp(gains, 0).confidence_interval()
    for figure in (found.uar, found.wa):  # both labels have as many clips: UAR is WA
        assert (figure.first, figure.second) == pytest.approx([own.mean() for own in shares])
        assert figure.interval is not None
        bounds = figure.interval.low, figure.interval.high
        assert bounds == pytest.approx((test.low, test.high))
    recalls = {d.name: (d.first, d.second) for d in found.recalls}
    assert recalls == {
        label: pytest.approx([own[:, k::2].mean() for own in shares])
        for k, label in enumerate(LABELS[:2])
    }


def test_the_command_shows_and_writes_it(tmp_path: Path) -> None:
    right = drawn(1, 0.4)
    better = right | drawn(3, 0.7)
    first, second = write_report(tmp_path / "a", right), write_report(tmp_path / "b", better)
    report = tmp_path / "report"
    done = call("compare", first, second, "--report-dir", report, "--csv", "--latex", main=main)
    assert (done.returncode, done.stderr) == (0, "")
    gain = 100 * (better.mean() - right.mean())
    assert re.search(rf"^UAR +[\d.]+ +[\d.]+ +\+{gain:.1f} +\+[\d.]+ +\+[\d.]+$", done.stdout, re.M)
    assert "UAR: B is better for speakers like these" in done.stdout
    data = json.loads((report / "comparison.json").read_text())
    assert 100 * data["uar"]["difference"] == pytest.approx(gain)
    with (report / "speakers.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["speaker"] for row in rows] == list(data["speakers"])
    assert (report / "comparison.tex").read_text().count(r"\\") == 5
    assert (report / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert "](comparison.png)" in (report / "comparison.md").read_text()
    swapped = call("compare", first, first, main=main).stdout
    assert "UAR: the interval holds 0, so these speakers do not tell" in swapped


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"protocol": "ravdess-random5"}, "their protocols are emodb-loso and ravdess-random5"),
        ({"speakers": 5}, "of their 48 and 40 clips 8 are in one alone, such as emodb/5-0.wav"),
        ({"missing": True}, "no report that holds answers, wanted the --report-dir of ser-train"),
        ({"damaged": True}, "not readable as posteriors"),
    ],
)
def test_what_does_not_fit_together_is_one_line(
    tmp_path: Path, changes: dict[str, Any], wanted: str
) -> None:
    right, told = drawn(1, 0.5), dict[str, Any]()
    first, second = write_report(tmp_path / "a", right), tmp_path / "b"
    if "protocol" in changes:
        told["configuration"] = dataclasses.replace(
            CONFIGURATION, protocol="ravdess-random5", also=(), mapping=()
        )
    if "damaged" in changes:
        second.mkdir()
        (second / "metrics.json").write_text('{"protocol": "x"}')
        (second / ANSWERS).write_bytes(b"PK")
    elif "missing" not in changes:
        write_report(second, right[:, : changes.get("speakers", SPEAKERS)], **told)
    assert wanted in error_of(call("compare", first, second, main=main), "ser-train")


def test_tables_want_a_folder() -> None:
    done = call("compare", "a", "b", "--csv", main=main)
    assert "give --report-dir" in error_of(done, "ser-train")


@pytest.mark.usefixtures("no_pictures")
def test_a_report_has_its_tables(tmp_path: Path) -> None:
    right = drawn(1, 0.6, seeds=2)
    changes: dict[str, Any] = {
        "command": "ser-train cross-validate x",
        "parameters": 1234,
        "machine": "Abacus",
    }
    folder = write_report(tmp_path / "a_b", right, multiply_adds=5_600_000, **changes)
    assert call("report", folder, "--csv", "--latex", main=main).returncode == 0
    with (folder / "confusion.csv").open() as stream:
        counts = {row.pop("true"): row for row in csv.DictReader(stream)}
    assert list(counts) == list(LABELS[:2])
    hits = sum(float(row[label]) for label, row in counts.items())
    assert hits == pytest.approx(right.mean(axis=0).sum())
    with (folder / "speakers.csv").open() as stream:
        speakers = list(csv.DictReader(stream))
    assert [float(row["WA %"]) for row in speakers] == pytest.approx(
        100 * right.mean(axis=(0, 2)), abs=0.051
    )
    with (folder / "figures.csv").open() as stream:
        assert next(csv.DictReader(stream))["UAR %"] == f"{100 * right.mean():.1f}"
    page = (folder / "report.md").read_text()
    for wanted in (
        "```console\nser-train cross-validate x\n```",
        "1,234 parameters; 5.6 million multiply-adds for a window of 1 s",
        "On Abacus.",
    ):
        assert wanted in page
    assert r"\begin{tabular}{lrrr}" in (folder / "speakers.tex").read_text()


def test_latex_prints_special_characters() -> None:
    assert r"own\_1 \& 5 \% \textbackslash{}" in latex_table([("own_1 & 5 % \\",), ("x",)])
