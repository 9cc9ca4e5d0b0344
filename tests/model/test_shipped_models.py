"""The models in models/: size, card, demo, laws, and real speech at any gain."""

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from helpers.signals import at_random, demo_voice, run
from helpers.sounds import recognize
from ser_live import StreamRecognizer
from ser_live.model import catalog
from ser_live.model.catalog import DEFAULT_MODEL, find_model, model_files, model_folder
from ser_live.model.classifier import OnnxClassifier
from ser_live.sources import DEMO_PATH

TIMELINE = json.loads(DEMO_PATH.with_suffix(".json").read_text("utf-8"))["timeline"]
SEVEN = ("neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised")
shipped = pytest.mark.parametrize("path", model_files(), ids=lambda path: path.stem)


def test_the_default_model_is_shipped() -> None:
    shipped_names = ["emotion", "emotion-light", "ravdess8", "emodb7", "issa-ravdess"]
    assert [path.stem for path in model_files()] == shipped_names
    assert OnnxClassifier.load(find_model("emotion-light")).card.labels == StreamRecognizer().labels
    card = StreamRecognizer().card
    assert set(card.labels) == set(SEVEN)
    assert {corpus.name for corpus in card.corpora} >= {"ravdess", "emodb", "nemo"}
    assert card.metrics
    assert all(metric.speaker_independent for metric in card.metrics)


@shipped
def test_size_and_card(path: Path) -> None:
    assert path.stat().st_size <= 12 * 10**6
    assert path.with_suffix(".keras").stat().st_size <= 20 * 10**6
    card = OnnxClassifier.load(path).card
    commercial = {corpus.name for corpus in card.corpora} == {"emodb"}
    licence = "CC-BY-4.0" if commercial else "CC-BY-NC-SA-4.0"
    assert (card.name, card.licence) == (path.stem, licence)
    assert all(corpus.licence == licence for corpus in card.corpora if commercial)
    for metric in card.metrics:
        assert metric.protocol
        assert metric.count > 0
        assert metric.speaker_independent == ("speaker-dependent" not in metric.protocol)
    document = path.with_suffix(".md").read_text(encoding="utf-8")
    for words in (card.name, card.licence, "Limits", "Protocol"):
        assert words in document


def test_all_models_together_are_bounded() -> None:
    sizes = [file.stat().st_size for file in model_folder().iterdir()]
    assert sum(sizes) <= 130 * 10**6, "every version stays in the history"


def test_the_demo_is_small_and_short() -> None:
    assert DEMO_PATH.stat().st_size < 120_000
    assert 10.0 <= TIMELINE[-1]["end_seconds"] <= 20.0
    assert [part["kind"] for part in TIMELINE] == ["utterance", "pause"] * 4
    for part in TIMELINE[1::2]:
        assert part["end_seconds"] - part["start_seconds"] == pytest.approx(2.0, abs=0.001)


@shipped
def test_the_demo_shows_speech_and_silence_where_they_are(path: Path) -> None:
    # Of the other models half of it, which is their price.
    timeline = TIMELINE if path.stem == DEFAULT_MODEL else TIMELINE[:4]
    samples, rate = soundfile.read(DEMO_PATH, dtype="float32")
    samples = samples[: round(timeline[-1]["end_seconds"] * rate)]
    predictions = recognize(OnnxClassifier.load(path), samples, rate)
    for part in timeline:
        first = part["start_seconds"] + (0.8 if part["kind"] == "pause" else 1.3)
        allowed = {"silence"} if part["kind"] == "pause" else {"speech", "uncertain"}
        states = [p.state for p in predictions if first <= p.end_seconds <= part["end_seconds"]]
        assert len(states) >= 4
        assert set(states) <= allowed


@shipped
def test_any_chunking_gives_the_same_predictions(path: Path) -> None:
    model = OnnxClassifier.load(path)
    samples = demo_voice(44100, 2.5)
    recognizer = StreamRecognizer(model, sample_rate_hz=44100)
    whole = run(recognizer, iter([samples]))
    recognizer.reset()
    assert run(recognizer, at_random(1)(samples)) == whole


def real_speech(clips: int) -> list[tuple[NDArray[np.float32], int]]:
    """Clips of all corpora, chosen at random but always the same."""
    root = Path(os.environ["SER_CORPORA"])
    files: list[Path] = []
    for pattern in ("ravdess/Actor_*/*", "emodb/wav/*", "nemo/samples/*"):
        files += random.Random(0).sample(sorted(root.glob(pattern)), clips)
    return [soundfile.read(file, dtype="float32") for file in files]


@pytest.mark.integration
@pytest.mark.corpora
@pytest.mark.skipif("SER_CORPORA" not in os.environ, reason="SER_CORPORA is not set")
def test_twenty_decibels_of_gain_change_under_one_per_cent_of_real_speech() -> None:
    model = OnnxClassifier.load(next(p for p in model_files() if p.stem == DEFAULT_MODEL))
    total, changed, spoken = 0, 0, 0
    for samples, rate in real_speech(8):
        plain = words_of(model, samples, rate)
        total += 2 * len(plain)
        spoken += sum(label is not None for _, label in plain)
        for gain in (0.1, 10.0):
            other = words_of(model, samples * np.float32(gain), rate)
            changed += sum(a != b for a, b in zip(plain, other, strict=True))
    print(f"{changed} of {total} (state, label) pairs changed; {spoken} with an emotion")
    assert spoken >= 50
    assert changed < 0.01 * total


def words_of(
    model: OnnxClassifier, samples: NDArray[np.float32], rate: int
) -> list[tuple[str, str | None]]:
    return [(p.state, p.label) for p in recognize(model, samples, rate)]


def test_models_are_listed_in_the_order_of_their_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ["emotion", "emotion-light", "ravdess8", "emodb7", "issa-ravdess", "another"]
    for name in wanted:
        (tmp_path / f"{name}.onnx").touch()
    monkeypatch.setattr(catalog, "model_folder", lambda: tmp_path)
    assert [path.stem for path in model_files()] == wanted
