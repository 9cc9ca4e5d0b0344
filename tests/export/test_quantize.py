"""Convolutions in int8: smaller, as right as before or refused, and a model file like any other."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest

from helpers import tiny_corpora, tiny_network
from helpers.in_process import call
from helpers.notes import Notes, ignore
from ser_export.cli import main
from ser_export.exporting import Export, export_model
from ser_export.quantization import GOLDEN_TOLERANCE, Quantization, quantize
from ser_live import SerError
from ser_live.model.classifier import OnnxClassifier
from ser_live.testing import tiny_card
from ser_live.testing.models import tiny_graph
from ser_train.commands.fit import fit
from ser_train.data.for_export import first_window_of, hold_out
from ser_train.data.recordings import Recordings
from ser_train.layers import LogMel
from ser_train.models.keras_file import load_model, save_model
from ser_train.models.training_record import TrainingRecord

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


@pytest.fixture(scope="module", name="corpus")
def six_speakers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantize") / "ravdess"
    return tiny_corpora.write_ravdess(folder, range(1, 7), (*LABELS, "calm"), takes=2)


@pytest.fixture(scope="module", name="source")
def trained_model(corpus: Path) -> Path:
    recipe = dataclasses.replace(tiny_network.NETWORK.recipe, learning_rate=0.02, mixup=0.0)
    recordings = Recordings((corpus,), dropped=("calm",))
    job = tiny_network.job(recordings, corpus.parent, network="tiny-conv", epochs=12)
    with pytest.MonkeyPatch.context() as patch:
        tiny_network.register(patch, name=job.network, build=build, recipe=recipe)
        fit(job, Notes())
    return job.output


@pytest.fixture(scope="module", name="export")
def quantized_export(source: Path, corpus: Path) -> Export:
    wanted = Quantization((corpus,), 1.0)
    return export_model(source, source.with_name("int8.onnx"), [], ignore, wanted)


@pytest.fixture(scope="module", name="in_float32")
def plain_export(source: Path) -> Export:
    return export_model(source, source.with_name("float32.onnx"), [], ignore)


def test_convolutions_over_channels_compute_with_whole_numbers(
    export: Export, in_float32: Export
) -> None:
    graph, plain = onnx.load(export.path).graph, onnx.load(in_float32.path).graph
    sizes = {tensor.name: tensor.data_type for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    kernels = [node.input[1] for node in graph.node if node.op_type == "Conv"]
    eight = [made[kernel].input[0] for kernel in kernels if kernel in made]
    assert len(kernels) == 3
    assert [sizes[name] for name in eight] == [onnx.TensorProto.INT8] * 2
    counts, wanted = (Counter(node.op_type for node in g.node) for g in (graph, plain))
    for operator in ("MatMul", "Gemm", "Log"):  # the front end and the head stay as they are
        assert counts[operator] == wanted[operator]


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


def test_its_cost_is_what_both_files_show(export: Export, in_float32: Export) -> None:
    assert export.quantized is not None
    cost = export.quantized.cost
    windows = [first_window_of(clip, export.card) for clip in cost.clips.measured]
    before, after = (
        np.array([OnnxClassifier.load(file.path).probabilities(window) for window in windows])
        for file in (in_float32, export)
    )
    differences = np.abs(before - after)
    assert cost.greatest_difference == pytest.approx(differences.max(), rel=1e-4, abs=1e-6)
    assert cost.changed_answers == np.sum(before.argmax(axis=1) != after.argmax(axis=1))
    assert 0.0 < differences.mean() < 0.05


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
        quantize(tiny_graph(tiny_card()), [])


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


def test_the_command_quantizes_and_says_what_it_costs(
    source: Path, corpus: Path, tmp_path: Path
) -> None:
    target = tmp_path / "a.onnx"
    done = call(source, "-o", target, "--quantize", "--corpus", corpus, main=main)
    assert done.returncode == 0, done.stderr
    for words in ("convolutions in int8; ranges from", "times smaller", "on one thread", "UAR "):
        assert words in done.stdout
    assert "greatest difference of a probability 0." in done.stdout
    assert OnnxClassifier.load(target).card.name == "tiny-conv-int8"


def test_recordings_that_are_none_are_refused(source: Path, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("path,label,speaker\nno.wav,sad,a\nno2.wav,happy,b\n")
    for corpus, reason in ((tmp_path / "none", "missing, wanted a folder"), (table, "no.wav")):
        with pytest.raises(SerError, match=reason):
            export_model(source, tmp_path / "b.onnx", [], ignore, Quantization((corpus,), 1.0))
    assert not list(tmp_path.glob("*.onnx"))
