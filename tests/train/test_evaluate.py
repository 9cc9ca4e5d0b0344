"""Evaluation of a model: its lines, and the warning of speakers that it had heard."""

import dataclasses
import json
import shlex
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

from helpers import tiny_network
from helpers.notes import Notes
from ser_export.exporting import export_model
from ser_live import SerError
from ser_live.model.card import SpectrumSpec, WindowSpec
from ser_live.testing import demo_voice
from ser_train import metrics
from ser_train.commands import cli
from ser_train.commands.evaluate import evaluate
from ser_train.commands.fit import FitJob
from ser_train.corpora import Clip
from ser_train.evaluation.calibration import Measured
from ser_train.evaluation.clips import Evaluation, record_of
from ser_train.models.keras_file import load_model, save_model
from ser_train.models.size import ModelSize, measure_size
from ser_train.reports.model_card import held_out_metrics

pytestmark = pytest.mark.integration


def test_with_several_corpora_each_one_is_reported() -> None:
    clips = [Clip(Path(c), "sad", f"{c}/1", c) for c in ("emodb", "emodb", "nemo")]
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    truth = np.zeros(3, np.intp)
    scores = metrics.score(probabilities, truth)
    measured = Measured(tuple(clips), truth, probabilities, scores, "in words")
    reported = held_out_metrics(measured, ("sad", "angry"), "last epoch")
    accuracy = [m for m in reported if m.name == "WA"]
    assert [m.count for m in accuracy] == [3, 2, 1]
    assert [m.value for m in accuracy] == pytest.approx([2 / 3, 0.5, 1.0], abs=1e-4)
    assert reported[4].protocol.startswith("emodb alone: held-out speakers emodb/1, neither")
    leaks = [m for m in reported if m.name == "mass on angry"]
    assert [m.value for m in leaks] == pytest.approx([0.45, 0.3])
    assert [m.count for m in leaks] == [2, 1]
    assert (reported[-1].name, reported[-1].count) == ("recall of sad", 3)
    assert reported[-1].value == pytest.approx(2 / 3, abs=1e-6)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_network.register(monkeypatch)


def evaluation(job: FitJob, *speakers: str) -> Evaluation:
    return Evaluation(job.output, job.recordings, speakers or None, cache_folder=job.cache_folder)


def test_evaluation_says_who_was_known(fitted: tiny_network.Fitted, tmp_path: Path) -> None:
    held_out = dataclasses.replace(evaluation(fitted.job, "ravdess/06"), report_folder=tmp_path)
    lines = evaluate(held_out, Notes())
    assert "speaker ravdess/06; no speaker of the training was heard (speaker-indep" in lines[0]
    assert "first 1 s from the speech onset" in lines[0]
    assert "UAR 100.0 %" in lines[1]
    assert (tmp_path / "reliability.png").is_file()
    notes = Notes()
    lines = evaluate(evaluation(fitted.job), notes)
    assert "ravdess/01, ravdess/02, ravdess/03, ravdess/04 were in training" in lines[0]
    assert notes.notes[-1].startswith("warning: ravdess/01")


def test_a_report_holds_what_a_reader_needs(
    fitted: tiny_network.Fitted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, report = str(fitted.job.recordings.folders[0]), tmp_path / "report"
    command = ["evaluate", str(fitted.job.output), "--corpus", corpus, "--csv"]
    command += ["--cache-dir", str(fitted.job.cache_folder)]
    assert cli.main(command) == 2
    assert "--csv and --latex want a folder" in capsys.readouterr().err
    assert cli.main([*command, "--report-dir", str(report)]) == 0
    model, data = load_model(fitted.job.output), json.loads((report / "metrics.json").read_text())
    assert data["command"] == shlex.join(["ser-train", *command, "--report-dir", str(report)])
    assert data["parameters"] == model.model.count_params()
    # One second: 97 frames of 257 bins to 20 mels, whose means go to two labels.
    assert data["multiply_adds"] == 97 * 257 * 20 + 20 * 2
    assert {"python", "keras", "ser-live"} <= data["versions"].keys()
    assert [row["clips"] for row in data["speakers"]] == [4] * 6
    assert np.trace(data["confusion"]) / 24 == pytest.approx(data["scores"]["wa"])
    page = (report / "report.md").read_text()
    assert f"```console\n{data['command']}\n```" in page
    assert "| ravdess/06 | 4 | 100.0 | 100.0 |" in page
    assert (report / "speakers.csv").read_text().startswith("speaker,clips,UAR %,WA %\n")
    capsys.readouterr()
    assert cli.main(["compare", str(report), str(report)]) == 0
    assert "24 clips of 6 speakers" in capsys.readouterr().out


def test_what_cannot_be_counted_is_not() -> None:
    inputs = keras.Input((None, 257))
    attended = keras.layers.MultiHeadAttention(1, 4)(inputs, inputs)
    size = measure_size(keras.Model(inputs, attended), SpectrumSpec(), WindowSpec())
    assert size == ModelSize(257 * 12 + 12 + 4 * 257 + 257, None)


def test_predictions_of_keras_and_onnx_agree(
    fitted: tiny_network.Fitted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx_file = tmp_path / "tiny.onnx"
    card = export_model(fitted.job.output, onnx_file, [], lambda _: None).card
    record = record_of(onnx_file, card)  # no .keras file of its name lies beside it
    assert record == load_model(fitted.job.output).record
    assert record is not None
    assert record.recordings.keys() == {f"ravdess/0{n}" for n in range(1, 6)}
    voice, zeros = tmp_path / "voice.wav", tmp_path / "zeros.wav"
    soundfile.write(voice, demo_voice(), 16000)
    soundfile.write(zeros, np.zeros(80000), 16000)
    answers = []
    for model in (fitted.job.output, onnx_file):
        assert cli.main(["predict", "--json", str(model), str(voice), str(zeros)]) == 0
        answers.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    (by_keras, *silence), (by_onnx, *_) = answers
    assert [(answer["state"], answer["label"]) for answer in silence] == [("silence", None)]
    assert by_keras["probabilities"] == pytest.approx(by_onnx["probabilities"], abs=1e-5)
    assert by_keras["confidence"] == max(by_keras["probabilities"].values())


def test_strangers_set_temperature_and_threshold(
    fitted: tiny_network.Fitted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, corpus = tmp_path / "tempered.keras", str(fitted.job.recordings.folders[0])
    command = ["evaluate", str(fitted.job.output), "--corpus", corpus]
    command += ["--cache-dir", str(fitted.job.cache_folder), "--calibrated", str(target)]
    assert cli.main([*command, "--speakers", "ravdess/04,ravdess/06"]) == 2
    assert "ravdess/04 were in the first model's training; --calib" in capsys.readouterr().err
    swap = ["--map", "happy=sad", "--map", "sad=happy"]  # every sure answer is wrong
    assert cli.main([*command, "--speakers", "ravdess/06", *swap]) == 0
    assert f"wrote {target}; temperature" in capsys.readouterr().out
    before, after = load_model(fitted.job.output), load_model(target)
    temperature = after.card.calibration.temperature
    assert temperature > 2 * max(1.0, before.card.calibration.temperature)
    assert float(after.model.get_layer("temperature").temperature) == pytest.approx(temperature)
    assert "the held-out speakers ravdess/06" in after.card.calibration.method
    assert after.card.smoothing == dataclasses.replace(before.card.smoothing, uncertain_below=0.6)
    assert "ECE" in {metric.name for metric in before.card.metrics}
    of_ece = [metric for metric in after.card.metrics if "ECE" in metric.name]
    assert [("these very weights" in metric.protocol) for metric in of_ece] == [True, True]
    assert after.card.limits.startswith(before.card.limits)
    assert after.record is not None
    assert after.record.validation_speakers == ("ravdess/05", "ravdess/06")
    assert after.record.test_speakers == ()


def test_a_model_with_an_everyday_prior_is_not_calibrated_by_strangers(
    fitted: tiny_network.Fitted, tmp_path: Path
) -> None:
    first = load_model(fitted.job.output)
    assert first.record is not None
    card = dataclasses.replace(first.card, prior={"sad": 2.0})
    save_model(tmp_path / "everyday.keras", first.model, card, first.record)
    wanted = evaluation(fitted.job, "ravdess/06")
    for model, target, reason in (
        (tmp_path / "everyday.keras", "a.keras", "its everyday prior sets the threshold"),
        (fitted.job.output, "a.onnx", "wanted a file that ends in .keras"),
    ):
        job = dataclasses.replace(wanted, model=model, calibrated=tmp_path / target)
        with pytest.raises(SerError, match=reason):
            evaluate(job, Notes())
