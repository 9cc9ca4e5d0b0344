"""Large products in int8: smaller, close to float32, and alike alone and in a batch."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from helpers import tiny_network
from helpers.notes import ignore
from ser_export.exporting import Export, export_model
from ser_export.int8_products import LEAST_WEIGHTS, with_int8_products
from ser_export.quantization import GOLDEN_TOLERANCE
from ser_export.verification import run
from ser_live.model.classifier import OnnxClassifier
from ser_live.model.onnx_session import open_session
from ser_live.testing import tiny_card
from ser_train.layers import LogMel
from ser_train.models.conversion import convert
from ser_train.models.keras_file import load_model, save_model
from ser_train.models.training_record import TrainingRecord

pytestmark = pytest.mark.integration

LABELS = ("happy", "sad", "angry")
CARD = dataclasses.replace(tiny_card(), name="large", labels=LABELS)
UNITS, INNER_UNITS = 64, 1024


@keras.saving.register_keras_serializable(package="ser_tests")
class GaussianErrorUnit(keras.layers.Layer):  # type: ignore[misc]
    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return 0.5 * x * (1.0 + keras.ops.erf(x / 2.0**0.5))


def large_network() -> keras.Model:
    """Multiply each frame by two large matrices, with a Gaussian error linear unit between."""
    keras.utils.set_random_seed(1)
    spectrum = keras.Input((None, CARD.spectrum.bins), name="spectrum")
    x = keras.layers.Rescaling(0.1)(LogMel(mels=UNITS, name="frontend")(spectrum))
    x = keras.layers.Permute((2, 3, 1))(x)
    x = GaussianErrorUnit()(keras.layers.Dense(INNER_UNITS)(x))
    x = keras.layers.GlobalMaxPooling2D()(keras.layers.Dense(UNITS)(x))
    return tiny_network.ending_in_labels(spectrum, x, len(LABELS))


@pytest.fixture(scope="session", name="source")
def saved_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "large.keras"
    save_model(path, large_network(), CARD, TrainingRecord((), (), (), 0))
    return path


@pytest.fixture(scope="session", name="export")
def exported_network(source: Path) -> Export:
    return export_model(source, source.with_suffix(".onnx"), [], ignore)


def windows(frames: int) -> NDArray[np.float32]:
    """Return five windows, some far louder than others, and one of silence."""
    rng = np.random.default_rng(frames)
    power = rng.exponential(size=(5, frames, CARD.spectrum.bins)).astype(np.float32)
    return power * np.array([1e-4, 1.0, 0.0, 1e3, 7.0], np.float32)[:, np.newaxis, np.newaxis]


def test_a_window_gives_the_same_bits_alone_and_in_a_batch(export: Export) -> None:
    assert export.batch_is_bitwise
    classifier = OnnxClassifier.load(export.path)
    assert classifier.batch_is_bitwise
    for frames in (98, 150, 298):
        batch = windows(frames)
        singles = [classifier.probabilities(window) for window in batch]
        for size in (2, 3, 5):
            got = classifier.batch_probabilities(batch[:size])
            np.testing.assert_array_equal(got, singles[:size])


def test_large_matrices_have_eight_bits_and_little_is_lost(source: Path, export: Export) -> None:
    kinds = [
        tensor.data_type
        for tensor in onnx.load(export.path).graph.initializer
        if np.prod(tensor.dims) >= LEAST_WEIGHTS
    ]
    assert kinds == [onnx.TensorProto.INT8] * 2
    plain = convert(load_model(source).model, source)
    assert export.bytes < 0.5 * plain.ByteSize()
    session = open_session(plain.SerializeToString(), "float32")
    classifier = OnnxClassifier.load(export.path)
    batch = windows(150)
    difference = np.abs(classifier.batch_probabilities(batch) - run(session, batch)).max()
    assert 0.0 < difference < GOLDEN_TOLERANCE
    assert export.int8_difference is not None
    assert 0.0 < export.int8_difference < GOLDEN_TOLERANCE
    assert "large products in int8" in export.summary()
    assert export.card.golden is not None
    assert export.card.golden.tolerance == GOLDEN_TOLERANCE


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_numbers_do_not_overflow(sign: float) -> None:
    """Without VNNI instructions, pairs of products are added in sixteen bits, which saturate."""
    rows, columns = 512, 256
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["spectrum", "weights"], ["probabilities"])],
        "product",
        [helper.make_tensor_value_info("spectrum", onnx.TensorProto.FLOAT, ["frames", rows])],
        [helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, [None, columns])],
        [numpy_helper.from_array(np.full((rows, columns), sign, np.float32), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    smaller = with_int8_products(model)
    assert smaller is not None
    power = np.outer([5.0, 1e-3, 0.0, -1e6], np.ones(rows)).astype(np.float32)
    got = run(open_session(smaller.SerializeToString(), "product"), power)
    np.testing.assert_allclose(
        got, sign * power.sum(axis=1)[:, np.newaxis] * np.ones(columns), 1e-5
    )


def test_small_networks_stay_as_they_are() -> None:
    spectrum = keras.Input((None, 257), name="spectrum")
    small = tiny_network.ending_in_labels(spectrum, keras.layers.GlobalMaxPooling1D()(spectrum), 3)
    assert with_int8_products(convert(small, Path())) is None


def test_onnxruntime_knows_the_gaussian_error_linear_unit(source: Path, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    graph = convert(load_model(source).model, source)
    onnxruntime.InferenceSession(graph.SerializeToString(), options)
    operators = {node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node}
    assert not operators & {"Erf", "FastGelu"}
    assert operators & {"Gelu", "BiasGelu"}
