"""Makers of tiny model files and of sounds for the tests."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ser_live.card import METADATA_KEY, GoldenTest, ModelCard
from ser_live.classifier import encode_golden
from ser_live.spectrum import PowerSpectrum

LABELS = ("neutral", "happy", "sad", "angry")


def tiny_card(**changes: object) -> ModelCard:
    card = ModelCard(name="tiny", labels=LABELS, licence="CC0-1.0", network="tiny")
    return dataclasses.replace(card, **changes)  # type: ignore[arg-type]


def tiny_graph(card: ModelCard, seed: int = 0) -> onnx.ModelProto:
    """A linear classifier of the mean log spectrum, indifferent to gain."""
    bins, labels = card.spectrum.bins, len(card.labels)
    weights = np.random.default_rng(seed).normal(size=(bins, labels)).astype(np.float32) / 4
    weights -= weights.mean(axis=0)
    nodes = [
        helper.make_node("Transpose", ["spectrum"], ["bands"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["bands", "last"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "floor"], ["floored"]),
        helper.make_node("Log", ["floored"], ["log"]),
        helper.make_node("MatMul", ["log", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("spectrum", TensorProto.FLOAT, ["batch", "frames", bins])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", labels])],
        [
            numpy_helper.from_array(np.array([2], np.int64), "last"),
            numpy_helper.from_array(np.array(1e-20, np.float32), "floor"),
            numpy_helper.from_array(weights, "weights"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def with_golden(card: ModelCard, graph: onnx.ModelProto) -> ModelCard:
    samples = speech_like(0.5)
    spectrum = PowerSpectrum(card.spectrum).process(samples).astype(np.float16)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    batch = spectrum.astype(np.float32)[np.newaxis]
    probabilities = session.run(["probabilities"], {"spectrum": batch})[0][0]
    golden = GoldenTest(encode_golden(spectrum), len(spectrum), tuple(probabilities.tolist()))
    return dataclasses.replace(card, golden=golden)


def write_model(path: Path, card: ModelCard | None = None, seed: int = 0) -> Path:
    """Write a tiny model with its card and golden test."""
    card = tiny_card() if card is None else card
    graph = tiny_graph(card, seed)
    return write_graph(path, graph, with_golden(card, graph).to_json())


def write_graph(path: Path, graph: onnx.ModelProto, card_json: str | None) -> Path:
    if card_json is not None:
        helper.set_model_props(graph, {METADATA_KEY: card_json})
    path.write_bytes(graph.SerializeToString())
    return path


def speech_like(seconds: float, rate: int = 16000, seed: int = 0) -> NDArray[np.float32]:
    """Harmonics of a gliding pitch under a moving formant: not speech, but as busy."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 40 * np.sin(2 * np.pi * 0.7 * time + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formant = 900 + 500 * np.sin(2 * np.pi * 3.1 * time)
    voice = sum(
        np.exp(-(((k * pitch - formant) / 600) ** 2)) * np.sin(k * phase) for k in range(1, 20)
    )
    envelope = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * time)
    quiet = 0.001 * rng.normal(size=time.size)
    samples: NDArray[np.float32] = (0.2 * envelope * voice + quiet).astype(np.float32)
    return samples
