"""The whole way from a ``.keras`` file to a verified ONNX file."""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from ser_export.int8_products import with_int8_products
from ser_export.page import card_as_page
from ser_export.quantization import GOLDEN_TOLERANCE, Quantization, Quantized, quantized
from ser_export.verification import (
    TOLERANCE,
    Verification,
    batch_is_bitwise,
    batches,
    golden_spectrum,
    greatest_difference,
    read_speech,
    verify,
)
from ser_live.errors import SerError
from ser_live.model.card import METADATA_KEY, GoldenTest, ModelCard
from ser_live.model.classifier import (
    INPUT_NAME,
    OnnxClassifier,
    golden_test,
    output_names,
    require_axes,
)
from ser_live.model.onnx_session import open_session
from ser_live.model.prior import Outputs
from ser_live.text import sanitize
from ser_train.data.for_export import hold_out, write_atomically
from ser_train.layers import SpeechEncoder
from ser_train.models.conversion import OPSET, convert, count_emulated_dilations
from ser_train.models.keras_file import load_model
from ser_train.models.silent_stderr import silent_stderr
from ser_train.models.training_record import RECORD_KEY, TrainingRecord


@dataclass(frozen=True, slots=True)
class Export:
    """A written model file, and what was measured of it."""

    path: Path
    card: ModelCard
    bytes: int
    parameters: int
    nodes: int
    opset: int
    emulated_dilations: int
    verification: Verification
    """Of no windows where the graph is another program's: nothing is there to compare it with."""
    batch_is_bitwise: bool
    """True if a batch gives each window's own bits, in the graph that was written."""
    int8_difference: float | None = None
    """Largest difference of a probability that products in int8 make; None: there are none."""
    quantized: Quantized | None = None
    """None: the convolutions are in float32."""

    def summary(self) -> str:
        """Return some lines for people."""
        golden, checked = self.card.golden, self.verification
        lines = [
            f"{self.path}: {self.card.name}, {', '.join(self.card.labels)}",
            f"  {self.bytes} bytes, {self.parameters} parameters, {self.nodes} nodes, "
            f"opset {self.opset}",
        ]
        if checked.windows:
            worst = f"{checked.worst_difference:.1e} over {checked.windows} windows"
            lines.append(f"  worst difference from Keras {worst} (allowed: {TOLERANCE:g})")
        bitwise = "yes" if self.batch_is_bitwise else "no"
        lines.append(f"  a batch gives the bits of single windows: {bitwise}")
        lines.append(f"  nodes that emulate dilations: {self.emulated_dilations}")
        lines.append(f"  golden test: {golden.frames if golden else 0} frames")
        if self.int8_difference is not None:
            moved = f"{self.int8_difference:.1e}"
            lines.append(f"  large products in int8: worst difference from float32 {moved}")
        return "\n".join((*lines, *(self.quantized.summary(self.bytes) if self.quantized else ())))

    def write_page(self) -> None:
        """Write the card as Markdown beside the model file."""
        page = card_as_page(self.card, self.parameters, self.bytes)
        _write(self.path.with_suffix(".md"), page.encode("utf-8"))


def export_model(
    source: Path,
    target: Path,
    verify_audio: Sequence[Path],
    note: Callable[[str], None],
    quantization: Quantization | None = None,
    card: ModelCard | None = None,
) -> Export:
    """Convert, verify, add the golden test and write.

    Parameters
    ----------
    source : Path
        A ``.keras`` file, or the ``.onnx`` file of another program, which is checked only.
    target : Path
        The ``.onnx`` file; replaced in one step at the end, untouched after an error.
    verify_audio : sequence of Path
        Recordings to compare on; none: the demo voice.
    note : callable
        Takes one line on each step.
    quantization : Quantization, optional
        Left out: all stays in float32.
    card : ModelCard, optional
        Of a model of another program; left out: the one inside.

    Returns
    -------
    Export

    Raises
    ------
    SerError
        If a file cannot be read or written, the model does not fit its card, cannot be
        converted, the graph differs from the model, or quantization costs too much.
    """
    _check_target(target)
    speech = read_speech(verify_audio)
    note(f"reading {source}")
    if card and source.suffix == ".onnx":
        return _add_card(source, card, target, speech)
    with silent_stderr():
        loaded = load_model(source, card)
    model, card = loaded.model, loaded.card
    clips = hold_out(quantization.corpora, card, loaded.record) if quantization else None
    note("converting")
    graph = convert(model, source, output_names(card))
    emulated = count_emulated_dilations(graph)
    session = open_session(graph.SerializeToString(), str(source))
    note("comparing with Keras")
    checked = verify(model, session, batches(speech, card))
    smaller, lost = None, None
    # What follows an encoder runs once per window: in int8 it would save nothing but accuracy.
    encoders = [f"/{layer.name}" for layer in model.layers if isinstance(layer, SpeechEncoder)]
    if (in_int8 := with_int8_products(graph, "".join(encoders[:1]))) is not None:
        graph, before = in_int8, session
        session = open_session(graph.SerializeToString(), str(source))
        lost = greatest_difference(before, session, batches(speech, card))
    if quantization and clips:
        smaller = quantized(graph, session, card, clips, quantization.max_drop_points, note)
        graph, session, card = smaller.graph, smaller.session, smaller.card
    golden = _golden(session, card, speech)
    if smaller or in_int8:
        golden = dataclasses.replace(golden, tolerance=GOLDEN_TOLERANCE)
    card = dataclasses.replace(card, golden=golden)
    data = _with_card(graph, card, loaded.record)
    classifier = OnnxClassifier(open_session(data, str(target)), card, str(target))  # as ser-live
    # ser-live asks its own few lengths at start, here are more: both must hold.
    bitwise = classifier.batch_is_bitwise and batch_is_bitwise(session, batches(speech, card))
    _write(target, data)
    return Export(
        path=target,
        card=card,
        bytes=len(data),
        parameters=model.count_params(),
        nodes=len(graph.graph.node),
        opset=OPSET,
        emulated_dilations=emulated,
        verification=checked,
        batch_is_bitwise=bitwise,
        int8_difference=lost,
        quantized=smaller,
    )


def _add_card(source: Path, card: ModelCard, target: Path, speech: NDArray[np.float32]) -> Export:
    """Give the graph of another program its card and a golden test, and run it as ser-live does."""
    where = str(source)
    try:
        data = source.read_bytes()
        session = open_session(data, where)
        require_axes(session, card, where)
        graph = onnx.load_model_from_string(data)
        card = dataclasses.replace(card, golden=_golden(session, card, speech))
        data = _with_card(graph, card)
        classifier = OnnxClassifier(open_session(data, where), card, where)
        for batch in batches(speech, card):
            for window in batch:
                classifier.probabilities(window)
    except SerError:
        raise
    except Exception as error:  # onnx and onnxruntime raise many unrelated types
        raise SerError(f"{where}: cannot be used as a model ({sanitize(error)})") from error
    _write(target, data)
    return Export(
        path=target,
        card=card,
        bytes=len(data),
        parameters=sum(math.prod(tensor.dims) for tensor in graph.graph.initializer),
        nodes=len(graph.graph.node),
        opset=max(used.version for used in graph.opset_import if not used.domain),
        emulated_dilations=count_emulated_dilations(graph),
        verification=Verification(0.0, 0),
        batch_is_bitwise=classifier.batch_is_bitwise,
    )


def _check_target(target: Path) -> None:
    folder = target.parent
    if target.suffix != ".onnx" or target.is_dir():
        raise SerError(f"{target}: wanted the name of a file that ends in .onnx")
    if not folder.is_dir():
        raise SerError(f"{target}: the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SerError(f"{target}: the folder {folder} is not writable")


def _golden(
    session: onnxruntime.InferenceSession, card: ModelCard, speech: NDArray[np.float32]
) -> GoldenTest:
    spectrum = golden_spectrum(speech, card)
    batch = spectrum[None].astype(np.float32)
    outputs = Outputs(*session.run(output_names(card), {INPUT_NAME: batch}))
    if not (np.isfinite(spectrum).all() and np.isfinite(outputs.probabilities).all()):
        raise SerError("the golden test is not finite; export with other --verify-audio")
    return golden_test(spectrum, outputs)


def _with_card(
    graph: onnx.ModelProto, card: ModelCard, record: TrainingRecord | None = None
) -> bytes:
    """Return the file's bytes, with the card and, where it is known, who trained the model."""
    training = {RECORD_KEY: json.dumps(dataclasses.asdict(record))} if record else {}
    onnx.helper.set_model_props(graph, {METADATA_KEY: card.to_json(), **training})
    onnx.checker.check_model(graph)
    data: bytes = graph.SerializeToString()
    return data


def _write(target: Path, data: bytes) -> None:
    try:
        write_atomically(target, lambda path: path.write_bytes(data))
    except OSError as error:
        raise SerError(f"{target}: cannot be written ({error.strerror})") from error
