"""The registered networks keep the contract that training, export and runtime rely on."""

import functools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ser_train
from ser_live import SerError
from ser_train.models import registry as networks

ENSEMBLES = sorted(name for name, network in networks.NETWORKS.items() if network.members)
SINGLE = sorted(networks.NETWORKS.keys() - {*ENSEMBLES, "issa-iemocap"})
"""But the one that test_published finds to be issa-ravdess with another dropout."""


@functools.cache
def built_network(name: str) -> Any:
    import keras  # noqa: PLC0415

    keras.utils.set_random_seed(0)
    return networks.create_model(name, 5)


@pytest.fixture(
    name="model",
    params=[*SINGLE, *(pytest.param(n, marks=pytest.mark.integration) for n in ENSEMBLES)],
    scope="module",
)
def every_model(request: pytest.FixtureRequest) -> tuple[networks.Network, Any]:
    name: str = request.param
    return networks.find_network(name), built_network(name)


def sounds(network: networks.Network, frames: int, windows: int = 1) -> np.ndarray:
    random = np.random.default_rng(1)
    return random.exponential(size=(windows, frames, network.spectrum.bins)).astype(np.float32)


def test_layers_have_the_agreed_names(model: tuple[networks.Network, Any]) -> None:
    network, built = model
    assert built.input.name == "spectrum"
    assert built.input_shape == (None, None, network.spectrum.bins)
    assert built.output_shape == (None, 5)
    assert [layer.name for layer in built.layers[-3:]] == ["logits", "temperature", "probabilities"]
    temperature = built.get_layer("temperature").temperature
    assert float(temperature) == 1.0
    assert not temperature.trainable
    assert network.name != "emotion-tcn" or built.count_params() <= 1_000_000, "it is small"


def test_any_length_gives_a_distribution(model: tuple[networks.Network, Any]) -> None:
    network, built = model
    for frames in (8, 30, 297):
        probabilities = np.asarray(built(sounds(network, frames, 2)))
        assert probabilities.shape == (2, 5)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)


def test_temperature_divides_the_logits() -> None:
    import keras  # noqa: PLC0415

    built = built_network("emotion-tcn")
    logits = keras.Model(built.input, built.get_layer("logits").output)
    heard = sounds(networks.find_network("emotion-tcn"), 100)
    temperature = built.get_layer("temperature").temperature
    temperature.assign(2.5)
    got = np.asarray(built(heard))
    temperature.assign(1.0)  # the model is shared
    np.testing.assert_allclose(got, keras.ops.softmax(logits(heard) / 2.5), atol=1e-6)


def test_the_sequence_network_does_not_hear_the_gain() -> None:
    built = built_network("emotion-tcn")
    heard = sounds(networks.find_network("emotion-tcn"), 120)
    np.testing.assert_array_equal(built(heard), built(heard * np.float32(2.0**-10)))
    np.testing.assert_allclose(built(heard), built(heard * np.float32(10.0)), atol=1e-5)


def test_a_saved_network_gives_the_same(
    model: tuple[networks.Network, Any], tmp_path: Path
) -> None:
    import keras  # noqa: PLC0415

    network, built = model
    if network.is_pretrained:  # such weights are stored in half precision, as they were published
        layer = built.get_layer(network.front_end)
        layer.set_weights([np.float16(w).astype(np.float32) for w in layer.get_weights()])
    built.save(tmp_path / "model.keras")
    if network.is_pretrained:
        with zipfile.ZipFile(tmp_path / "model.keras") as archive:
            stored = archive.getinfo("model.weights.h5").file_size
        assert stored < 0.75 * 4 * built.count_params()
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    heard = sounds(network, 100)
    np.testing.assert_array_equal(loaded(heard), built(heard))


def test_names_joined_by_plus_are_an_ensemble() -> None:
    both = networks.find_network("issa-emodb+issa-ravdess")
    assert both.members == ("issa-emodb", "issa-ravdess")
    assert both.recipe == networks.find_network("issa-emodb").recipe
    assert both.front_end == "frontend"
    single = built_network("issa-emodb")
    assert networks.create_model(both.name, 5).count_params() > single.count_params() + 500_000


def test_names_and_labels_are_checked() -> None:
    with pytest.raises(SerError, match="'tcn'; the networks are emotion-tcn, emotion-whisper"):
        ser_train.create_model("tcn", 8)
    with pytest.raises(SerError, match="'tcn'; the networks are"):
        networks.find_network("emotion-tcn+tcn")
    with pytest.raises(SerError, match=r"differ in spectrum, window or front end"):
        networks.find_network("emotion-tcn+issa-ravdess")
    with pytest.raises(SerError, match="at least 2 labels, got 1"):
        ser_train.create_model("emotion-tcn", 1)
