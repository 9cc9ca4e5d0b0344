"""Loading a model file: what does not fit its card is refused by name."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from ser_live import SerError
from ser_live.card import SpectrumSpec
from ser_live.catalog import find_model, model_files
from ser_live.classifier import OnnxClassifier, encode_golden
from ser_live.onnx_session import open_session
from ser_live.spectrum import PowerSpectrum
from tiny_models import speech_like, tiny_card, tiny_graph, with_golden, write_graph, write_model


def test_a_model_loads_and_answers(tmp_path: Path) -> None:
    classifier = OnnxClassifier.load(write_model(tmp_path / "tiny.onnx"))
    window = PowerSpectrum(classifier.card.spectrum).process(speech_like(1.0))
    probabilities = classifier.probabilities(window)
    assert probabilities.shape == (4,)
    assert probabilities.dtype == np.float32
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-6)
    assert "tiny" in repr(classifier)


def test_nan_from_the_network_is_an_error(tmp_path: Path) -> None:
    classifier = OnnxClassifier.load(write_model(tmp_path / "tiny.onnx"))
    with pytest.raises(SerError, match="wanted finite probabilities"):
        classifier.probabilities(np.full((50, 257), np.nan, np.float32))


def test_files_that_are_no_model(tmp_path: Path) -> None:
    whole = write_model(tmp_path / "whole.onnx").read_bytes()
    for name, content in {
        "empty": b"",
        "text": b"hello",
        "truncated": whole[: len(whole) // 2],
        "zeros": bytes(1000),
    }.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(SerError, match=f"{name}.onnx: ") as caught:
            OnnxClassifier.load(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(SerError, match="cannot read the model"):
        OnnxClassifier.load(tmp_path / "missing.onnx")
    with pytest.raises(SerError, match="cannot read the model"):
        OnnxClassifier.load(tmp_path)


def test_cards_that_do_not_fit(tmp_path: Path) -> None:
    card = tiny_card()
    graph = tiny_graph(card)
    fitting = with_golden(card, graph)
    assert fitting.golden is not None
    off = tuple(np.roll(fitting.golden.probabilities, 1).tolist())
    golden = fitting.golden
    cases = {
        "no model card": None,
        "no valid JSON": "{",
        "no golden test": card.to_json(),
        "golden test is off by": dataclasses.replace(
            fitting, golden=dataclasses.replace(golden, probabilities=off)
        ).to_json(),
        "input is damaged": dataclasses.replace(
            fitting, golden=dataclasses.replace(golden, spectrum="!!")
        ).to_json(),
        "bytes long": dataclasses.replace(
            fitting, golden=dataclasses.replace(golden, frames=golden.frames + 1)
        ).to_json(),
        r"the card wants \['batch', 'frames', 1025\]": dataclasses.replace(
            fitting, spectrum=SpectrumSpec(fft_samples=2048)
        ).to_json(),
        "with 5 labels": dataclasses.replace(
            fitting,
            labels=(*card.labels, "bored"),
            golden=dataclasses.replace(golden, probabilities=(*golden.probabilities, 0.0)),
        ).to_json(),
    }
    for number, (message, text) in enumerate(cases.items()):
        path = write_graph(tmp_path / f"{number}.onnx", tiny_graph(card), text)
        with pytest.raises(SerError, match=message):
            OnnxClassifier.load(path)


def test_a_golden_input_cannot_unpack_without_bound(tmp_path: Path) -> None:
    card = tiny_card()
    fitting = with_golden(card, tiny_graph(card))
    assert fitting.golden is not None
    bomb = encode_golden(np.zeros((40000, 257), np.float16))
    damaged = dataclasses.replace(
        fitting, golden=dataclasses.replace(fitting.golden, spectrum=bomb)
    )
    path = write_graph(tmp_path / "bomb.onnx", tiny_graph(card), damaged.to_json())
    with pytest.raises(SerError, match="bytes long"):
        OnnxClassifier.load(path)


def test_external_data_is_refused(tmp_path: Path) -> None:
    card = tiny_card()
    graph = tiny_graph(card)
    path = write_graph(tmp_path / "inside.onnx", graph, with_golden(card, graph).to_json())
    onnx.save_model(
        onnx.load(path), tmp_path / "outside.onnx", save_as_external_data=True,
        location="weights.bin", size_threshold=0,
    )  # fmt: skip
    assert (tmp_path / "weights.bin").exists()
    with pytest.raises(SerError, match=r"outside\.onnx"):
        OnnxClassifier.load(tmp_path / "outside.onnx")


def test_an_idle_session_does_not_spin(tmp_path: Path) -> None:
    session = open_session(write_model(tmp_path / "tiny.onnx").read_bytes(), "tiny")
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    for pool in ("intra", "inter"):
        assert options.get_session_config_entry(f"session.{pool}_op.allow_spinning") == "0"


def test_names_become_files(tmp_path: Path) -> None:
    path = write_model(tmp_path / "mine.onnx")
    assert find_model(path) == path
    assert find_model(str(path)) == path
    for file in model_files():
        assert find_model(file.stem) == file
    with pytest.raises(SerError, match="no model 'nothing'"):
        find_model("nothing")
