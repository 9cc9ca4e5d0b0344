"""The quantized half of an export: make it, measure it, refuse it or say what it costs."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime

from ser_export.quantization import quantize
from ser_export.quantization_clips import part, window_of
from ser_export.quantization_cost import Cost, measure_cost
from ser_live.errors import SerError
from ser_live.model.card import LONGEST_NAME, Metric, ModelCard
from ser_live.model.onnx_session import open_session
from ser_train.data.recordings import Recordings
from ser_train.models.keras_file import read_record

GOLDEN_TOLERANCE = 0.05
"""Worst allowed difference of a probability on another processor."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """What ``ser-export --quantize`` is told."""

    recordings: Recordings
    max_drop_points: float = 1.0
    """UAR may fall by so much."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """A graph with convolutions in eight bits that has passed."""

    graph: onnx.ModelProto
    session: onnxruntime.InferenceSession
    card: ModelCard
    cost: Cost
    saved_bytes: int

    def summary(self, bytes_after: int) -> tuple[str, ...]:
        """Give some lines for people; the size is that of the model file."""
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
    source: Path,
    wanted: Quantization,
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
    source : Path
        The ``.keras`` file, which says who was in its training.
    wanted : Quantization
    note : callable
        Takes one line on each step.

    Raises
    ------
    SerError
        If the recordings do not fit, or UAR falls by more than is allowed.
    """
    clips = part(wanted.recordings, card, read_record(source)[1])
    note(f"quantizing; {clips.describe()}")
    smaller = quantize(graph, (window_of(clip, card) for clip in clips.calibration))
    other = open_session(smaller.SerializeToString(), f"{source}, quantized")
    note("comparing with float32")
    cost = measure_cost(session, other, clips, card)
    if cost.lost_points > wanted.max_drop_points:
        raise SerError(
            f"{source}: in int8 its UAR is {100 * cost.after.uar:.1f} % instead of "
            f"{100 * cost.before.uar:.1f} % on {cost.after.count} clips; a fall of "
            f"{wanted.max_drop_points:g} points is allowed (--max-drop); nothing was written"
        )
    saved_bytes = graph.ByteSize() - smaller.ByteSize()
    return Quantized(smaller, other, _card(card, cost), cost, saved_bytes)


def _card(card: ModelCard, cost: Cost) -> ModelCard:
    """Say that the weights are others than those which were measured, and what these reach."""
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
