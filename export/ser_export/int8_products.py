"""Products with large stored matrices in eight bits, each row of the input with its own scale.

Such a row is one frame: what it gives depends on no other frame and no other window, so a batch
gives the bits of single windows, which one range for the whole batch would not.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

LEAST_WEIGHTS = 2**16
"""A smaller matrix stays in float32."""
_MOST_INPUT, _MOST_WEIGHT = 91, 90
"""Greatest sizes, as whole numbers: two products of 2 * 91 and 90 fit into sixteen bits, in which
processors without VNNI instructions add them."""
_SMALLEST_SIZE = 1e-20
_CONSTANTS = {
    "int8/most": np.float32(_MOST_INPUT),
    "int8/step": np.float32(1.0 / _MOST_INPUT),
    "int8/smallest": np.float32(_SMALLEST_SIZE),
    "int8/middle": np.float32(_MOST_INPUT + 0.5),  # whole numbers come by cutting off
    "int8/zero": np.uint8(_MOST_INPUT),
}


def with_int8_products(graph: onnx.ModelProto, layer: str = "") -> onnx.ModelProto | None:
    """Return a graph whose products with large matrices compute with whole numbers.

    Parameters
    ----------
    graph : onnx.ModelProto
        As `ser_train.models.conversion.convert` makes it; not changed.
    layer : str
        Part of the names of the nodes that may change; empty: all.

    Returns
    -------
    onnx.ModelProto or None
        None: no matrix is so large.
    """
    stored = {tensor.name: tensor for tensor in graph.graph.initializer}
    large = {
        name for name, tensor in stored.items()
        if len(tensor.dims) == 2 and tensor.dims[0] * tensor.dims[1] >= LEAST_WEIGHTS
    }  # fmt: skip
    chosen = [
        node
        for node in graph.graph.node
        if node.op_type == "MatMul" and node.input[1] in large and layer in node.name
    ]
    if not chosen:
        return None
    smaller = _Rewriting()
    for node in graph.graph.node:
        if node in chosen:
            weights = numpy_helper.to_array(stored[node.input[1]])
            smaller.multiply(node.input[0], weights, node.output[0])
        else:
            smaller.nodes.append(node)
    return smaller.of(graph)


class _Rewriting:
    """Nodes and constants of the new graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, Any] = dict(_CONSTANTS)
        self._quantized: set[str] = set()

    def of(self, graph: onnx.ModelProto) -> onnx.ModelProto:
        """Return the graph with these nodes, without the constants that none of them reads."""
        result = onnx.ModelProto()
        result.CopyFrom(graph)
        used = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in graph.graph.initializer if tensor.name in used]
        made = [numpy_helper.from_array(np.asarray(v), k) for k, v in self._constants.items()]
        for field in ("node", "initializer"):
            result.graph.ClearField(field)
        result.graph.node.extend(self.nodes)
        result.graph.initializer.extend(kept + made)
        return result

    def multiply(self, rows: str, weights: NDArray[np.float32], output: str) -> None:
        """Multiply rows by a matrix of which each column has a scale."""
        self._quantize(rows)
        scales = np.maximum(np.abs(weights).max(axis=0), _SMALLEST_SIZE) / _MOST_WEIGHT
        self._constants[f"{output}/weights"] = np.round(weights / scales).astype(np.int8)
        self._constants[f"{output}/scales"] = scales.astype(np.float32)
        whole, plain, columns = (f"{output}/{name}" for name in ("whole", "plain", "columns"))
        self._add("MatMulInteger", whole, f"{rows}/whole", f"{output}/weights", "int8/zero")
        self._add("Cast", plain, whole, to=onnx.TensorProto.FLOAT)
        self._add("Mul", columns, plain, f"{output}/scales")
        self._add("Mul", output, columns, f"{rows}/scale")

    def _quantize(self, rows: str) -> None:
        if rows in self._quantized:
            return
        self._quantized.add(rows)
        names = ("size", "most", "bounded", "scale", "inverse", "even", "positive", "whole")
        size, most, bounded, scale, inverse, even, positive, whole = (f"{rows}/{n}" for n in names)
        self._add("Abs", size, rows)
        self._add("ReduceMax", most, size, axes=[-1], keepdims=1)
        self._add("Max", bounded, most, "int8/smallest")
        self._add("Mul", scale, bounded, "int8/step")
        self._add("Div", inverse, "int8/most", bounded)
        self._add("Mul", even, rows, inverse)
        self._add("Add", positive, even, "int8/middle")
        self._add("Cast", whole, positive, to=onnx.TensorProto.UINT8)

    def _add(self, operator: str, output: str, *inputs: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
