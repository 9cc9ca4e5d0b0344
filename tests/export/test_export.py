import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile

from helpers import tiny_network
from helpers.in_process import call, error_of
from helpers.notes import ignore
from ser_export import verification
from ser_export.cli import main
from ser_export.exporting import Export, export_model
from ser_live.errors import SerError
from ser_live.model.card import METADATA_KEY, ModelCard, SpectrumSpec
from ser_live.model.classifier import OnnxClassifier, decode_golden
from ser_train.layers import LogMel
from ser_train.models.conversion import convert, count_emulated_dilations
from ser_train.models.keras_file import save_model
from ser_train.models.training_record import RECORD_KEY, TrainingRecord

pytestmark = pytest.mark.integration

CARD = ModelCard(
    name="tiny",
    labels=("calm", "angry", "sad"),
    licence="CC0-1.0",
    spectrum=SpectrumSpec(fft_samples=512, hop_samples=160),
)
BINS = CARD.spectrum.bins


class Stranger(keras.layers.Layer):  # type: ignore[misc]
    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return x + 1.0


@functools.cache
def tiny_model(bins: int = BINS, strange: bool = False) -> keras.Model:
    keras.utils.set_random_seed(0)
    spectrum = keras.Input((None, bins), name="spectrum")
    x = keras.layers.Permute((2, 3, 1))(LogMel(mels=20, name="frontend")(spectrum))
    x = keras.layers.Conv2D(2, (5, 1), padding="same")(x)
    x = keras.layers.GlobalAveragePooling2D()(Stranger()(x) if strange else x)
    return tiny_network.ending_in_labels(spectrum, x, len(CARD.labels))


def save(path: Path, model: keras.Model, card: ModelCard = CARD) -> Path:
    save_model(path, model, card, TrainingRecord((), (), (), 0))
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("export") / "tiny.keras", tiny_model())


@pytest.fixture(scope="module")
def export(source: Path) -> Export:
    audio = source.with_name("noise.wav")
    soundfile.write(audio, np.random.default_rng(0).normal(0, 0.1, 30000), 8000)
    return export_model(source, source.with_suffix(".onnx"), [audio], ignore)


def test_card_comes_through_with_a_golden_test(export: Export) -> None:
    classifier = OnnxClassifier.load(export.path)
    card = classifier.card
    assert dataclasses.replace(card, golden=None) == CARD
    assert card.golden is not None
    power = decode_golden(card.golden, BINS, "tiny")
    assert card.golden.frames == CARD.spectrum.frames_in(8000)
    assert np.isfinite(power).all()
    assert power.max() > 0
    got = classifier.probabilities(power)  # of the rounded spectrum
    np.testing.assert_array_equal(got, np.array(card.golden.probabilities, np.float32))


def test_axes_are_named_and_dynamic_and_give_what_keras_gives(export: Export) -> None:
    session = onnxruntime.InferenceSession(export.path)
    assert session.get_inputs()[0].shape == ["batch", "frames", BINS]
    assert session.get_outputs()[0].shape == ["batch", len(CARD.labels)]
    for batch, frames in ((1, 1), (3, 40), (2, 301)):
        power = np.random.default_rng(0).random((batch, frames, BINS), np.float32)
        got = session.run(["probabilities"], {"spectrum": power})[0]
        np.testing.assert_allclose(got, np.asarray(tiny_model()(power)), atol=1e-5, rtol=0)


def test_is_one_valid_file(export: Export) -> None:
    graph = onnx.load(export.path)
    onnx.checker.check_model(graph)
    assert {p.key for p in graph.metadata_props} == {METADATA_KEY, RECORD_KEY}
    assert not any(i.data_location == onnx.TensorProto.EXTERNAL for i in graph.graph.initializer)
    assert [p.name for p in export.path.parent.glob("*.onnx*")] == ["tiny.onnx"]


def test_report_counts(export: Export) -> None:
    assert export.bytes == export.path.stat().st_size
    assert export.parameters == tiny_model().count_params()
    assert export.emulated_dilations == 0
    assert export.verification.windows == 6 * sum(verification.BATCHES)
    assert export.verification.worst_difference <= verification.TOLERANCE
    assert export.batch_is_bitwise
    assert "worst difference from Keras" in export.summary()


def test_failed_verification_leaves_the_old_file(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "TOLERANCE", -1.0)
    target = tmp_path / "tiny.onnx"
    target.write_bytes(b"old")
    with pytest.raises(SerError, match="differs from the Keras model"):
        export_model(source, target, [], ignore)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_loud_short_and_silent_audio_make_a_golden_test() -> None:
    samples = np.random.default_rng(0).normal(0, 100, 16000).astype(np.float32)
    assert 5e4 < verification.golden_spectrum(samples, CARD).max() < 65504
    for size in (100, 5000, 16000):
        assert np.isfinite(verification.golden_spectrum(np.zeros(size, np.float32), CARD)).all()


def dilated_model(padding: str) -> keras.Model:
    spectrum = keras.Input((None, BINS), name="spectrum")
    x = keras.layers.Conv1D(2, 3, dilation_rate=2, padding=padding)(spectrum)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(spectrum, keras.layers.Softmax(name="probabilities")(x))


def test_emulated_dilations_are_seen() -> None:
    seen = [count_emulated_dilations(convert(dilated_model(p), Path())) for p in ("valid", "same")]
    assert seen[0] == 0 < seen[1]


def refuse(source: Path, target: Path, *audio: Path) -> str:
    with pytest.raises(SerError) as caught:
        export_model(source, target, audio, ignore)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_names_what_is_wrong_with_the_source(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny.onnx"
    strange = save(tmp_path / "strange.keras", tiny_model(strange=True))
    assert "holds the layer 'Stranger'" in refuse(strange, target)
    wide = save(tmp_path / "wide.keras", tiny_model(bins=1025))
    assert "1025" in refuse(wide, target)
    two = dataclasses.replace(CARD, labels=("calm", "angry"))
    two_labels = save(tmp_path / "two.keras", tiny_model(), two)
    assert "its card wants ((None, None, 257), (None, 2))" in refuse(two_labels, target)
    whole = tiny_model()
    logits = keras.Model(whole.input, whole.get_layer("logits").output)
    assert "to 'logits', wanted" in refuse(save(tmp_path / "logits.keras", logits), target)
    assert not target.exists()


def test_names_what_is_wrong_with_the_target(source: Path, tmp_path: Path) -> None:
    assert "does not exist" in refuse(source, tmp_path / "nowhere" / "tiny.onnx")
    assert "ends in .onnx" in refuse(source, tmp_path / "tiny.bin")
    (tmp_path / "folder.onnx").mkdir()
    assert "ends in .onnx" in refuse(source, tmp_path / "folder.onnx")
    if os.geteuid():  # root may write anywhere
        tmp_path.chmod(0o500)
        assert "not writable" in refuse(source, tmp_path / "tiny.onnx")


def test_names_what_is_wrong_with_the_audio(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny.onnx"
    assert "cannot read it" in refuse(source, target, tmp_path / "missing.wav")
    soundfile.write(tmp_path / "short.wav", np.zeros(10), 16000)
    assert "wanted at least 0.3 s" in refuse(source, target, tmp_path / "short.wav")


def test_command_writes_a_model_and_a_page(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny.onnx"
    done = call(source, "-o", target, "--page", main=main)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{target}: tiny, calm, angry, sad\n")
    assert all(line.startswith("ser-export: ") for line in done.stderr.splitlines())
    card = OnnxClassifier.load(target).card
    page = target.with_suffix(".md").read_text(encoding="utf-8")
    for words in (f"# {card.name}", card.licence, *card.labels, "## Limits", "Protocol"):
        assert words in page


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--quantize"], "give --corpus PATH"),
        (["--card", "no.json"], "no.json: no model card can be read"),
        (["--corpus", "x"], "belong to --quantize"),
        (["--max-drop", "2"], "belong to --quantize"),
        *((["--max-drop", points], "--max-drop: ") for points in ("-1", "101", "nan", "much")),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    source: Path, arguments: list[str], reason: str
) -> None:
    done = call(source, "-o", "x.onnx", *arguments, main=main)
    assert reason in error_of(done, "ser-export")


def test_command_says_that_the_extra_is_missing(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ser_export.exporting", None)  # as without TensorFlow
    done = call(source, "-o", "x.onnx", main=main)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'ser-live[train]'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("word", "code", "said"), [("--help", 0, "MODEL.onnx"), ("missing.keras", 2, "no such file")]
)
def test_help_and_a_missing_model_need_no_tensorflow(
    environment: dict[str, str], word: str, code: int, said: str
) -> None:
    script = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None; "
        f"from ser_export.cli import main; sys.exit(main([{word!r}, '-o', 'x.onnx']))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == code
    assert said in (done.stdout or done.stderr).decode()
