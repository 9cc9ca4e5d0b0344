"""Networks that users bring: imported by name, tried before a training, known to each command."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers import tiny_corpora
from ser_export.cli import main as export
from ser_live import SerError
from ser_live.model.classifier import OnnxClassifier
from ser_live.testing import demo_voice, tiny_card
from ser_train.commands import cli
from ser_train.models import registry
from ser_train.models.keras_file import load_model
from ser_train.models.own_network import require_exportable

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("no_pictures")]

MODULE = """
import dataclasses
import keras
from keras import layers
from ser_live.model.card import SpectrumSpec, WindowSpec
from ser_train.layers import LogMel, with_probabilities
from ser_train.models.recipe import Recipe, WindowSampling
from ser_train.models.registry import Network

@keras.saving.register_keras_serializable(package="mine")
class Halved(layers.Layer):
    def call(self, x):
        return x / 2

class Doubled(layers.Layer):
    def call(self, x):
        return x * 2

@keras.saving.register_keras_serializable(package="mine")
class Inverse(layers.Layer):
    def call(self, x):
        return keras.ops.erfinv(keras.ops.tanh(x))

def build(n_labels, bins, inner=Halved, short=False):
    spectrum = keras.Input((None, bins), name="spectrum")
    x = layers.Permute((2, 3, 1))(LogMel(mels=8)(spectrum))
    x = layers.AveragePooling2D((40, 1) if short else (1, 1))(x) if short else x
    x = inner()(layers.GlobalAveragePooling2D()(x))
    return with_probabilities(spectrum, layers.Dense(n_labels, name="logits")(x))

def pooled_over_time(n_labels, bins):
    spectrum = keras.Input((None, bins), name="spectrum")
    x = layers.GlobalAveragePooling1D()(layers.AveragePooling1D(64)(spectrum))
    return with_probabilities(spectrum, layers.Dense(n_labels, name="logits")(x))

def lambda_inside(n_labels, bins):
    return build(n_labels, bins, lambda: layers.Lambda(lambda x: x + 1))

def unregistered(n_labels, bins):
    return build(n_labels, bins, Doubled)

def without_onnx(n_labels, bins):
    return build(n_labels, bins, Inverse)

def of_three(n_labels, bins):
    return build(3, bins)

def bare(n_labels, bins):
    spectrum = keras.Input((None, bins), name="spectrum")
    x = layers.Dense(n_labels, activation="softmax", name="probabilities")
    return keras.Model(spectrum, x(layers.GlobalAveragePooling1D()(spectrum)))

def fails(n_labels, bins):
    return no_such_name

def nothing(n_labels, bins):
    return None

ANSWER = 42
NETWORK = Network("mine", SpectrumSpec(400), WindowSpec(1.0), build, Recipe(1, 4, 0.05,
    windows=WindowSampling((1.0,), 0.0, shortest_seconds=0.3, short_below_seconds=0.5,
        longest_seconds=0.8)))
UNSOUND = dataclasses.replace(NETWORK, recipe=Recipe(1, 4, -1.0))
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "mynet.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(registry, "NETWORKS", {**registry.NETWORKS})
    yield
    sys.modules.pop("mynet", None)


def test_a_function_or_a_network_of_one_s_own_is_found(tmp_path: Path) -> None:
    plain = registry.find_network("mynet:build")
    assert (plain.name, plain.spectrum.bins, plain.window.seconds) == ("mynet:build", 257, 3.0)
    assert plain.recipe == registry.NETWORKS["emotion-tcn"].recipe
    assert len(plain.code_sha256) == 64
    whole = registry.find_network("mynet:NETWORK")
    assert (whole.name, whole.spectrum.bins, whole.recipe.epochs) == ("mynet:NETWORK", 201, 1)
    both = registry.find_network("mynet:build+mynet:build")
    assert both.members == ("mynet:build", "mynet:build")
    for network in (plain, whole, both):
        require_exportable(network, 3)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere:build", "fails .ModuleNotFoundError: .*nowhere"),
        ("mynet:missing", "fails .AttributeError"),
        ("mynet:ANSWER", "is int, wanted a Network, or a function"),
        ("mynet:UNSOUND", "recipe.learning_rate is -1.0, wanted 0 or more"),
        ("mynet:fails", r"mynet:fails fails .NameError.*mynet.py:\d+"),
        ("mynet:nothing", "gives NoneType, wanted a functional keras.Model"),
        ("mynet:of_three", r"leads from \(None, None, 257\) to \(None, 3\), wanted"),
        ("mynet:bare", "wanted spectrum first, the three of ser_train.layers.with_prob"),
        ("mynet:lambda_inside", "brings code of its own"),
        ("mynet:unregistered", "holds the layer 'Doubled'.*register_keras_serializable"),
        ("mynet:without_onnx", "uses the operator 'Erfinv'"),
        ("mynet:pooled_over_time", "differs by nan on 27 frames"),
    ],
)
def test_what_cannot_be_used_is_told_before_a_training(name: str, reason: str) -> None:
    with pytest.raises(SerError, match=reason) as caught:
        require_exportable(registry.find_network(name), 2)
    assert "\n" not in str(caught.value)


def test_a_file_cannot_have_code_imported(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("open('ran', 'w')")
    card = dataclasses.replace(tiny_card(), network="evil:build+evil:other")
    assert registry.network_of(card).members == ("evil:build", "evil:other")
    assert not (tmp_path / "ran").exists()
    with contextlib.suppress(SerError):
        registry.find_network(card.network)
    assert (tmp_path / "ran").exists()


def run(words: str) -> None:
    assert cli.main(words.split()) == 0


def test_commands_import_what_a_file_needs(tmp_path: Path) -> None:
    tiny_corpora.write_table(tmp_path / "mine.csv", "abcd")
    soundfile.write("voice.wav", demo_voice(), 16000)
    given = "--corpus mine.csv --cache-dir cache"
    run(f"fit --network mynet:NETWORK {given} --test-speakers mine/d -o one.keras")
    card = load_model(Path("one.keras")).card
    assert (card.name, card.network, card.spectrum.fft_samples) == ("NETWORK", "mynet:NETWORK", 400)
    own = "--network mynet:NETWORK"
    run(f"fit --init one.keras {own} {given} --epochs 2 -o two.keras")
    assert cli.main(f"fit --init one.keras --network mynet:x {given} -o a.keras".split()) == 2
    run(f"ensemble one.keras one.keras {own} -o both.keras")
    run(f"predict both.keras voice.wav {own}")
    for name in ("two", "both"):
        assert export([f"{name}.keras", "-o", f"{name}.onnx", *own.split()]) == 0
        classifier = OnnxClassifier.load(f"{name}.onnx")
        window = np.ones((1, 98, 201), np.float32)
        assert classifier.batch_probabilities(window).shape == (1, 2)
