"""The model card survives JSON, and whatever does not fit is named."""

import json

import pytest

from fuzz import cards
from ser_live import ModelCard, SerError
from ser_live.model.card import SpectrumSpec
from ser_live.testing import tiny_card

FULL, *_ = cards.seeds()


def test_defaults_may_be_left_out() -> None:
    text = '{"name": "m", "labels": ["a", "b"], "licence": "MIT"}'
    assert ModelCard.from_json(text) == ModelCard("m", ("a", "b"), "MIT")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("labels", 3, "card.labels is 3, wanted a list"),
        ("labels", ["a", 1, "b", "c"], r"card.labels\[1\] is 1, wanted a text"),
        ("labels", ["a", "a"], r"labels are 2 names, \['a', 'a'\], wanted 2 to 100 different"),
        ("labels", [], "labels are 0 names"),
        ("labels", [str(k) for k in range(101)], "labels are 101 names"),
        ("labels", ["a", " "], r"labels\[1\] is ' ', wanted 1 to 60 characters"),
        ("labels", ["a", "b"], "golden.probabilities has 4 numbers for 2"),
        ("name", None, "card.name is None, wanted a text"),
        ("name", "", "card.name is '', wanted 1 to 60 characters"),
        ("name", "x" * 61, "wanted 1 to 60 characters"),
        ("schema_version", 3, "schema_version is 3, made for a newer ser-live; .* 1 to 2: upgrade"),
        ("schema_version", 0, "schema_version is 0, wanted 1 to 2"),
        ("prior", [8.0], "card.prior is .*, wanted an object"),
        ("prior", {"neutral": "8"}, "card.prior.neutral is '8', wanted a number"),
        ("prior", {"bored": 2.0}, "card.prior names 'bored', wanted labels of"),
        ("prior", {"\x1b[2J": 2.0}, "card.prior names "),
        ("prior", {"\x1b[2J": "2"}, r"card.prior.\?\[2J is '2', wanted a number"),
        ("prior", {"neutral": 0}, "card.prior of 'neutral' is 0.0, wanted 0.001 to 1000"),
        ("prior", {"neutral": 1e9}, "card.prior of 'neutral' is 1000000000.0, wanted"),
        ("ordinary_odds", -1, "card.ordinary_odds is -1.0, wanted 0 to 1000"),
        ("ordinary_odds", 0, "golden.ordinary is 0.5, but card.ordinary_odds is 0; export"),
        ("golden.ordinary", None, "golden.ordinary is None, but card.ordinary_odds is 2; export"),
        ("labels", ["a", "b", "c", "sad"], "card.prior names 'neutral'"),
        ("encoder", "whisper", "card.encoder is 'whisper', wanted an object"),
        ("encoder.sha256", "f" * 63, "card.encoder.sha256 is .*, wanted 64 hexadecimal digits"),
        ("encoder.name", "", "card.encoder.name is '', wanted 1 to 60 characters"),
        ("sample_rate_hz", 8000, "wanted 16000"),
        ("sample_rate_hz", True, "wanted a whole number"),
        ("sample_rate_hz", 10**400, "wanted a whole number"),
        ("surprise", 1, "unknown field 'surprise'"),
        ("spectrum", [], "wanted an object"),
        ("spectrum.fft_samples", 10**9, "spectrum.fft_samples is 1000000000, wanted 32 to 8192"),
        ("spectrum.hop_samples", 29, "spectrum.hop_samples is 29, wanted 30 to 512"),
        ("window.seconds", float("nan"), "wanted a finite number"),
        ("window.seconds", 10**400, "wanted a finite number"),
        ("window.seconds", "3", "window.seconds is '3', wanted a number"),
        ("window.seconds", float("inf"), "wanted a finite number"),
        ("window.seconds", 0.5, "window.seconds is 0.5, wanted 1 to 30"),
        ("gate.onset_of_steps", -1, "gate.onset_of_steps is -1, wanted 1 to 32"),
        ("gate.onset_steps", 5, "gate.onset_steps is 5, wanted 1 to 4"),
        ("gate.release_probability", 0.9, "release_probability"),
        ("smoothing.seconds", -1, "smoothing.seconds"),
        ("smoothing.uncertain_below", 1.5, "uncertain_below"),
        ("calibration.temperature", 0, "calibration.temperature"),
        ("golden.frames", 10**7, "golden.frames"),
        ("golden.frames", 2**60, "golden.frames is 1152921504606846976, wanted a whole number"),
        ("golden.tolerance", 0.5, "golden.tolerance"),
    ],
)
def test_what_does_not_fit_is_named(path: str, value: object, message: str) -> None:
    data = json.loads(FULL)
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


@pytest.mark.parametrize("character", ["\x1b", "\n", "\x7f", "\x9b", "\u2028", "\u202e", "\ud800"])
@pytest.mark.parametrize("field", ["name", "licence", "limits", "labels", "corpora"])
def test_what_would_confuse_a_terminal_is_refused(field: str, character: str) -> None:
    data = json.loads(FULL)
    if field == "corpora":
        data[field][0]["name"] += character
    elif field == "labels":
        data[field][1] += character
    else:
        data[field] += character
    with pytest.raises(SerError, match=rf"card\.{field}.* with the character U\+") as caught:
        ModelCard.from_json(json.dumps(data))
    assert str(caught.value).isprintable()


def test_names_of_any_language_are_welcome() -> None:
    card = tiny_card(name="Gefühl № 1", labels=("खुश", "悲しい", "غاضب", "می‌ترسد"))
    assert ModelCard.from_json(card.to_json()) == card


def test_a_card_of_the_future_is_known_before_its_fields_are() -> None:
    future = {"schema_version": 7, "odours": [1], "labels": 3}
    with pytest.raises(SerError, match=r"m: card\.schema_version is 7, made for a newer ser-live"):
        ModelCard.from_json(json.dumps(future), "m")


def test_a_card_of_schema_1_has_an_even_prior_and_is_written_as_one_of_today() -> None:
    data = json.loads(tiny_card().to_json())
    for name in ("prior", "ordinary_odds", "encoder"):
        del data[name]
    card = ModelCard.from_json(json.dumps({**data, "schema_version": 1}))
    assert card == tiny_card()
    assert (card.prior, card.ordinary_odds, card.encoder) == ({}, 0.0, None)
    assert json.loads(card.to_json())["schema_version"] == 2


def test_ordinary_talk_wants_a_label() -> None:
    with pytest.raises(SerError, match="ordinary_odds is 2, which wants the label 'neutral'"):
        tiny_card(labels=("calm", "angry"), ordinary_odds=2.0)


def test_a_field_that_comes_twice_is_named() -> None:
    text = '{"name": "m", "labels": ["a", "b"], "licence": "MIT", "name": "n"}'
    with pytest.raises(SerError, match="card has the field 'name' twice"):
        ModelCard.from_json(text)
    with pytest.raises(SerError, match="card has the field 'seconds' twice"):
        ModelCard.from_json(text[:-13] + '"window": {"seconds": 2, "seconds": 3}}')


def test_the_longest_card_still_fits() -> None:
    card = tiny_card(description="x" * 1_000_000)
    assert ModelCard.from_json(card.to_json()) == card
    with pytest.raises(SerError, match="wanted at most 1048576"):
        ModelCard.from_json(tiny_card(description="x" * 2**20).to_json())


def test_windows_of_the_finest_spectrum_fit_into_memory() -> None:
    for fft_samples in (32, 512, 8192):
        fewest = -(-480_000 * (fft_samples // 2 + 1) // 2**22)
        SpectrumSpec(fft_samples, fewest)
        with pytest.raises(SerError, match="hop_samples"):
            SpectrumSpec(fft_samples, fewest - 1)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(SerError, match="lacks the field 'licence'"):
        ModelCard.from_json('{"name": "m", "labels": ["a", "b"]}')
