"""A Keras model with an output "ordinary": saved, exported, heard, joined and adapted."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from helpers import tiny_network
from helpers.notes import ignore
from helpers.signals import demo_voice
from helpers.streams import offline
from ser_export import verification
from ser_export.exporting import Export, export_model
from ser_export.page import card_as_page
from ser_live import SerError
from ser_live.model.card import Calibration, Encoder, ModelCard, SmoothingSpec
from ser_live.model.classifier import OnnxClassifier
from ser_live.testing import tiny_card
from ser_train.commands.merge import merge
from ser_train.evaluation.calibration import Calibrated
from ser_train.models.conversion import convert
from ser_train.models.ensemble import combine
from ser_train.models.inference import KerasClassifier
from ser_train.models.keras_file import load_model, save_model
from ser_train.models.training_record import TrainingRecord
from ser_train.reports.model_card import adapted_card
from ser_train.training.pretrained import with_labels

pytestmark = pytest.mark.integration

LABELS = ("neutral", "happy", "sad", "angry")
CARD = tiny_card(
    prior={"neutral": 8.0, "sad": 0.5},
    ordinary_odds=2.0,
    encoder=Encoder("whisper-tiny.en", 64 * "0", "MIT"),
)
VOICE = demo_voice(16000, 4.0)


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return tiny_network.with_ordinary(tiny_network.build(len(LABELS), 257))


def save(path: Path, model: keras.Model, card: ModelCard = CARD) -> Path:
    save_model(path, model, card, TrainingRecord((), (), (), 0))
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("both") / "both.keras", network())


@pytest.fixture(scope="module")
def export(source: Path) -> Export:
    return export_model(source, source.with_suffix(".onnx"), [], ignore)


def test_both_outputs_are_exported_and_checked(source: Path, export: Export) -> None:
    outputs = [output.name for output in onnx.load(export.path).graph.output]
    assert sorted(outputs) == ["ordinary", "probabilities"]
    golden = export.card.golden
    assert golden is not None
    assert golden.ordinary is not None
    assert dataclasses.replace(export.card, golden=None) == CARD
    assert export.batch_is_bitwise
    windows = np.random.default_rng(0).random((3, 40, 257), np.float32)
    got = OnnxClassifier.load(export.path).batch_outputs(windows)
    assert got.ordinary is not None
    wanted = load_model(source).model(windows, training=False)
    np.testing.assert_allclose(got.probabilities, wanted["probabilities"], atol=1e-5)
    np.testing.assert_allclose(got.ordinary, wanted["ordinary"], atol=1e-5)
    page = card_as_page(export.card, 1, 1)
    assert "- Everyday prior: neutral x 8, sad x 0.5, ordinary talk (which is neutral) x 2" in page
    assert "- Pretrained encoder: whisper-tiny.en, MIT, SHA-256 000" in page


def test_keras_and_onnx_hear_the_same(source: Path, export: Export) -> None:
    models = KerasClassifier(source), OnnxClassifier.load(export.path)
    for prior in (None, "even", {"happy": 3.0, "ordinary": 1.0}):
        heard = [offline(model, VOICE, prior=prior) for model in models]  # type: ignore[arg-type]
        for one, other in zip(*heard, strict=True):
            assert (one.state, one.label) == (other.state, other.label)
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert offline(models[1], VOICE) != offline(models[1], VOICE, prior="even")


def test_a_difference_in_the_second_output_is_seen(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(model: keras.Model, path: Path, outputs: Sequence[str]) -> onnx.ModelProto:
        graph = convert(model, path, outputs)
        (node,) = [n for n in graph.graph.node if n.op_type == "Sigmoid"]
        node.op_type = "HardSigmoid"
        return graph

    monkeypatch.setattr("ser_export.exporting.convert", other)
    with pytest.raises(SerError, match="differs from the Keras model"):
        export_model(source, tmp_path / "other.onnx", [], ignore)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_the_card_does_not_want_is_left_out(tmp_path: Path) -> None:
    card = dataclasses.replace(CARD, ordinary_odds=0.0)
    source = save(tmp_path / "acted.keras", network(), card)
    export = export_model(source, tmp_path / "acted.onnx", [], ignore)
    assert [output.name for output in onnx.load(export.path).graph.output] == ["probabilities"]
    assert verification.run_all(
        OnnxClassifier.load(export.path)._session, np.ones((2, 9, 257), np.float32)
    ).shape == (2, 4)


def test_a_model_that_lacks_the_output_is_refused(tmp_path: Path) -> None:
    single = save(tmp_path / "single.keras", tiny_network.build(4, 257))
    with pytest.raises(SerError, match="has ordinary_odds 2, which wants an output 'ordinary'"):
        load_model(single)
    model = tiny_network.build(4, 257)
    other = keras.layers.Dense(1, name="other")(model.get_layer("logits").output)
    named = keras.Model(model.input, {"probabilities": model.output, "ordinary": other})
    with pytest.raises(SerError, match="its axes are"):
        load_model(save(tmp_path / "named.keras", named))


def test_an_ensemble_of_such_models_is_refused_in_words(source: Path, tmp_path: Path) -> None:
    with pytest.raises(SerError, match=r"both\.keras: has the output 'ordinary', which an"):
        merge([source, source], tmp_path / "all.keras", None)
    # Without a card that wants it, the members' emotions are joined.
    assert combine([network(), network()], "frontend").output_shape == (None, 4)


def test_an_adapted_model_keeps_what_of_the_prior_its_labels_allow(source: Path) -> None:
    model = load_model(source).model
    adapted = with_labels(model, LABELS, ("neutral", "bored"))
    batch = np.random.default_rng(0).random((2, 40, 257), np.float32)
    before, after = (m(batch, training=False) for m in (model, adapted))
    np.testing.assert_array_equal(before["ordinary"], after["ordinary"])
    assert after["probabilities"].shape == (2, 2)
    calibrated = Calibrated(Calibration(), SmoothingSpec())
    card = adapted_card(CARD, "mark", [], ("neutral", "bored"), calibrated, ())
    assert (card.prior, card.ordinary_odds, card.encoder) == ({"neutral": 8.0}, 2.0, CARD.encoder)
    card = adapted_card(CARD, "mark", [], ("sad", "bored"), calibrated, ())
    assert (card.prior, card.ordinary_odds) == ({"sad": 0.5}, 0.0)
