import keras
import numpy as np
import pytest

import ser_train
from ser_live.errors import SerError
from ser_train.layers import Pooled193
from ser_train.published import SPECTRUM, build_issa_ravdess

LABELS = 8


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_issa_ravdess(LABELS, SPECTRUM.bins)


def test_has_the_size_of_the_paper(model: keras.Model) -> None:
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv1D)]
    assert [layer.filters for layer in convolutions] == [256, 128, 128, 128, 128, 128]
    assert {layer.kernel_size for layer in convolutions} == {(5,)}
    assert next(la for la in model.layers if isinstance(la, keras.layers.Flatten)).output.shape[
        1
    ] == (3072)
    own = 2 * 193 + 1 + 1  # statistics of "standardize" with their count, and the temperature
    assert model.count_params() - own == 520_360


def test_names_its_parts(model: keras.Model) -> None:
    names = [layer.name for layer in model.layers]
    assert names[:3] == ["spectrum", "frontend", "standardize"]
    assert names[-3:] == ["logits", "temperature", "probabilities"]
    assert isinstance(model.get_layer("frontend"), Pooled193)


def test_standardize_adapts_to_features(model: keras.Model) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(3.0, 2.0, (200, 193, 1)).astype(np.float32)
    layer = model.get_layer("standardize")
    layer.adapt(features)
    standardised = np.asarray(layer(features))
    np.testing.assert_allclose(standardised.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(standardised.std(axis=0), 1.0, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (3, 40)])
def test_gives_distributions_for_any_batch_and_length(
    model: keras.Model, shape: tuple[int, int]
) -> None:
    spectrum = np.random.default_rng(1).random((*shape, SPECTRUM.bins), np.float32)
    probabilities = np.asarray(model(spectrum))
    assert probabilities.shape == (shape[0], LABELS)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)


def test_create_model_knows_it_by_name() -> None:
    assert ser_train.create_model("issa-ravdess", LABELS).output_shape == (None, LABELS)


def test_create_model_names_what_it_does_not_know() -> None:
    with pytest.raises(SerError, match="'nonsense'"):
        ser_train.create_model("nonsense", LABELS)
