"""The model card survives JSON, and whatever does not fit is named."""

import json

import pytest

from ser_live import ModelCard, SerError
from ser_live.card import Corpus, GoldenTest, Metric
from tiny_models import tiny_card

FULL = tiny_card(
    corpora=(Corpus("A", 10, 2, "CC-BY-4.0"),),
    metrics=(Metric("UAR", 0.6, "leave one speaker out", True, 10, 0.02, "speakers"),),
    golden=GoldenTest("AAAA", 3, (0.1, 0.2, 0.3, 0.4)),
)


def test_round_trip() -> None:
    assert ModelCard.from_json(FULL.to_json()) == FULL
    assert ModelCard.from_json(tiny_card().to_json()) == tiny_card()


def test_defaults_may_be_left_out() -> None:
    text = '{"name": "m", "labels": ["a", "b"], "licence": "MIT"}'
    assert ModelCard.from_json(text) == ModelCard("m", ("a", "b"), "MIT")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("labels", 3, "card.labels is 3, wanted a list"),
        ("labels", ["a", 1, "b", "c"], r"card.labels\[1\] is 1, wanted str"),
        ("labels", ["a", "a"], "different names"),
        ("labels", [], "two or more"),
        ("labels", ["a", "b"], "golden.probabilities has 4 numbers for 2"),
        ("name", None, "card.name is None, wanted str"),
        ("name", "", "name is empty"),
        ("schema_version", 2, "schema_version is 2"),
        ("sample_rate_hz", 8000, "wanted 16000"),
        ("sample_rate_hz", True, "wanted int"),
        ("surprise", 1, "unknown field 'surprise'"),
        ("spectrum", [], "wanted an object"),
        ("spectrum.fft_samples", 10**9, "spectrum.fft_samples is 1000000000, wanted 32 to 8192"),
        ("spectrum.hop_samples", 0, "spectrum.hop_samples is 0"),
        ("window.seconds", float("nan"), "wanted float"),
        ("window.seconds", float("inf"), "wanted float"),
        ("window.seconds", 0.5, "window.seconds is 0.5, wanted 1.0 to 30.0"),
        ("gate.onset_steps", 5, "gate.onset_steps is 5, wanted 1 to 4"),
        ("gate.release_probability", 0.9, "release_probability"),
        ("smoothing.seconds", -1, "smoothing.seconds"),
        ("smoothing.uncertain_below", 1.5, "uncertain_below"),
        ("calibration.temperature", 0, "calibration.temperature"),
        ("golden.frames", 10**7, "golden.frames"),
        ("golden.tolerance", 0.5, "golden.tolerance"),
    ],
)
def test_what_does_not_fit_is_named(path: str, value: object, message: str) -> None:
    data = json.loads(FULL.to_json())
    *outer, last = path.split(".")
    place = data
    for name in outer:
        place = place[name]
    place[last] = value
    with pytest.raises(SerError, match=message) as caught:
        ModelCard.from_json(json.dumps(data), "file.onnx")
    assert str(caught.value).startswith("file.onnx: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"name": 1}', "[" * 100000])
def test_what_is_no_card(text: str) -> None:
    with pytest.raises(SerError, match=r"file\.onnx: "):
        ModelCard.from_json(text, "file.onnx")


def test_a_missing_field_is_named() -> None:
    with pytest.raises(SerError, match="lacks the field 'licence'"):
        ModelCard.from_json('{"name": "m", "labels": ["a", "b"]}')
