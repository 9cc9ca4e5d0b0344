"""Cross-validation: finished folds are kept, unfinished ones go on, others are refused."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tiny_corpora
import tiny_network
from ser_live import SerError
from ser_train import cli
from ser_train.cross_validate import cross_validate
from ser_train.ledger import LEDGER, Ledger
from ser_train.plan import CrossValidation, make_plan
from ser_train.selection import Recordings
from ser_train.summary import summarise
from test_fit import Notes
from test_protocols import write_emodb, write_nemo

KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import tiny_network
from ser_train import cli, networks

networks.NETWORKS["tiny"] = tiny_network.NETWORK
cli.main({arguments!r})
"""


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_network.register(monkeypatch)


@pytest.fixture(name="job")
def small_job(tmp_path: Path) -> CrossValidation:
    corpus = tiny_corpora.write_ravdess(tmp_path / "ravdess", range(1, 25))
    return CrossValidation(
        recordings=Recordings((corpus,)),
        network="tiny",
        protocol="ravdess-luna5",
        report_folder=tmp_path / "report",
        cache_folder=tmp_path / "cache",
        folds=(0,),
        epochs=2,
    )


def test_finished_folds_are_kept(job: CrossValidation) -> None:
    lines = cross_validate(job, Notes())
    assert lines[0].startswith("1 of 5 folds, seed 0, 10 clips, the first 1 s")
    notes = Notes()
    lines = cross_validate(dataclasses.replace(job, folds=(0, 4)), notes)
    assert [n for n in notes.notes if n.endswith("finished")] == ["seed 0, fold 4: finished"]
    assert lines[0].startswith("2 of 5 folds, seed 0, 18 clips")
    ledger = Ledger(job.report_folder)
    first, last = ledger.rows()
    assert last.test_speakers == ("ravdess/01", "ravdess/04", "ravdess/09", "ravdess/22")
    assert last.validation_speakers == ("ravdess/02", "ravdess/05")
    assert not {*last.test_speakers} & {*last.training_speakers, *last.validation_speakers}
    assert (last.training_clips, last.validation_clips, last.test_clips) == (36, 4, 8)
    assert last.configuration.recipe["epochs"] == len(last.history) == 2
    assert first.temperature != 1.0
    saved = ledger.posteriors(last)
    assert saved.heard == ("1", "whole")
    assert saved.probabilities.shape == (2, 8, 2)
    np.testing.assert_allclose(saved.probabilities.sum(axis=2), 1.0, atol=1e-12)
    assert saved.names[0] == "ravdess/03-01-03-01-01-01-01.wav"
    assert not list(job.report_folder.glob("runs/*/*"))


def test_a_finished_ledger_needs_neither_tensorflow_nor_spectra(job: CrossValidation) -> None:
    every = dataclasses.replace(job, folds=(0,), seeds=2)
    cross_validate(every, Notes())
    again = dataclasses.replace(every, cache_folder=job.cache_folder / "other")
    seen: list[str] = []
    notes = Notes()
    lines = cross_validate(again, notes, lambda: seen.append("TensorFlow"))
    assert not seen
    assert notes.notes == ["every fold is finished: kept"]
    assert not again.cache_folder.exists()
    assert lines == summarise(job.report_folder)


def test_other_settings_and_folds_are_refused(job: CrossValidation) -> None:
    cross_validate(job, Notes())
    for other, words in (
        (dataclasses.replace(job, epochs=3), "rows with epochs 2, wanted 3"),
        (dataclasses.replace(job, protocol="ravdess-random5"), "wanted ravdess-random5"),
        (dataclasses.replace(job, folds=(5,)), "there is no fold 5; the folds are 0 to 4"),
    ):
        with pytest.raises(SerError, match=words):
            cross_validate(other, Notes())


def test_further_corpora_train_and_are_never_tested(job: CrossValidation, tmp_path: Path) -> None:
    emodb, nemo = write_emodb(tmp_path / "emodb"), write_nemo(tmp_path / "nemo")
    calm = tiny_corpora.write_ravdess(tmp_path / "actors", [1], ["calm", "happy"])
    job = dataclasses.replace(
        job,
        recordings=Recordings((emodb,)),
        protocol="emodb-loso",
        also=(nemo, calm),
        folds=(3,),
        epochs=1,
    )
    plan = make_plan(job)
    assert {clip.label for clip in plan.also} == {"angry", "happy", "neutral", "sad"}
    cross_validate(job, Notes())
    (row,) = Ledger(job.report_folder).rows()
    assert row.configuration.also == ("nemo", "ravdess")
    assert row.test_speakers == ("emodb/10",)
    assert {"nemo/KD0", "ravdess/01", "emodb/03"} <= {*row.training_speakers}
    assert row.training_clips == 45 + 12 + 1
    assert row.temperature is None
    report = (job.report_folder / "report.md").read_text(encoding="utf-8")
    assert "nemo, ravdess" in report
    with pytest.raises(SerError, match="--also holds emodb, which emodb-loso tests"):
        make_plan(dataclasses.replace(job, also=(emodb,)))
    with pytest.raises(SerError, match=r"also \('nemo', 'ravdess'\), wanted None"):
        cross_validate(dataclasses.replace(job, also=()), Notes())


def test_the_unseen_corpus_is_measured_with_all_labels_and_with_four(
    job: CrossValidation, tmp_path: Path
) -> None:
    labels = ("neutral", "calm", "happy", "sad", "angry")
    tiny_corpora.write_ravdess(tmp_path / "all" / "ravdess", range(1, 4), labels)
    write_emodb(tmp_path / "all" / "emodb")
    write_nemo(tmp_path / "all" / "nemo")
    recordings = Recordings((tmp_path / "all",))
    job = dataclasses.replace(job, recordings=recordings, protocol="cross-corpus", folds=None)
    cross_validate(job, Notes())
    rows = Ledger(job.report_folder).rows()
    assert [row.fold_name for row in rows] == ["emodb", "nemo", "ravdess"]
    assert "boredom" in rows[2].labels
    assert "boredom" not in rows[0].labels
    assert all("calm" not in row.labels for row in rows)
    assert [row.test_clips for row in rows] == [40, 12, 12]
    summary = json.loads((job.report_folder / "summary.json").read_text())
    unseen = {fold["name"]: fold for fold in summary["by_fold"]}
    assert unseen["emodb"]["missing_mass"] == 0.0
    assert unseen["ravdess"]["untested_mass"] == unseen["ravdess"]["missing_mass"] > 0.0
    assert summary["among_tested"]["wa"]["mean"] >= summary["figures"]["wa"]["mean"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_fold_that_is_killed_goes_on_from_its_checkpoint(
    job: CrossValidation, tmp_path: Path, environment: dict[str, str]
) -> None:
    options = ["--protocol", "ravdess-luna5", "--network", "tiny", "--folds", "0,1"]
    folders = ["--corpus", "ravdess", "--cache-dir", "cache", "--report-dir", "killed"]
    arguments = ["cross-validate", "--epochs", "12", *options, *folders]
    code = KILLED.format(tests=str(Path(__file__).parent), arguments=arguments)
    checkpoint = tmp_path / "killed" / "runs" / "seed0-fold1" / "checkpoint.npz"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as training:
        while not checkpoint.is_file():
            assert training.poll() is None
            time.sleep(0.01)
        os.kill(training.pid, signal.SIGKILL)
    assert len(Ledger(tmp_path / "killed").rows()) == 1
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "going on after epoch" in done.stderr
    assert "seed 0, fold 0" not in done.stderr
    whole = dataclasses.replace(job, folds=(0, 1), epochs=12)
    cross_validate(whole, Notes())
    ledgers = Ledger(tmp_path / "killed"), Ledger(whole.report_folder)
    for one, other in zip(*(ledger.rows() for ledger in ledgers), strict=True):
        assert one.history == other.history
        interrupted, direct = (ledger.posteriors(one).probabilities for ledger in ledgers)
        np.testing.assert_array_equal(interrupted, direct)


def test_a_report_needs_no_tensorflow(
    job: CrossValidation, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    cross_validate(job, Notes())
    before = (job.report_folder / "report.md").read_bytes()
    (job.report_folder / "report.md").unlink()
    code = (
        "import sys\n"
        "from ser_train import cli\n"
        f"assert cli.main(['report', {str(job.report_folder)!r}]) == 0\n"
        "assert not {'tensorflow', 'keras', 'librosa'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "UAR" in done.stdout
    assert (job.report_folder / "report.md").read_bytes() == before
    (job.report_folder / LEDGER).unlink()
    assert cli.main(["report", str(job.report_folder)]) == 2
    assert "holds no finished fold" in capsys.readouterr().err
