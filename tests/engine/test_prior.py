"""The everyday prior: even odds change no bit, others follow the formula, streams stay streams."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.signals import at_random, demo_voice, fixed, run
from helpers.streams import offline
from ser_live import Prediction, SerError, StreamRecognizer
from ser_live.model.classifier import OnnxClassifier, WindowRequest, classify
from ser_live.model.prior import Outputs, Prior, join_prior
from ser_live.server.engine import Engine
from ser_live.testing import tiny_card, write_tiny_model
from ser_live.testing.models import tiny_graph, with_golden, write_graph

LABELS = ("neutral", "happy", "sad", "angry")
VOICE = demo_voice(16000, 6.0)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> OnnxClassifier:
    """The tiny model as it is without a prior and an output for ordinary talk."""
    return OnnxClassifier.load(write_tiny_model(tmp_path_factory.mktemp("twin") / "twin.onnx"))


def raw(predictions: list[Prediction]) -> NDArray[np.float64]:
    rows = [p.raw_probabilities for p in predictions if p.raw_probabilities is not None]
    assert len(rows) >= 10
    return np.array([[*row.values()] for row in rows])


def test_even_odds_give_the_networks_own_bits(
    everyday: OnnxClassifier, twin: OnnxClassifier
) -> None:
    wanted = offline(twin, VOICE)
    assert offline(everyday, VOICE) != wanted
    for even in ("even", {}, {"ordinary": 0}, dict.fromkeys(LABELS, 1)):
        assert offline(everyday, VOICE, prior=even) == wanted
    assert StreamRecognizer(everyday, prior="even").prior == {}


@pytest.mark.parametrize(
    "choice",
    [
        None,
        "everyday",
        {"neutral": 8.0, "sad": 0.5, "ordinary": 2.0},
        {"neutral": 8.0},
        {"ordinary": 1000.0},
        {"angry": 0.001, "happy": 3, "ordinary": 0.25},
    ],
    ids=str,
)
def test_raw_probabilities_are_joined_by_the_formula(
    everyday: OnnxClassifier, twin: OnnxClassifier, choice: Any
) -> None:
    network = raw(offline(twin, VOICE))
    # As the graph of the tiny model computes it.
    ordinary = 1.0 / (1.0 + np.exp(4.0 * (network[:, 1] - network[:, 0])))[:, np.newaxis]
    told = {**everyday.card.prior, "ordinary": everyday.card.ordinary_odds}
    told = dict(choice) if isinstance(choice, dict) else told
    odds = told.pop("ordinary", 0.0)
    shares = network * [told.get(label, 1.0) for label in LABELS]
    shares /= shares.sum(axis=1, keepdims=True)
    weight = odds * ordinary / (odds * ordinary + 1.0 - ordinary)
    wanted = (1.0 - weight) * shares + weight * [1.0, 0.0, 0.0, 0.0]
    got = offline(everyday, VOICE, prior=choice)
    np.testing.assert_allclose(raw(got), wanted, atol=1e-6)
    for prediction in got:
        if prediction.probabilities is not None:
            assert sum(prediction.probabilities.values()) == pytest.approx(1.0, abs=1e-12)


def test_any_chunking_and_any_company_give_the_same_predictions(everyday: OnnxClassifier) -> None:
    choices: list[Any] = [None, "even", {"happy": 5.0, "ordinary": 0.5}]
    wanted = [offline(everyday, VOICE, prior=choice) for choice in choices]
    for choice, whole in zip(choices, wanted, strict=True):
        recognizer = StreamRecognizer(everyday, prior=choice)
        for cut in (at_random(1), at_random(2)):
            assert run(recognizer, cut(VOICE)) == whole
            recognizer.reset()
    recognizers = [StreamRecognizer(everyday, prior=choice) for choice in choices]
    with Engine() as engine:
        futures = [[engine.process(r, block) for block in np.split(VOICE, 12)] for r in recognizers]
        ends = [engine.flush(r) for r in recognizers]
        got = [
            [p for future in (*own, end) for p in future.result(60.0)]
            for own, end in zip(futures, ends, strict=True)
        ]
    assert got == wanted


def test_windows_of_one_run_have_their_own_outputs(
    everyday: OnnxClassifier, twin: OnnxClassifier
) -> None:
    random = np.random.default_rng(0)
    windows = random.exponential(size=(3, 40, 257)).astype(np.float32)
    for model in (everyday, twin):
        together = classify([WindowRequest(model, window) for window in windows])
        for window, outputs in zip(windows, together, strict=True):
            (alone,) = classify([WindowRequest(model, window)])
            np.testing.assert_allclose(outputs.probabilities, alone.probabilities, atol=1e-6)
            assert (alone.ordinary is None) == (model is twin)
            if alone.ordinary is not None and outputs.ordinary is not None:
                np.testing.assert_allclose(outputs.ordinary, alone.ordinary, atol=1e-6)
                assert alone.ordinary.shape == (1,)


@pytest.mark.parametrize("width", [2, 7, 8, 9, 33])
def test_a_row_of_a_batch_has_the_bits_that_it_has_alone(width: int) -> None:
    random = np.random.default_rng(width)
    labels = ("neutral", *(str(number) for number in range(width - 1)))
    shares = random.dirichlet(np.ones(width), 50).astype(np.float32)
    ordinary = random.random((50, 1), np.float32)
    prior = Prior(
        {
            label: float(odds)
            for label, odds in zip(labels, random.random(width) + 0.1, strict=True)
        },
        3.0,
    )
    kept = shares.copy()
    batch = join_prior(Outputs(shares, ordinary), labels, prior)
    assert batch.dtype == np.float32
    for row, share, one in zip(batch, shares, ordinary, strict=True):
        np.testing.assert_array_equal(join_prior(Outputs(share, one), labels, prior), row)
    np.testing.assert_array_equal(shares, kept)
    np.testing.assert_allclose(batch.sum(axis=1), 1.0, atol=1e-6)
    assert join_prior(Outputs(shares, ordinary), labels, Prior()) is shares


@pytest.mark.parametrize("odds", [1000.0, 1e-50])
@pytest.mark.parametrize("ordinary", [0.0, 1.0, 1e-45])
def test_a_network_that_is_sure_of_what_is_ordinary(ordinary: float, odds: float) -> None:
    outputs = Outputs(np.full((1, 4), 0.25, np.float32), np.array([[ordinary]], np.float32))
    joined = join_prior(outputs, LABELS, Prior({}, odds))
    wanted = [1.0, 0.0, 0.0, 0.0] if ordinary == 1.0 else [0.25] * 4
    np.testing.assert_allclose(joined, [wanted], atol=1e-6)


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "a word": ({"prior": "often"}, "prior is 'often', wanted 'everyday', 'even' or {label: odds}"),
    "a number": ({"prior": 8}, "prior is 8, wanted"),
    "an array": ({"prior": np.ones(4)}, "prior is array"),
    "a stranger": (
        {"prior": {"bored": 2.0}},
        f"prior names 'bored', wanted labels of {', '.join(LABELS)}, ordinary",
    ),
    "numpy's": (
        {"prior": {"sad": np.float32(2)}},
        "prior of 'sad' is np.float32(2.0), wanted a plain number, 0.001 to 1000",
    ),
    "nothing": ({"prior": {"sad": 0.0}}, "prior of 'sad' is 0.0, wanted 0.001 to 1000"),
    "a negative": ({"prior": {"sad": -1}}, "prior of 'sad' is -1, wanted"),
    "no number": ({"prior": {"sad": float("nan")}}, "prior of 'sad' is nan, wanted"),
    "too much": ({"prior": {"sad": 1001}}, "prior of 'sad' is 1001, wanted"),
    "a text": ({"prior": {"sad": "2"}}, "prior of 'sad' is '2', wanted"),
    "truth": ({"prior": {"sad": True}}, "prior of 'sad' is True, wanted"),
    "ordinary": ({"prior": {"ordinary": -1}}, "prior of 'ordinary' is -1, wanted 0 to 1000"),
    "sure of all": ({"uncertain_below": -0.1}, "uncertain_below is -0.1, wanted 0 to 1"),
    "sure of none": ({"uncertain_below": 1.1}, "uncertain_below is 1.1, wanted"),
    "unsure": ({"uncertain_below": "0.5"}, "uncertain_below is '0.5', wanted"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options_say_what_is_wanted(everyday: OnnxClassifier, case: str) -> None:
    options, message = WRONG[case]
    with pytest.raises(SerError) as caught:
        StreamRecognizer(everyday, **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_ordinary_is_a_label_like_others_where_no_output_has_that_name(tmp_path: Path) -> None:
    with pytest.raises(SerError, match="prior names 'ordinary'"):
        StreamRecognizer(write_tiny_model(tmp_path / "a.onnx"), prior={"ordinary": 2.0})
    labels = ("ordinary", "odd")
    path = write_tiny_model(tmp_path / "b.onnx", tiny_card(labels=labels))
    assert StreamRecognizer(path, prior={"ordinary": 2.0}).prior == {"ordinary": 2.0}


def test_a_swap_keeps_the_callers_choice(
    everyday: OnnxClassifier, twin: OnnxClassifier, tmp_path: Path
) -> None:
    card = tiny_card(labels=("neutral", "bored"), prior={"bored": 3.0})
    other = write_tiny_model(tmp_path / "other.onnx", card)
    recognizer = StreamRecognizer(everyday)
    assert recognizer.prior == {"neutral": 8.0, "sad": 0.5, "ordinary": 2.0}
    recognizer.swap(other)
    assert recognizer.prior == {"bored": 3.0}
    recognizer.swap(twin)
    assert recognizer.prior == {}
    even = StreamRecognizer(everyday, prior="even", uncertain_below=1.0)
    even.swap(other)
    assert even.prior == {}
    named = [p for p in even.process(VOICE) if p.label]
    assert {p.state for p in named if p.confidence < 1.0} == {"uncertain"}

    choice = {"sad": 4.0}
    own = StreamRecognizer(everyday, prior=choice)
    choice["sad"] = 100.0  # the caller's dict is the caller's
    first = own.process(VOICE[:48000])
    with pytest.raises(SerError, match="prior names 'sad', wanted labels of"):
        own.swap(other)
    assert own.classifier is everyday
    assert own.prior == {"sad": 4.0}
    rest = own.process(VOICE[48000:]) + own.flush()
    assert first + rest == offline(everyday, VOICE, prior={"sad": 4.0})
    own.reset()
    own.swap(twin)
    assert run(own, fixed(16000)(VOICE)) == offline(twin, VOICE, prior={"sad": 4.0})


def test_the_threshold_is_the_callers(twin: OnnxClassifier) -> None:
    wanted = offline(twin, VOICE)
    for below in (0.0, 0.3, 1.0):
        got = offline(twin, VOICE, uncertain_below=below)
        assert [p.probabilities for p in got] == [p.probabilities for p in wanted]
        states = [p.state for p in got if p.label]
        sure = [p.confidence >= below for p in got if p.label]
        assert states == ["speech" if one else "uncertain" for one in sure]


def test_an_output_for_ordinary_talk_is_checked(everyday: OnnxClassifier, tmp_path: Path) -> None:
    card = everyday.card
    without = write_graph(tmp_path / "without.onnx", tiny_graph(tiny_card()), card.to_json())
    with pytest.raises(SerError, match=r"the card wants 'ordinary' of floats .* \['batch', 1\]"):
        OnnxClassifier.load(without)
    for find, put, message in (
        ("Sigmoid", "Identity", "the network's output 'ordinary' is .* wanted one number from 0"),
        ("Sigmoid", "HardSigmoid", r"the golden test is off by 0\.0"),
    ):
        graph = tiny_graph(card)
        node = graph.graph.node[-1]
        assert node.op_type == find
        node.op_type = put
        path = write_graph(tmp_path / "other.onnx", graph, card.to_json())
        with pytest.raises(SerError, match=message):
            OnnxClassifier.load(path)
    # A second output that the card does not know is left alone, as ever.
    plain = with_golden(tiny_card(), tiny_graph(tiny_card()))
    stray = write_graph(tmp_path / "stray.onnx", tiny_graph(card), plain.to_json())
    assert offline(OnnxClassifier.load(stray), VOICE) == offline(everyday, VOICE, prior="even")
