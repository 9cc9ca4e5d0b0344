"""Convolutions in eight bits instead of thirty-two: smaller files and faster windows."""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import quantization as onnx_quantization

from ser_export.quiet import quiet
from ser_live.errors import SerError
from ser_live.model.classifier import INPUT_NAME


def quantize(graph: onnx.ModelProto, calibration: Iterable[NDArray[np.float32]]) -> onnx.ModelProto:
    """Give a graph whose convolutions compute with whole numbers.

    Weights get a scale for each channel, activations the range that the calibration windows
    show. Everything else stays as it is: the front end, whose power spectra span ten decades, and
    the head and the pooling, which are small. So does a convolution of one input channel: it has
    few weights, and its input is the whole window.

    Parameters
    ----------
    graph : onnx.ModelProto
        As `ser_export.conversion.convert` makes it; not changed.
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
    with tempfile.TemporaryDirectory() as folder, _without_advice(), quiet():
        target = Path(folder) / "quantized.onnx"
        copy = onnx.ModelProto()
        copy.CopyFrom(graph)
        onnx_quantization.quantize_static(
            copy,
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


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep the tool's hints on its own options from the user."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
