"""Training: reproducible, resumable, with honest confidence and a card inside the file."""

import csv
import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers import tiny_corpora, tiny_network
from helpers.measured import answers, write_report
from helpers.notes import Notes
from ser_live import SerError
from ser_train.commands.fit import FitJob, fit
from ser_train.data.batches import Batch
from ser_train.data.prepare import prepare
from ser_train.data.recordings import Recordings
from ser_train.evaluation.calibration import HeldOutAnswers, calibrate
from ser_train.metrics import with_temperature
from ser_train.models.keras_file import load_model
from ser_train.models.recipe import Recipe
from ser_train.models.registry import create_model
from ser_train.training.checkpoint import CHECKPOINT
from ser_train.training.optimizer import Optimizer

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("no_pictures")]


@pytest.fixture(name="job")
def small_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FitJob:
    tiny_network.register(monkeypatch)
    corpus = tiny_corpora.write_ravdess(tmp_path / "ravdess", range(1, 7), takes=2)
    return tiny_network.job(Recordings((corpus,)), tmp_path, seed=3)


def test_a_resumed_training_is_bitwise_the_uninterrupted_one(
    job: FitJob, fitted: tiny_network.Fitted
) -> None:
    """Also where the corpus was moved between."""
    again = dataclasses.replace(job, epochs=fitted.job.epochs)
    with pytest.raises(KeyboardInterrupt):
        fit(again, Notes("epoch 2/"))
    (corpus,) = job.recordings.folders
    moved = Recordings((corpus.rename(corpus.with_name("moved")),))
    notes = Notes()
    fit(dataclasses.replace(again, recordings=moved, resume=True), notes)
    assert "going on after epoch 2 of 8" in notes.notes
    whole = tiny_network.weights(fitted.job.output)
    tiny_network.require_equal(whole, tiny_network.weights(job.output))


def test_it_learns_and_leaves_a_card_figures_and_pictures(fitted: tiny_network.Fitted) -> None:
    job, scores = fitted.job, fitted.scores
    assert scores is not None
    assert scores.count == 4
    assert scores.uar == 1.0
    loaded = load_model(job.output)
    card = loaded.card
    assert (card.name, card.network, card.labels) == ("tiny", "tiny", ("happy", "sad"))
    assert card.licence == "CC-BY-NC-SA-4.0"
    (corpus,) = card.corpora
    assert (corpus.name, corpus.clips, corpus.speakers) == ("ravdess", 16, 4)
    names = ["UAR", "WA", "ECE", "debiased ECE", "recall of happy", "recall of sad"]
    assert [metric.name for metric in card.metrics] == names
    assert all(metric.speaker_independent and metric.count == 4 for metric in card.metrics)
    assert "ravdess/06" in card.metrics[0].protocol
    assert "last epoch" in card.metrics[0].protocol
    temperature = float(loaded.model.get_layer("temperature").temperature)
    assert temperature == pytest.approx(card.calibration.temperature)
    assert "ravdess/05" in card.calibration.method
    assert loaded.record is not None
    assert loaded.record.test_speakers == ("ravdess/06",)
    for name in ("curves.png", "confusion.png", "reliability.png"):
        assert (job.run_folder / name).read_bytes().startswith(b"\x89PNG")
    figures = json.loads((job.run_folder / "metrics.json").read_text())
    assert len(figures["history"]) == 8
    assert figures["test"]["uar"] == 1.0


@pytest.mark.parametrize("wraps", [0, 1, 2], ids=["flat", "in a model", "in a model's model"])
def test_normalisation_ends_with_the_mean_over_the_batches(wraps: int) -> None:
    inputs = keras.Input((3,))
    normalisation = keras.layers.BatchNormalization(momentum=0.99)
    block: Any = normalisation
    for _ in range(wraps):
        block = keras.Sequential([inputs, block])
    model = keras.Model(inputs, keras.layers.Dense(2)(block(inputs)))
    recipe = Recipe(epochs=1, batch_clips=4, learning_rate=0.1)
    random = np.random.default_rng(0)
    targets = np.tile(np.array([1, 0], np.float32), (4, 1))
    batches = [
        Batch(random.normal(5, 2, (4, 3)).astype(np.float32), targets, np.ones_like(targets))
        for _ in range(6)
    ]
    optimizer = Optimizer(model, recipe, steps=6)
    optimizer.epoch(batches, lambda: None)
    optimizer.finalize_weights(batches)
    expected = np.mean([batch.inputs.mean(axis=0) for batch in batches], axis=0)
    np.testing.assert_allclose(normalisation.moving_mean, expected, rtol=1e-5)
    assert normalisation.momentum == 0.99


@pytest.mark.parametrize(("speakers", "expected"), [(1, 2 ** (1 / 1.5)), (4, 2 ** (4 / 4.5))])
def test_the_temperature_of_few_speakers_is_drawn_towards_one(
    speakers: int, expected: float
) -> None:
    model = create_model("issa-ravdess", 4)
    parts = []
    for seed in range(speakers):
        honest, truth = answers(3000, seed)
        parts.append((with_temperature(honest, 1 / 2.0), truth))
    held_out = HeldOutAnswers(tuple(parts), "speakers", each_alike=True)
    assert calibrate(model, held_out).calibration.temperature == pytest.approx(expected, rel=0.05)
    folds = dataclasses.replace(held_out, each_alike=False)
    assert calibrate(model, folds).calibration.temperature == pytest.approx(2.0, rel=0.05)


def test_logs_are_kept_for_spreadsheets_and_tensorboard(job: FitJob) -> None:
    """Of an interrupted training too, and of the members of an ensemble."""
    job = dataclasses.replace(job, network="tiny+tiny", epochs=3)
    notes = Notes("epoch 2/", after="member 2")
    notes.logs = True
    with pytest.raises(KeyboardInterrupt):
        fit(job, notes)
    notes = Notes()
    notes.logs = True
    fit(dataclasses.replace(job, resume=True), notes)
    history = json.loads((job.run_folder / "metrics.json").read_text())["history"]
    for number, own in ((1, history[:3]), (2, history[3:])):
        folder = job.run_folder / f"member{number}"
        with (folder / "epochs.csv").open() as table:
            rows = list(csv.DictReader(table))
        assert [row["epoch"] for row in rows] == ["1", "2", "3"]
        for column in ("loss", "validation_uar", "validation_nll"):
            wanted = [epoch[column] for epoch in own]
            np.testing.assert_allclose([float(row[column]) for row in rows], wanted, rtol=1e-6)
        rates = [float(row["learning_rate"]) for row in rows]
        assert 0.05 > rates[0] > rates[1] > rates[2] > 0.0
        losses = {}
        for file in sorted(folder.glob("events.out.tfevents.*")):
            for record in tf.data.TFRecordDataset(str(file)):
                event = tf.compat.v1.Event.FromString(record.numpy())
                for value in event.summary.value:
                    if value.tag == "loss":
                        losses[event.step] = float(tf.make_ndarray(value.tensor))
        assert losses == pytest.approx({n: epoch["loss"] for n, epoch in enumerate(own, 1)})


def test_without_held_out_speakers_nothing_is_claimed(job: FitJob) -> None:
    job = dataclasses.replace(job, validation_speakers=(), test_speakers=(), epochs=1)
    assert fit(job, Notes()) is None
    card = load_model(job.output).card
    assert card.metrics == ()
    assert card.calibration.method == "none"


def test_a_cross_validation_calibrates_where_no_speaker_is_held_out(
    job: FitJob, tmp_path: Path
) -> None:
    report = write_report(tmp_path / "report", {(0, 0): 4, (0, 1): 2})  # 80 % sure, 75 % right
    job = dataclasses.replace(
        job, validation_speakers=(), test_speakers=(), epochs=1, cross_validations=(report,)
    )
    fit(job, Notes())
    file = load_model(job.output)
    calibration = file.card.calibration
    assert calibration.temperature == pytest.approx(np.log(4.0) / np.log(3.0), rel=1e-3)
    assert "8 answers of the networks of ravdess-random5" in calibration.method
    assert file.card.smoothing.uncertain_below == 0.6
    in_graph = float(file.model.get_layer("temperature").temperature.value)
    assert in_graph == pytest.approx(calibration.temperature)
    renamed = dataclasses.replace(job.recordings, mapping=(("sad", "angry"),))
    foreign = dataclasses.replace(job, recordings=renamed, run_folder=tmp_path / "other")
    notes = Notes()
    with pytest.raises(SerError, match="hold speakers out with --validation-speakers"):
        fit(foreign, notes)
    assert not any(note.startswith("epoch") for note in notes.notes)


def test_a_checkpoint_belongs_to_one_training(job: FitJob, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(job, Notes("epoch 1/"))
    with pytest.raises(SerError, match="--resume"):
        fit(job, Notes())
    resumed = dataclasses.replace(job, resume=True)
    tiny_network.register(monkeypatch, name="twin")
    renamed = dataclasses.replace(job.recordings, mapping=(("sad", "angry"),))
    for changed, what in (
        (dataclasses.replace(resumed, seed=4), "settings"),
        (dataclasses.replace(resumed, network="twin"), "network"),
        (dataclasses.replace(resumed, test_speakers=("ravdess/04",)), "clips"),
        (dataclasses.replace(resumed, recordings=renamed), "settings and clips"),
    ):
        with pytest.raises(SerError, match=rf"a training with other {what}; give .*--run-dir"):
            fit(changed, Notes())
    tiny_network.register(monkeypatch, build=partial(tiny_network.build, mels=24))
    with pytest.raises(SerError, match=r"built in another way; give .*--run-dir"):
        fit(resumed, Notes())
    (job.run_folder / CHECKPOINT).write_bytes(b"cut short")
    with pytest.raises(SerError, match="not readable as a checkpoint"):
        fit(resumed, Notes())


def test_a_loss_that_is_not_finite_ends_the_training(
    job: FitJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    steep = dataclasses.replace(tiny_network.NETWORK.recipe, learning_rate=np.inf)
    tiny_network.register(monkeypatch, recipe=steep)
    with pytest.raises(SerError, match="the loss is nan after 2 steps"):
        fit(job, Notes())
    assert not job.output.exists()


def test_the_same_recording_under_two_names_counts_once(job: FitJob, tmp_path: Path) -> None:
    folder = tmp_path / "ravdess" / "Actor_01"
    first = folder / "03-01-03-01-01-01-01.wav"
    (folder / "03-01-03-01-01-02-01.wav").write_bytes(first.read_bytes())
    notes = Notes()
    prepared = prepare(
        job.recordings.find(), tiny_network.NETWORK, job.cache_folder, notes, skip=False
    )
    assert "03-01-03-01-01-02-01.wav is the same recording as 03-01-03-01-01-01-01.wav" in "".join(
        notes.notes
    )
    assert len(prepared.clips) == 23
