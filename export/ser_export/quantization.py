"""Convolutions in eight bits instead of thirty-two: made, measured, refused if they cost much."""

import copy
import dataclasses
import tempfile
import timeit
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import quantization as onnx_quantization

from ser_export.verification import run
from ser_live.errors import SerError
from ser_live.model.card import LONGEST_NAME, SAMPLE_RATE_HZ, Metric, ModelCard
from ser_live.model.classifier import INPUT_NAME
from ser_live.model.onnx_session import open_session
from ser_train.data.for_export import HeldOutClips, Scores, first_window_of, score, truth_of
from ser_train.models.silent_stderr import silent_stderr

GOLDEN_TOLERANCE = 0.05
"""Worst allowed difference of a probability on another processor."""
_ROUNDS = 30
_RUNS = 5


@dataclass(frozen=True, slots=True)
class Quantization:
    """Options of ``ser-export --quantize``."""

    corpora: tuple[Path, ...]
    """Folders of corpora, and tables (.csv)."""
    max_drop_points: float = 1.0
    """UAR may fall by so much."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Before and after, in one run on one thread."""

    clips: HeldOutClips
    before: Scores
    after: Scores
    greatest_difference: float
    """Of a probability, over all measured clips."""
    changed_answers: int
    """Clips whose most probable label is another one."""
    milliseconds_before: float
    """For the longest window; median."""
    milliseconds_after: float

    @property
    def lost_points(self) -> float:
        """Return the loss of UAR in percentage points."""
        return 100.0 * (self.before.uar - self.after.uar)


@dataclass(frozen=True, slots=True)
class Quantized:
    """A graph with convolutions in eight bits that has passed."""

    graph: onnx.ModelProto
    session: onnxruntime.InferenceSession
    card: ModelCard
    cost: Cost
    saved_bytes: int

    def summary(self, bytes_after: int) -> tuple[str, ...]:
        """Return some lines for people; the size is that of the model file."""
        cost, bytes_before = self.cost, bytes_after + self.saved_bytes
        faster = cost.milliseconds_before / cost.milliseconds_after
        return (
            f"  convolutions in int8; {cost.clips.describe()}",
            f"  {bytes_after} bytes, float32 {bytes_before}: "
            f"{bytes_before / bytes_after:.1f} times smaller",
            f"  {cost.milliseconds_after:.2f} ms for a window of {self.card.window.seconds:g} s on "
            f"one thread, float32 {cost.milliseconds_before:.2f}: {faster:.1f} times as fast",
            f"  UAR {100 * cost.after.uar:.1f} %, float32 {100 * cost.before.uar:.1f} % "
            f"({cost.after.count} clips, {cost.changed_answers} with another answer)",
            f"  greatest difference of a probability {cost.greatest_difference:.3f}",
        )


def quantized(
    graph: onnx.ModelProto,
    session: onnxruntime.InferenceSession,
    card: ModelCard,
    clips: HeldOutClips,
    max_drop_points: float,
    note: Callable[[str], None],
) -> Quantized:
    """Quantize a verified graph.

    Parameters
    ----------
    graph : onnx.ModelProto
        In float32; not changed.
    session : InferenceSession
        Of that graph.
    card : ModelCard
    clips : HeldOutClips
    max_drop_points : float
        UAR may fall by so much.
    note : callable
        Takes one line on each step.

    Raises
    ------
    SerError
        If UAR falls by more than is allowed.
    """
    note(f"quantizing; {clips.describe()}")
    smaller = quantize(graph, (first_window_of(clip, card) for clip in clips.calibration))
    other = open_session(smaller.SerializeToString(), f"{card.name}, quantized")
    note("comparing with float32")
    cost = _measure_cost(session, other, clips, card)
    if cost.lost_points > max_drop_points:
        raise SerError(
            f"{card.name}: in int8 its UAR is {100 * cost.after.uar:.1f} % instead of "
            f"{100 * cost.before.uar:.1f} % on {cost.after.count} clips; a fall of "
            f"{max_drop_points:g} points is allowed (--max-drop); nothing was written"
        )
    saved_bytes = graph.ByteSize() - smaller.ByteSize()
    return Quantized(smaller, other, _card(card, cost), cost, saved_bytes)


def quantize(graph: onnx.ModelProto, calibration: Iterable[NDArray[np.float32]]) -> onnx.ModelProto:
    """Return a graph whose convolutions compute with whole numbers.

    Weights get a scale for each channel, activations the range that the calibration windows
    show. Everything else stays as it is: the front end, whose power spectra span ten decades, and
    the head and the pooling, which are small. So does a convolution of one input channel: it has
    few weights, and its input is the whole window.

    Parameters
    ----------
    graph : onnx.ModelProto
        As `ser_train.models.conversion.convert` makes it; not changed.
    calibration : iterable of ndarray, shape (frames, bins), float32
        Power spectra of real speech.

    Raises
    ------
    SerError
        If there is no such convolution.

    Notes
    -----
    Weights have seven bits: processors without VNNI instructions add two products in sixteen bits,
    which eight would overflow, so that each kind of processor would give other answers.
    """
    nodes = _worthwhile(graph)
    if not nodes:
        raise SerError("the network has no convolution that eight bits would make smaller")
    with tempfile.TemporaryDirectory() as folder, silent_stderr():
        target = Path(folder) / "quantized.onnx"
        onnx_quantization.quantize_static(
            copy.deepcopy(graph),
            target,
            _Reader(calibration),
            quant_format=onnx_quantization.QuantFormat.QDQ,
            activation_type=onnx_quantization.QuantType.QUInt8,
            weight_type=onnx_quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=["Conv", "Relu"],
            nodes_to_quantize=nodes,
        )
        return onnx.load(target)


class _Reader(onnx_quantization.CalibrationDataReader):  # type: ignore[misc]
    """Hand the windows over one by one."""

    def __init__(self, windows: Iterable[NDArray[np.float32]]) -> None:
        self._windows = iter(windows)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        window = next(self._windows, None)
        return None if window is None else {INPUT_NAME: window[np.newaxis]}


def _worthwhile(graph: onnx.ModelProto) -> list[str]:
    """Name the convolutions over several channels, and the rectifiers behind them."""
    channels = {
        tensor.name: tensor.dims[1] for tensor in graph.graph.initializer if tensor.dims[1:]
    }
    chosen = [
        node
        for node in graph.graph.node
        if node.op_type == "Conv" and channels.get(node.input[1], 1) > 1
    ]
    results = {name for node in chosen for name in node.output}
    chosen += [n for n in graph.graph.node if n.op_type == "Relu" and n.input[0] in results]
    return [node.name for node in chosen]


def _measure_cost(
    before: onnxruntime.InferenceSession,
    after: onnxruntime.InferenceSession,
    clips: HeldOutClips,
    card: ModelCard,
) -> Cost:
    """Ask both graphs about each clip, and time them in turn."""
    sessions = (before, after)
    windows = (first_window_of(clip, card)[np.newaxis] for clip in clips.measured)
    answers = np.array(  # (clips, sessions, labels)
        [[run(session, window)[0] for session in sessions] for window in windows], np.float64
    )
    truth = truth_of(clips.measured, card.labels)
    decided = answers.argmax(axis=2)
    times = _times(sessions, _longest(first_window_of(clips.measured[0], card), card))
    return Cost(
        clips,
        score(answers[:, 0], truth),
        score(answers[:, 1], truth),
        float(np.abs(answers[:, 0] - answers[:, 1]).max()),
        int((decided[:, 0] != decided[:, 1]).sum()),
        *times,
    )


def _longest(window: NDArray[np.float32], card: ModelCard) -> NDArray[np.float32]:
    """Repeat a window until it is as long as windows get."""
    frames = card.spectrum.frames_in(round(card.window.seconds * SAMPLE_RATE_HZ))
    return np.resize(window, (1, frames, window.shape[1]))


def _times(
    sessions: Sequence[onnxruntime.InferenceSession], window: NDArray[np.float32]
) -> tuple[float, float]:
    """Time both in turn, so that a busy machine slows both; medians in milliseconds."""
    timers = [timeit.Timer(partial(run, session, window)) for session in sessions]
    rounds = [[timer.repeat(_RUNS, 1) for timer in timers] for _ in range(_ROUNDS)]
    before, after = (1000.0 * np.median(rounds, axis=(0, 2))).tolist()
    return before, after


def _card(card: ModelCard, cost: Cost) -> ModelCard:
    """Return the card for these weights, with their own figure beside those of float32."""
    protocol = (
        f"convolutions in int8, {cost.clips.describe()}; the first {card.window.seconds:g} s from "
        f"the speech onset; the same clips in float32: {100 * cost.before.uar:.1f} %"
    )
    uar, independent = round(cost.after.uar, 6), cost.clips.speaker_independent
    metric = Metric("UAR", uar, protocol, independent, cost.after.count)
    return dataclasses.replace(
        card,
        name=f"{card.name}-int8"[:LONGEST_NAME],
        description=f"{card.description} Convolutions in int8; the other figures are those of "
        "float32.".strip(),
        metrics=(*card.metrics, metric),
    )
