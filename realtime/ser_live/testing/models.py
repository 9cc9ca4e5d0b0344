"""Models for tests: one of a few kilobytes, made in a moment, and one that is slow."""

import dataclasses
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ser_live.engine.spectrum import PowerSpectrum
from ser_live.errors import SerError
from ser_live.model.card import METADATA_KEY, ModelCard
from ser_live.model.classifier import (
    INPUT_NAME,
    OUTPUT_NAME,
    OnnxClassifier,
    golden_test,
    output_names,
)
from ser_live.model.onnx_session import open_session
from ser_live.model.prior import ORDINARY_NAME, Outputs
from ser_live.sources.microphone import Clock, SystemClock
from ser_live.testing.sound import speech_like

TINY_LABELS = ("neutral", "happy", "sad", "angry")
_GOLDEN_SECONDS = 0.5


def tiny_card(**changes: Any) -> ModelCard:
    """Return the card of a tiny model, with some fields changed."""
    card = ModelCard(name="tiny", labels=TINY_LABELS, licence="CC0-1.0", network="tiny")
    return dataclasses.replace(card, **changes)


def write_tiny_model(
    path: str | os.PathLike[str], card: ModelCard | None = None, seed: int = 0
) -> Path:
    """Write a model that loads and answers in no time, with its card and golden test.

    Parameters
    ----------
    path : path
        Where; ends in ``.onnx``.
    card : ModelCard or None
        Its card; None: `tiny_card`.
    seed : int
        Of its weights: models of different seeds disagree.

    Returns
    -------
    Path
        The file, for `StreamRecognizer` or `listen`.

    Raises
    ------
    SerError
        Without the ``onnx`` package.
    """
    card = tiny_card() if card is None else card
    graph = tiny_graph(card, seed)
    return write_graph(Path(path), graph, with_golden(card, graph).to_json())


def tiny_graph(card: ModelCard, seed: int = 0) -> Any:
    """Make an `onnx.ModelProto`: a linear classifier of the mean log spectrum, deaf to gain.

    Where the card has ``ordinary_odds``, it has the output "ordinary" too.
    """
    onnx = _onnx()
    bins, labels = card.spectrum.bins, len(card.labels)
    weights = np.random.default_rng(seed).normal(size=(bins, labels)).astype(np.float32) / 4
    weights -= weights.mean(axis=0)
    model = onnx.parser.parse_model(f"""
        <ir_version: 9, opset_import: ["" : 18]>
        tiny (float[batch, frames, {bins}] {INPUT_NAME}) => (float[batch, {labels}] {OUTPUT_NAME})
        <int64[1] last = {{2}}, float floor = {{1e-20}}>
        {{
            bands = Transpose <perm = [0, 2, 1]> ({INPUT_NAME})
            mean = ReduceMean <keepdims = 0> (bands, last)
            floored = Add (mean, floor)
            log = Log (floored)
            logits = MatMul (log, weights)
            {OUTPUT_NAME} = Softmax <axis = -1> (logits)
        }}""")
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "weights"))
    if card.ordinary_odds:
        # Of the first two labels: whichever of them it hears better, it is surer of.
        difference = np.array([[4.0], [-4.0]] + [[0.0]] * (labels - 2), np.float32)
        more = onnx.parser.parse_graph(f"""
            more (float[batch, {labels}] {OUTPUT_NAME}) => (float[batch, 1] {ORDINARY_NAME})
            {{
                tendency = MatMul ({OUTPUT_NAME}, difference)
                {ORDINARY_NAME} = Sigmoid (tendency)
            }}""")
        model.graph.node.extend(more.node)
        model.graph.output.extend(more.output)
        model.graph.initializer.append(onnx.numpy_helper.from_array(difference, "difference"))
    return model


def with_golden(card: ModelCard, graph: Any) -> ModelCard:
    """Return the card with a golden test of what a graph answers."""
    frames = PowerSpectrum(card.spectrum).process(speech_like(_GOLDEN_SECONDS))
    spectrum = frames.astype(np.float16)
    session = open_session(graph.SerializeToString(), card.name)
    batch = spectrum.astype(np.float32)[np.newaxis]
    outputs = Outputs(*session.run(output_names(card), {INPUT_NAME: batch}))
    golden = golden_test(spectrum, outputs)
    return dataclasses.replace(card, golden=golden)


def write_graph(path: Path, graph: Any, card_json: str | None) -> Path:
    """Write an `onnx.ModelProto` with a card, or without one."""
    if card_json is not None:
        _onnx().helper.set_model_props(graph, {METADATA_KEY: card_json})
    path.write_bytes(graph.SerializeToString())
    return path


def _onnx() -> Any:
    try:
        import onnx  # noqa: PLC0415 - only making models needs it
    except ImportError as error:
        raise SerError(
            f"a tiny model cannot be made without the onnx package ({error}); "
            "install it with 'pip install onnx'"
        ) from error
    return onnx


class SlowModel(OnnxClassifier):
    """Model whose every answer takes longer than it needs.

    Parameters
    ----------
    classifier : OnnxClassifier
        Gives the answers.
    seconds : float
        Duration of an answer; may be set at any time.
    clock : Clock or None
        It waits there: a `VirtualClock`, so that the test itself need not, or None: really.
    """

    def __init__(
        self, classifier: OnnxClassifier, seconds: float, clock: Clock | None = None
    ) -> None:
        self._clock = SystemClock() if clock is None else clock
        self._never = threading.Event()
        self.seconds = 0.0  # its golden test need not wait
        super().__init__(classifier._session, classifier.card, classifier.where)
        self.seconds = seconds

    def batch_outputs(
        self, windows: NDArray[np.float32], options: onnxruntime.RunOptions | None = None
    ) -> Outputs:
        """Run the network on windows, slowly; see `OnnxClassifier.batch_outputs`."""
        self._clock.wait(self._never, self.seconds * len(windows))
        return super().batch_outputs(windows, options)
