"""Figures of merit, and the commands that print them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import tiny_corpora
import tiny_network
from notes import Notes
from ser_export.exporting import export_model
from ser_live import SerError
from ser_train import metrics
from ser_train.commands.evaluate import Evaluation, evaluate
from ser_train.commands.fit import FitJob, fit
from ser_train.commands.predict import load_predictor
from ser_train.corpora import Clip
from ser_train.data.recordings import Recordings
from ser_train.evaluation.calibration import Measured
from ser_train.reports.model_card import held_out_metrics


def test_scores_of_known_predictions() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.2, 0.8, 0.0], [0.7, 0.3, 0.0]])
    scores = metrics.score(probabilities, np.array([0, 0, 1, 1]))
    assert scores.recalls == (1.0, 0.5, None)
    assert (scores.uar, scores.wa, scores.count) == (0.75, 0.75, 4)
    expected = (abs(1 - 0.9) + abs(1 - 0.6) + abs(1 - 0.8) + abs(0 - 0.7)) / 4
    assert scores.ece == pytest.approx(expected)
    assert scores.nll == pytest.approx(-np.log([0.9, 0.6, 0.8, 0.3]).mean())
    assert scores.wa_of_surest == pytest.approx(2 / 3)
    counts = metrics.confusion(probabilities, np.array([0, 0, 1, 1]))
    np.testing.assert_array_equal(counts, [[2, 0, 0], [1, 1, 0], [0, 0, 0]])


def honest_answers(
    random: np.random.Generator, clips: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Probabilities of four labels, and truth that is drawn from them."""
    logits = random.normal(0, 1.5, (clips, 4))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return honest, np.array([random.choice(4, p=row) for row in honest])


def test_the_temperature_undoes_overconfidence() -> None:
    honest, truth = honest_answers(np.random.default_rng(0), 4000)
    loud = metrics.with_temperature(honest, 1 / 2.5)
    temperature = metrics.fit_temperature(loud, truth)
    assert temperature == pytest.approx(2.5, rel=0.08)
    calmed = metrics.with_temperature(loud, temperature)
    assert metrics.calibration_error(calmed, truth) < 0.03
    assert metrics.calibration_error(loud, truth) > 0.1
    threshold = metrics.uncertain_threshold([calmed])
    assert np.mean(calmed.max(axis=1) >= threshold) == pytest.approx(0.8, abs=0.01)


def test_a_speaker_with_many_recordings_decides_no_more_than_one_with_few() -> None:
    random = np.random.default_rng(0)
    parts = []
    for clips, temperature in ((2000, 2.0), (200, 0.5)):
        honest, truth = honest_answers(random, clips)
        parts.append((metrics.with_temperature(honest, 1 / temperature), truth))
    probabilities = np.concatenate([part for part, _ in parts])
    truth = np.concatenate([truth for _, truth in parts])
    pooled = metrics.fit_shared_temperature(parts)
    assert pooled == pytest.approx(metrics.fit_temperature(probabilities, truth))
    alike = metrics.fit_shared_temperature(parts, each_alike=True)
    doubled = metrics.fit_shared_temperature([parts[0], *[parts[1]] * 10])
    assert alike == pytest.approx(doubled, rel=1e-3)
    assert alike < pooled - 0.2

    calm = np.tile([0.4, 0.2, 0.2, 0.2], (90, 1))
    sure = np.tile([0.55, 0.15, 0.15, 0.15], (10, 1))
    assert metrics.uncertain_threshold([sure, calm]) == 0.4
    several = [sure, sure, sure, sure, sure, calm]
    assert metrics.uncertain_threshold(several) == 0.4
    assert metrics.uncertain_threshold(several, each_alike=True) == 0.55


def test_with_several_corpora_each_one_is_reported() -> None:
    clips = [Clip(Path(c), "sad", f"{c}/1", c) for c in ("emodb", "emodb", "nemo")]
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    truth = np.zeros(3, np.intp)
    measured = Measured(
        tuple(clips), truth, probabilities, metrics.score(probabilities, truth), "in words"
    )
    reported = held_out_metrics(measured, ("sad", "angry"), "last epoch")
    assert [(m.name, m.count) for m in reported if m.name == "WA"] == [
        ("WA", 3),
        ("WA", 2),
        ("WA", 1),
    ]
    assert [m.value for m in reported if m.name == "WA"] == pytest.approx(
        [2 / 3, 0.5, 1.0], abs=1e-4
    )
    assert reported[3].protocol.startswith("emodb alone: held-out speakers emodb/1, neither")
    leaks = [m for m in reported if m.name == "mass on angry"]
    assert [m.value for m in leaks] == pytest.approx([0.45, 0.3])
    assert [m.count for m in leaks] == [2, 1]
    assert (reported[-1].name, reported[-1].count) == ("recall of sad", 3)
    assert reported[-1].value == pytest.approx(2 / 3, abs=1e-6)


@pytest.fixture(name="job", scope="module")
def trained_job(tmp_path_factory: pytest.TempPathFactory) -> FitJob:
    folder = tmp_path_factory.mktemp("trained")
    corpus = tiny_corpora.write_ravdess(folder / "ravdess", range(1, 7), takes=2)
    job = tiny_network.job(Recordings((corpus,)), folder, epochs=8)
    with pytest.MonkeyPatch.context() as patch:
        tiny_network.register(patch)
        fit(job, Notes())
    return job


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_network.register(monkeypatch)


def evaluation(job: FitJob, *speakers: str) -> Evaluation:
    return Evaluation(job.output, job.recordings, job.cache_folder, speakers or None)


def test_evaluation_says_who_was_known(job: FitJob, tmp_path: Path) -> None:
    held_out = dataclasses.replace(evaluation(job, "ravdess/06"), report_folder=tmp_path)
    lines = evaluate(held_out, Notes())
    assert "the speaker ravdess/06; nobody in training was heard (speaker-independent)" in lines[0]
    assert "first 1 s from the speech onset" in lines[0]
    assert "UAR 100.0 %" in lines[1]
    assert (tmp_path / "reliability.png").is_file()
    notes = Notes()
    lines = evaluate(evaluation(job), notes)
    assert "ravdess/01, ravdess/02, ravdess/03, ravdess/04 were in training" in lines[0]
    assert notes.notes[-1].startswith("warning: ravdess/01")


def test_evaluation_refuses_what_the_model_cannot_know(job: FitJob, tmp_path: Path) -> None:
    with pytest.raises(SerError, match="there is no speaker 'ravdess/66'"):
        evaluate(evaluation(job, "ravdess/66"), Notes())
    other = tiny_corpora.write_ravdess(tmp_path, [1], ["angry", "sad"])
    foreign = dataclasses.replace(evaluation(job), recordings=Recordings((other,)))
    with pytest.raises(SerError, match=r"'angry'.*--drop angry"):
        evaluate(foreign, Notes())
    with pytest.raises(SerError, match="no such file"):
        evaluate(dataclasses.replace(evaluation(job), model=tmp_path / "no.keras"), Notes())


def test_predictions_of_keras_and_onnx_agree(job: FitJob, tmp_path: Path) -> None:
    onnx_file = tmp_path / "tiny.onnx"
    export_model(job.output, onnx_file, [], lambda _: None)
    voice = tiny_corpora.write_sound(tmp_path / "long.wav", "sad", 77, seconds=3.2)
    keras_answer = load_predictor(job.output).predict(voice)
    onnx_answer = load_predictor(onnx_file).predict(voice)
    np.testing.assert_allclose(keras_answer.probabilities, onnx_answer.probabilities, atol=1e-5)
    answer = json.loads(keras_answer.line(as_json=True))
    assert answer["label"] == "sad"
    assert answer["confidence"] == max(answer["probabilities"].values())
    assert keras_answer.line(as_json=False).split("\t")[1] == "sad"
