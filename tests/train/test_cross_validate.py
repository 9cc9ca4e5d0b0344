"""Cross-validation: finished folds are kept, unfinished ones go on, others are refused."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers import tiny_corpora, tiny_network
from helpers.notes import Notes
from helpers.processes import imported
from helpers.tiny_corpora import EMODB_SPEAKERS
from ser_live import SerError
from ser_train.commands.cli import cross_validate
from ser_train.cross_validation.ledger import Ledger
from ser_train.cross_validation.plan import CrossValidation, conditions, make_plan
from ser_train.data.recordings import Recordings
from ser_train.reports.cross_validation import summarise
from ser_train.reports.model_card import cross_validated_metrics

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("no_pictures")]

KILLED = """
import os, signal
from helpers import tiny_network
from ser_train.commands import cli
from ser_train.models import registry
from ser_train.progress import Reporter

registry.NETWORKS["tiny"] = tiny_network.NETWORK
Reporter.note = lambda _, text: text.startswith("epoch 1/") and os.kill(os.getpid(), signal.SIGKILL)
cli.main({arguments!r})
"""
"""Is killed when the first epoch is finished."""

EMODB_LETTERS = {"W": "angry", "F": "happy", "N": "neutral", "T": "sad", "L": "boredom"}
NEMO_LABELS = {"anger": "angry", "happiness": "happy", "neutral": "neutral", "sadness": "sad"}


def write_emodb(folder: Path) -> Path:
    for number, speaker in enumerate(EMODB_SPEAKERS):
        for letter, label in EMODB_LETTERS.items():
            name = f"{speaker}a01{letter}a.wav"
            tiny_corpora.write_sound(folder / "wav" / name, label, 1000 + number)
    return folder


def write_nemo(folder: Path) -> Path:
    rows = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"]
    for number, speaker in enumerate(("KD0", "EB0", "WR0")):
        for emotion, label in NEMO_LABELS.items():
            name = f"{speaker}_{emotion}_1.wav"
            tiny_corpora.write_sound(folder / "samples" / name, label, 2000 + number)
            rows.append(f"{name}\t{emotion}\tTak.\ttak\t        {speaker}\tmale\t23")
    (folder / "data.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_network.register(monkeypatch)


@pytest.fixture(name="finished", scope="module")
def finished_job(tmp_path_factory: pytest.TempPathFactory) -> CrossValidation:
    """Report that no test writes into."""
    folder = tmp_path_factory.mktemp("finished")
    job = CrossValidation(
        recordings=Recordings((tiny_corpora.write_ravdess(folder / "ravdess", range(1, 25)),)),
        network="tiny",
        protocol="ravdess-luna5",
        report_folder=folder / "report",
        cache_folder=folder / "cache",
        folds=(0,),
        epochs=2,
    )
    with pytest.MonkeyPatch.context() as patch:
        tiny_network.register(patch)
        cross_validate(job, Notes())
    return job


@pytest.fixture(name="job")
def fresh_job(finished: CrossValidation, tmp_path: Path) -> CrossValidation:
    """Job without a report."""
    return dataclasses.replace(finished, report_folder=tmp_path / "report")


def test_finished_folds_are_kept(finished: CrossValidation, tmp_path: Path) -> None:
    job = dataclasses.replace(finished, report_folder=tmp_path / "report", folds=(0, 4))
    shutil.copytree(finished.report_folder, job.report_folder)
    notes = Notes()
    lines = cross_validate(job, notes)
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
    assert last.multiply_adds == 97 * 257 * 20 + 20 * 2
    assert (last.parameters, last.machine) == (first.parameters, conditions("")["machine"])
    saved = ledger.posteriors(last)
    assert saved.heard == ("1", "whole")
    assert saved.probabilities.shape == (2, 8, 2)
    np.testing.assert_allclose(saved.probabilities.sum(axis=2), 1.0, atol=1e-12)
    assert saved.names[0] == "ravdess/03-01-03-01-01-01-01.wav"
    assert not (job.report_folder / "runs").exists()


def test_a_finished_ledger_needs_neither_tensorflow_nor_spectra(
    finished: CrossValidation, tmp_path: Path
) -> None:
    again = dataclasses.replace(finished, cache_folder=tmp_path / "other")
    seen: list[str] = []
    notes = Notes()
    lines = cross_validate(again, notes, lambda: seen.append("TensorFlow"))
    assert not seen
    assert notes.notes == ["every fold is finished: kept"]
    assert not again.cache_folder.exists()
    assert lines == summarise(finished.report_folder)


def test_other_settings_and_folds_are_refused(finished: CrossValidation) -> None:
    for other, words in (
        (dataclasses.replace(finished, epochs=3), "rows with epochs 2, wanted 3"),
        (dataclasses.replace(finished, protocol="ravdess-random5"), "wanted ravdess-random5"),
        (dataclasses.replace(finished, folds=(5,)), "there is no fold 5; the folds are 0 to 4"),
    ):
        with pytest.raises(SerError, match=words):
            cross_validate(other, Notes())


def test_each_seed_is_a_training_of_its_own(finished: CrossValidation, tmp_path: Path) -> None:
    both = dataclasses.replace(finished, report_folder=tmp_path / "both", seeds=2)
    shutil.copytree(finished.report_folder, both.report_folder)
    notes = Notes()
    cross_validate(both, notes)
    assert [n for n in notes.notes if n.endswith("finished")] == ["seed 1, fold 0: finished"]
    ledger = Ledger(both.report_folder)
    first, second = (ledger.posteriors(row).probabilities for row in ledger.rows())
    assert np.abs(first - second).max() > 1e-3


def test_further_corpora_train_and_are_never_tested(job: CrossValidation, tmp_path: Path) -> None:
    emodb, nemo = write_emodb(tmp_path / "emodb"), write_nemo(tmp_path / "nemo")
    calm = tiny_corpora.write_ravdess(tmp_path / "actors", [1], ["calm", "happy"])
    job = dataclasses.replace(job, recordings=Recordings((emodb,)), protocol="emodb-loso")
    job = dataclasses.replace(job, also=(nemo, calm), folds=(3,), epochs=1)
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
    job = dataclasses.replace(job, recordings=recordings, protocol="cross-corpus")
    job = dataclasses.replace(job, folds=(0, 2), epochs=1)
    cross_validate(job, Notes())
    rows = Ledger(job.report_folder).rows()
    assert [row.fold_name for row in rows] == ["emodb", "ravdess"]
    assert "boredom" in rows[1].labels
    assert "boredom" not in rows[0].labels
    assert all("calm" not in row.labels for row in rows)
    assert [row.test_clips for row in rows] == [40, 12]
    summary = json.loads((job.report_folder / "summary.json").read_text())
    unseen = {fold["name"]: fold for fold in summary["by_fold"]}
    assert unseen["emodb"]["missing_mass"] == 0.0
    assert unseen["ravdess"]["untested_mass"] == unseen["ravdess"]["missing_mass"] > 0.0
    assert summary["among_tested"]["wa"]["mean"] >= summary["figures"]["wa"]["mean"]


@pytest.mark.parametrize("protocol", ["loso", "groups5", "random5"])
def test_a_table_of_one_s_own_has_protocols_too(
    protocol: str, job: CrossValidation, tmp_path: Path
) -> None:
    """With a label of one's own, and names of files that each speaker has."""
    speakers = ("Ann", "Bob", "Cy", "Di", "Ed")
    table = tiny_corpora.write_table(tmp_path / "emodb.csv", speakers, ("happy", "bored"))
    job = dataclasses.replace(job, recordings=Recordings((), (table,)), protocol=protocol)
    job = dataclasses.replace(job, folds=(0, 1) if protocol == "loso" else (0,), epochs=1)
    cross_validate(job, Notes())
    row = Ledger(job.report_folder).rows()[0]
    assert (row.folds, row.labels) == (5, ("happy", "bored"))
    assert row.configuration.corpora == ("own-emodb",)
    report = (job.report_folder / "report.md").read_text(encoding="utf-8")
    assert f"--protocol {protocol} --network tiny" in report
    assert "--corpus emodb.csv" in report
    assert "| recall % | happy | bored |" in report


@pytest.fixture(name="adapting", scope="module")
def adapting_job(
    fitted: tiny_network.Fitted, tmp_path_factory: pytest.TempPathFactory
) -> CrossValidation:
    """Adapt a model of RAVDESS's happy and sad to speakers of EMO-DB."""
    folder = tmp_path_factory.mktemp("adapting")
    return CrossValidation(
        recordings=Recordings((write_emodb(folder / "emodb"),), dropped=("angry", "neutral")),
        network="",
        init=fitted.job.output,
        protocol="emodb-loso",
        report_folder=folder / "report",
        cache_folder=folder / "cache",
        folds=(3, 4),
    )


def test_every_fold_can_adapt_a_model(adapting: CrossValidation) -> None:
    job = adapting
    notes = Notes()
    cross_validate(job, notes)
    assert sum(line.startswith("the head alone: ") for line in notes.notes) == 2
    assert sum(line.startswith("all layers: ") for line in notes.notes) == 2
    first, second = Ledger(job.report_folder).rows()
    assert first.configuration.network == "tiny"
    assert first.configuration.init_name == "tiny"
    assert {"happy", "sad", "boredom"} <= {*first.labels}
    assert len(first.history) == len(second.history) > 2
    assert not (job.report_folder / "runs").exists()
    report = (job.report_folder / "report.md").read_text(encoding="utf-8")
    assert f"begins with tiny (SHA-256 {first.configuration.init_sha256})" in report
    assert "--protocol emodb-loso --init tiny.keras --seeds 1 --corpus" in report
    assert f"{len(first.history)} epochs, last epoch" in report
    with pytest.raises(SerError, match="measured adaptations of tiny, wanted networks"):
        cross_validated_metrics(job.report_folder, "tiny")
    fresh = dataclasses.replace(job, network="tiny", init=None)
    with pytest.raises(SerError, match="rows with"):
        cross_validate(fresh, Notes())


def test_a_model_that_has_heard_the_tested_speakers_is_refused(
    adapting: CrossValidation, finished: CrossValidation
) -> None:
    heard = dataclasses.replace(adapting, recordings=finished.recordings)
    heard = dataclasses.replace(heard, protocol="ravdess-luna5", folds=None)
    with pytest.raises(SerError, match=r"ravdess/01, .* were in the first model's training"):
        make_plan(heard)
    make_plan(dataclasses.replace(heard, protocol="ravdess-random5"))
    for network, init in (("", None), ("tiny", heard.init)):
        with pytest.raises(SerError, match=r"wanted one of --network NAME .* and --init"):
            make_plan(dataclasses.replace(heard, network=network, init=init))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_fold_that_is_killed_goes_on_from_its_checkpoint(
    finished: CrossValidation, tmp_path: Path, environment: dict[str, str]
) -> None:
    killed, direct = (
        dataclasses.replace(finished, report_folder=tmp_path / name, folds=(0, 1))
        for name in ("killed", "direct")
    )
    for job in (killed, direct):
        shutil.copytree(finished.report_folder, job.report_folder)
    (corpus,) = finished.recordings.folders
    words = "cross-validate --protocol ravdess-luna5 --network tiny --folds 0,1 --epochs 2 --corpus"
    folders = [corpus, "--cache-dir", finished.cache_folder, "--report-dir", killed.report_folder]
    code = KILLED.format(arguments=[*words.split(), *map(str, folders)])
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(Ledger(killed.report_folder).rows()) == 1
    assert (killed.report_folder / "runs" / "seed0-fold1" / "checkpoint.npz").is_file()
    notes = Notes()
    cross_validate(killed, notes)
    assert [n for n in notes.notes if n.startswith("going on after epoch")]
    assert not [n for n in notes.notes if n.startswith("seed 0, fold 0")]
    cross_validate(direct, Notes())
    interrupted, whole = Ledger(killed.report_folder), Ledger(direct.report_folder)
    for one, other in zip(interrupted.rows(), whole.rows(), strict=True):
        assert one.history == other.history
        answers = interrupted.posteriors(one).probabilities
        np.testing.assert_array_equal(answers, whole.posteriors(other).probabilities)


def test_a_report_needs_no_tensorflow(
    finished: CrossValidation, tmp_path: Path, environment: dict[str, str]
) -> None:
    folder = tmp_path / "report"
    shutil.copytree(finished.report_folder, folder)
    before = (folder / "report.md").read_bytes()
    (folder / "report.md").unlink()
    code = f"from ser_train.commands import cli\nassert cli.main(['report', {str(folder)!r}]) == 0"
    assert imported(code, ("tensorflow", "keras", "librosa"), environment) == "[]"
    assert (folder / "report.md").read_bytes() == before
