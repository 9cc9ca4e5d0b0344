"""Convolutions in int8: smaller, as right as before or refused, and a model file like any other."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import tiny_corpora
import tiny_network
from notes import Notes
from ser_export.cli import main
from ser_export.exporting import Export, export_model
from ser_export.quantization import GOLDEN_TOLERANCE, Quantization, quantize
from ser_live import Prediction, SerError, StreamRecognizer
from ser_live.model.classifier import OnnxClassifier
from ser_live.testing import speech_like, tiny_card
from ser_live.testing.models import tiny_graph
from ser_train.commands.fit import fit
from ser_train.data.for_export import hold_out
from ser_train.data.recordings import Recordings
from ser_train.layers import LogMel
from ser_train.models import registry as networks
from ser_train.models.keras_file import TrainingRecord, load_model, save_model
from test_export import command, ignore
from test_stream_laws import fixed, run

pytestmark = pytest.mark.integration

LABELS = ("happy", "sad", "angry")


def build(n_labels: int, bins: int) -> Any:
    """Convolve over one channel, then twice over several, as the real network does."""
    spectrum = keras.Input((None, bins), name="spectrum")
    x = LogMel(mels=20, name="frontend")(spectrum)
    x = keras.layers.ReLU()(keras.layers.Conv2D(8, (20, 1))(x))
    x = keras.layers.ReLU()(keras.layers.Conv2D(16, (1, 3), name="first")(x))
    x = keras.layers.ReLU()(keras.layers.Conv2D(16, (1, 3), name="second")(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return tiny_network.ending_in_labels(spectrum, x, n_labels)


@pytest.fixture(scope="module", name="folder")
def working_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quantize")


@pytest.fixture(scope="module", name="corpus")
def four_speakers(folder: Path) -> Path:
    actors = range(1, 7)
    return tiny_corpora.write_ravdess(folder / "ravdess", actors, (*LABELS, "calm"), takes=2)


@pytest.fixture(scope="module", name="source")
def trained_model(folder: Path, corpus: Path) -> Path:
    recipe = dataclasses.replace(tiny_network.NETWORK.recipe, learning_rate=0.02, mixup=0.0)
    network = dataclasses.replace(
        tiny_network.NETWORK, name="tiny-conv", build=build, recipe=recipe
    )
    recordings = Recordings((corpus,), dropped=("calm",))
    job = tiny_network.job(
        recordings, folder, network=network.name, output=folder / "tiny.keras", epochs=12
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.NETWORKS, network.name, network)
        fit(job, Notes())
    return job.output


@pytest.fixture(scope="module", name="export")
def quantized_export(source: Path, corpus: Path, folder: Path) -> Export:
    wanted = Quantization((corpus,), 1.0)
    return export_model(source, folder / "int8.onnx", [], ignore, wanted)


@pytest.fixture(scope="module", name="in_float32")
def plain_export(source: Path, folder: Path) -> Export:
    return export_model(source, folder / "float32.onnx", [], ignore)


def test_convolutions_over_channels_compute_with_whole_numbers(
    export: Export, in_float32: Export
) -> None:
    graph, plain = onnx.load(export.path).graph, onnx.load(in_float32.path).graph
    onnx.checker.check_model(onnx.load(export.path))
    sizes = {tensor.name: tensor.data_type for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    kernels = [node.input[1] for node in graph.node if node.op_type == "Conv"]
    eight = [made[kernel].input[0] for kernel in kernels if kernel in made]
    assert len(kernels) == 3
    assert [sizes[name] for name in eight] == [onnx.TensorProto.INT8] * 2
    for operator in ("MatMul", "Gemm", "Log"):  # the front end and the head stay as they are
        assert count(graph, operator) == count(plain, operator)


def count(graph: onnx.GraphProto, operator: str) -> int:
    return sum(node.op_type == operator for node in graph.node)


def test_it_is_a_model_file_like_any_other(export: Export, in_float32: Export) -> None:
    card = OnnxClassifier.load(export.path).card
    assert card.name == "tiny-conv-int8"
    assert card.golden is not None
    assert card.golden.tolerance == GOLDEN_TOLERANCE
    assert card.labels == OnnxClassifier.load(in_float32.path).card.labels == LABELS
    metric = card.metrics[-1]
    assert (metric.name, metric.speaker_independent, metric.count) == ("UAR", True, 6)
    assert "convolutions in int8, ranges from 6 clips of ravdess/05" in metric.protocol
    assert "measured on 6 clips of ravdess/06; left out calm" in metric.protocol
    assert "Convolutions in int8" in card.description


def test_it_answers_as_before(export: Export, in_float32: Export) -> None:
    assert export.quantized is not None
    cost = export.quantized.cost
    assert cost.before.uar == cost.after.uar == 1.0
    assert 0.0 < cost.greatest_difference < 0.05
    exact, rounded = (OnnxClassifier.load(e.path) for e in (in_float32, export))
    for seed in range(3):
        window = power(60, seed)
        np.testing.assert_allclose(
            rounded.probabilities(window), exact.probabilities(window), atol=0.1
        )


def power(frames: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((frames, 257), np.float32)


def test_the_summary_says_what_it_costs(export: Export) -> None:
    text = export.summary()
    for words in ("convolutions in int8; ranges from", "times smaller", "on one thread", "UAR 100"):
        assert words in text
    assert "greatest difference of a probability 0.0" in text
    assert "a batch gives the bits of single windows" in text


def test_any_chunking_gives_the_same_predictions(export: Export) -> None:
    samples = speech_like(2.0, seed=3)

    def play(step: int) -> list[Prediction]:
        return run(StreamRecognizer(export.path, vad=False), fixed(step)(samples))

    whole = play(len(samples))
    assert any(prediction.raw_probabilities for prediction in whole)
    for step in (17, 159, 160, 161, 4000):
        assert play(step) == whole


def test_what_loses_too_much_is_refused(source: Path, corpus: Path, tmp_path: Path) -> None:
    """One channel is too loud for the others to fit in eight bits; the next layer ignores it."""
    loaded = load_model(source)
    first, second = (loaded.model.get_layer(name) for name in ("first", "second"))
    kernel, bias = first.get_weights()
    kernel[..., 0], bias[0] = 0.0, 1e6
    first.set_weights([kernel, bias])
    kernel, bias = second.get_weights()
    kernel[:, :, 0] = 0.0
    second.set_weights([kernel, bias])
    assert loaded.record is not None
    save_model(tmp_path / "loud.keras", loaded.model, loaded.card, loaded.record)
    target = tmp_path / "loud.onnx"
    target.write_bytes(b"old")

    def export(points: float) -> Export:
        wanted = Quantization((corpus,), points)
        return export_model(tmp_path / "loud.keras", target, [], ignore, wanted)

    with pytest.raises(SerError, match=r"in int8 its UAR is 33\.3 % instead of .*--max-drop"):
        export(1.0)
    assert target.read_bytes() == b"old"
    assert export(100.0).quantized is not None


def test_a_network_without_convolutions_is_refused() -> None:
    with pytest.raises(SerError, match="no convolution"):
        quantize(tiny_graph(tiny_card()), [power(47, 0)])


def test_speakers_that_trained_the_model_decide_nothing(corpus: Path) -> None:
    card = dataclasses.replace(tiny_card(), labels=LABELS)

    def parted(training: str, validation: str) -> tuple[set[str], set[str]]:
        names = [tuple(f"ravdess/0{n}" for n in group) for group in (training, validation)]
        parts = hold_out((corpus,), card, TrainingRecord(names[0], names[1], (), 0))
        assert parts.unknown_labels == ("calm",)
        assert not set(parts.calibration) & set(parts.measured)
        calibration, judges = (
            {clip.speaker[-1] for clip in clips} for clips in (parts.calibration, parts.measured)
        )
        return calibration, judges

    assert parted("123", "4") == ({"4"}, {"5", "6"})
    assert parted("12345", "6") == ({"6"}, {"6"})  # a fourth of its clips, and the rest
    calibration, judges = parted("1", "")
    assert "1" not in calibration | judges
    assert judges == set("23456")
    unknown = hold_out((corpus,), card, None)
    assert not unknown.speaker_independent
    assert "does not say who was in its training" in unknown.describe()
    with pytest.raises(SerError, match=r"ravdess/01, .* were in the model's training"):
        parted("123456", "")
    other = dataclasses.replace(card, labels=("fearful", "boredom"))
    with pytest.raises(SerError, match="none of the labels fearful, boredom"):
        hold_out((corpus,), other, None)


def test_folders_and_tables(tmp_path: Path) -> None:
    named = [tmp_path / "ravdess", tmp_path / "mine.csv"]
    assert Recordings.part(named) == ((named[0],), (named[1],))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--quantize"], "give --corpus PATH"),
        (["--corpus", "x"], "belong to --quantize"),
        (["--max-drop", "2"], "belong to --quantize"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    source: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert main([str(source), "-o", "x.onnx", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("ser-export: error: ")
    assert told.err.count("\n") == 1
    assert reason in told.err


@pytest.mark.parametrize("points", ["-1", "101", "nan", "much"])
def test_points_that_are_none(points: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["m.keras", "-o", "m.onnx", "--quantize", "--max-drop", points])
    assert caught.value.code == 2
    assert "--max-drop" in capsys.readouterr().err


def test_the_command_quantizes(source: Path, corpus: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.onnx"
    done = command(str(source), "-o", str(target), "--quantize", "--corpus", str(corpus))
    assert done.returncode == 0, done.stderr
    assert "convolutions in int8" in done.stdout
    assert all(line.startswith("ser-export: ") for line in done.stderr.splitlines())
    OnnxClassifier.load(target)


def test_recordings_that_are_none_are_refused_in_one_line(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("path,label,speaker\nno.wav,sad,a\nno2.wav,happy,b\n")
    for corpus in (tmp_path / "none", table):
        target = str(tmp_path / "b.onnx")
        assert main([str(source), "-o", target, "--quantize", "--corpus", str(corpus)]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.splitlines()[-1].startswith("ser-export: error: ")
        assert "Traceback" not in told.err
    assert not list(tmp_path.glob("*.onnx"))
