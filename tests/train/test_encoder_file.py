"""A speech encoder: small in its file, alike alone and in a batch, deaf to padding and gain."""

import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from helpers import tiny_network
from ser_export.int8_products import with_int8_products
from ser_export.verification import run
from ser_live.model.onnx_session import open_session
from ser_train.layers.speech_encoder import SpeechEncoder
from ser_train.models.conversion import convert

pytestmark = pytest.mark.integration

BINS = 201


@pytest.fixture(scope="session", name="model")
def tiny_encoder() -> keras.Model:
    """Return two blocks whose dense layers are just large enough for int8."""
    keras.utils.set_random_seed(3)
    spectrum = keras.Input((None, BINS), name="spectrum")
    encoder = SpeechEncoder(2, units=64, heads=2, inner_units=1024, name="encoder")
    model = tiny_network.ending_in_labels(spectrum, encoder(spectrum), 3)
    halves = [np.float16(weights).astype(np.float32) for weights in encoder.get_weights()]
    encoder.set_weights(halves)
    return model


def windows(frames: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(frames)
    return rng.exponential(size=(5, frames, BINS)).astype(np.float32)


def test_its_file_holds_halves_and_gives_the_same_bits(model: keras.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "tiny.keras")
    with zipfile.ZipFile(tmp_path / "tiny.keras") as archive:
        stored = archive.getinfo("model.weights.h5").file_size
    assert stored < 0.75 * 4 * model.count_params()
    loaded = keras.saving.load_model(tmp_path / "tiny.keras")
    power = windows(60)
    np.testing.assert_array_equal(np.asarray(loaded(power)), np.asarray(model(power)))


@pytest.mark.parametrize("in_int8", [False, True])
def test_a_window_gives_the_same_bits_alone_and_in_a_batch(
    model: keras.Model, in_int8: bool
) -> None:
    graph = convert(model, Path())
    smaller = with_int8_products(graph)
    assert smaller is not None
    chosen = smaller if in_int8 else graph
    session = open_session(chosen.SerializeToString(), "tiny")
    for frames in (1, 2, 98, 150, 298):
        batch = windows(frames)
        singles = np.concatenate([run(session, window[np.newaxis]) for window in batch])
        np.testing.assert_array_equal(run(session, batch), singles)
        tolerance = 0.05 if in_int8 else 1e-5
        np.testing.assert_allclose(singles, np.asarray(model(batch)), rtol=0, atol=tolerance)
