"""Check of a model file's graph, before onnxruntime, which trusts what it is given.

A graph of a few hundred bytes can loop for ever, read a file beside it, or end the process inside
onnxruntime. So a model may use only the plain operators of networks, all of them in one graph
without branches, with every tensor inside the one file. The runtime does not have the onnx
package; onnx.proto gives the numbers of the few fields that are read here.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from ser_live.errors import SerError
from ser_live.text import quoted

LARGEST_FILE_BYTES = 128 * 2**20
"""Of a model file."""
MOST_NODES = 2_000
"""Of a graph; the time that onnxruntime takes to load one grows with their square."""
MOST_NODE_BYTES = 4 * 2**20
"""Of all nodes together, which is all but the tensors."""
MOST_PARTS = 10_000
"""Nodes, tensors and named values of a graph."""

MOST_FACTORS = 8
"""Inputs of one Einsum node: nothing can stop a product while it is computed."""
_AXES = rb"[A-Za-z ]*(?:\.\.\.[A-Za-z ]*)?"
_EQUATION = re.compile(rb"%b(?:,%b)*(?:->%b)?" % (_AXES, _AXES, _AXES))

# Not GroupNormalization, which onnxruntime writes out as 25 nodes each, nor GatherND, which ends
# the process where an attribute is odd.
_PLAIN = """
    Abs Add And ArgMax AveragePool BatchNormalization Cast Ceil Celu Clip Concat Constant
    ConstantOfShape Conv ConvTranspose Cos CumSum Div Einsum Elu Equal Erf Exp Expand Flatten Floor
    GRU Gather Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual
    HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LSTM LayerNormalization
    LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization MatMul Max MaxPool Mean
    MeanVarianceNormalization Min Mish Mul Neg Not Or PRelu Pad Pow RNN Reciprocal ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
    Relu Reshape Round Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign Split Sqrt
    Squeeze Sub Sum Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor
    ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul
    QuantizeLinear
    com.microsoft.QGemm com.microsoft.QLinearAdd com.microsoft.QLinearAveragePool
    com.microsoft.QLinearConcat com.microsoft.QLinearGlobalAveragePool
    com.microsoft.QLinearLeakyRelu com.microsoft.QLinearMul com.microsoft.QLinearReduceMean
    com.microsoft.QLinearSigmoid com.microsoft.QLinearSoftmax
"""
OPERATORS = frozenset(_PLAIN.encode().split())
"""Operators that a model may use: no control flow, no chance, no text, none of a library."""

_MAY_LEAVE_OUT_INPUTS = frozenset({b"Clip", b"GRU", b"LSTM", b"RNN"})
_ALIKE_RESULTS = frozenset({b"GRU", b"LSTM", b"RNN", b"Split"})
_WHOLE = """
    And ArgMax ConvInteger DynamicQuantizeLinear Equal Greater GreaterOrEqual IsInf IsNaN Less
    LessOrEqual MatMulInteger Not Or QLinearConv QLinearMatMul QuantizeLinear Shape Size Xor
"""
_WHOLE_RESULTS = frozenset(_WHOLE.encode().split())
_FLOATS = frozenset({1, 10, 11, 16})
_NO_NUMBERS = frozenset({6, 10, 11, 14, 15, 21, 22, 23})
"""Fields of an attribute that hold graphs, types, sparse tensors, or refer to a function."""


Piece = TypeVar("Piece", bytes, memoryview)


class _Tensor(NamedTuple):
    name: bytes
    is_float: bool
    data: memoryview


class _Attribute(NamedTuple):
    number: int
    text: bytes
    tensor: _Tensor | None


class _Node(NamedTuple):
    operator: bytes
    inputs: list[bytes]
    outputs: list[bytes]
    attributes: dict[bytes, _Attribute]


def check_graph(model: bytes, where: str) -> None:
    """Refuse a model that holds anything but a plain network.

    Parameters
    ----------
    model : bytes
        A serialized ``ModelProto``.
    where : str
        Name of the file, for messages.

    Raises
    ------
    SerError
        If it is no ONNX model, holds subgraphs, functions, tensors outside the file or operators
        that are not in `OPERATORS`, or uses one in a way that is known to crash onnxruntime.
    """
    try:
        graphs = []
        for number, value in fields(memoryview(model)):
            if number == 7 and isinstance(value, memoryview):
                graphs.append(value)
            elif number in (20, 25):
                raise _refusal("holds functions or training steps", "a network alone")
        if len(graphs) != 1:
            raise DamagedError
        _check(graphs[0])
    except DamagedError:
        raise _no_model(where) from None
    except SerError as error:
        raise SerError(f"{where}: {error}") from None


def read_metadata(model: bytes, where: str) -> dict[str, str]:
    """Return the texts that a model carries beside its graph, without loading that.

    Raises
    ------
    SerError
        If it is no ONNX model.
    UnicodeDecodeError
        If a text is no UTF-8.
    """
    texts = {}
    try:
        for number, value in fields(memoryview(model)):
            if number == 14 and isinstance(value, memoryview):
                entry = dict(fields(bytes(value)))
                key, text = entry.get(1, b""), entry.get(2, b"")
                if isinstance(key, bytes) and isinstance(text, bytes):
                    texts[key.decode()] = text.decode()
    except DamagedError:
        raise _no_model(where) from None
    return texts


def _check(graph: memoryview) -> None:
    nodes: list[_Node] = []
    tensors: dict[bytes, _Tensor] = {}
    floats: set[bytes] = set()
    room_bytes = MOST_NODE_BYTES
    for count, (number, value) in enumerate(fields(graph)):
        if count >= MOST_PARTS:
            raise _refusal(f"has over {MOST_PARTS} parts", "a smaller network")
        if isinstance(value, int):
            continue
        if number == 1:
            room_bytes -= len(value)
            if room_bytes < 0 or len(nodes) == MOST_NODES:
                raise _refusal(
                    f"has over {MOST_NODES} nodes or {MOST_NODE_BYTES} bytes of them",
                    "a smaller network",
                )
            nodes.append(_node(bytes(value)))
        elif number == 5:
            tensor = _tensor(value)
            tensors[tensor.name] = tensor
        elif number == 11:
            floats.update(_name(value))
        elif number == 15:
            raise _refusal("holds sparse tensors", "dense ones")
    for tensor in tensors.values():
        (floats.add if tensor.is_float else floats.discard)(tensor.name)
    for node in nodes:
        _check_node(node, floats, tensors)
        if _gives_floats(node, floats):
            floats.update(node.outputs if node.operator in _ALIKE_RESULTS else node.outputs[:1])


def _check_node(node: _Node, floats: set[bytes], tensors: dict[bytes, _Tensor]) -> None:
    operator = node.operator
    if operator not in OPERATORS:
        raise _refusal(
            f"uses the operator {quoted(operator.decode('utf-8', 'replace'))}",
            "plain ones of a network such as Conv and MatMul: no loops, branches or extensions",
        )
    if operator == b"Einsum" and len(node.inputs) > MOST_FACTORS:
        raise _refusal(f"multiplies {len(node.inputs)} tensors at once", f"up to {MOST_FACTORS}")
    equation = node.attributes.get(b"equation")
    # onnxruntime 1.32 reads others for ever, before it has loaded the graph.
    if equation is not None and not _EQUATION.fullmatch(equation.text):
        raise _refusal(
            f"multiplies by the equation {quoted(equation.text.decode('utf-8', 'replace'))}",
            "letters, commas, '...' and '->'",
        )
    # What follows is known to end the process inside onnxruntime 1.31.
    if b"" in node.inputs and operator not in _MAY_LEAVE_OUT_INPUTS:
        raise _refusal(f"leaves out an input of a {operator.decode()} node", "all of them")
    if operator == b"Split" and b"num_outputs" in node.attributes:
        raise _refusal("splits a tensor by a number of parts", "their sizes")
    if operator == b"Div" and floats.isdisjoint(node.inputs):
        divisor = tensors.get(node.inputs[-1]) if node.inputs else None
        if divisor is None or not _is_above_zero(divisor.data):
            raise _refusal(
                "divides whole numbers by what may be 0 or negative", "a stored divisor above 0"
            )


def _gives_floats(node: _Node, floats: set[bytes]) -> bool:
    """Tell whether the first result is known to be of floating-point numbers."""
    operator, attributes = node.operator, node.attributes
    if operator == b"Cast":
        kind = attributes.get(b"to")
        return kind is not None and kind.number in _FLOATS
    if operator in (b"Constant", b"ConstantOfShape"):
        value = attributes.get(b"value")
        if value is None:
            return operator == b"ConstantOfShape"
        return value.tensor is not None and value.tensor.is_float
    if operator in _WHOLE_RESULTS or operator.startswith(b"com."):
        return False
    decisive = node.inputs[1:2] if operator == b"Where" else node.inputs[:1]
    return operator == b"DequantizeLinear" or not floats.isdisjoint(decisive)


def _node(data: bytes) -> _Node:
    operator = domain = b""
    inputs, outputs, attributes = [], [], {}
    for number, value in fields(data):
        if isinstance(value, int):
            continue
        if number == 1:
            inputs.append(value)
        elif number == 2:
            outputs.append(value)
        elif number == 4:
            operator = value
        elif number == 5:
            name, attribute = _attribute(value)
            attributes[name] = attribute
        elif number == 7:
            domain = value
    if domain not in (b"", b"ai.onnx"):
        operator = domain + b"." + operator
    return _Node(operator, inputs, outputs, attributes)


def _attribute(data: bytes) -> tuple[bytes, _Attribute]:
    name, whole, text, tensor = b"", 0, b"", None
    for number, value in fields(data):
        if number in _NO_NUMBERS:
            raise _refusal("has a node that holds a graph", "plain nodes: no loops or branches")
        if isinstance(value, int):
            whole = value if number == 3 else whole
        elif number == 1:
            name = value
        elif number == 4:
            text = value
        elif number == 5:
            tensor = _tensor(memoryview(value))
    return name, _Attribute(whole, text, tensor)


def _tensor(data: memoryview) -> _Tensor:
    name, is_float = b"", False
    for number, value in fields(data):
        if number == 2:
            is_float = value in _FLOATS
        elif number == 8 and not isinstance(value, int):
            name = bytes(value)
        elif number == 13 or (number == 14 and value != 0):
            raise _refusal("keeps a tensor in another file", "everything in the one file")
    return _Tensor(name, is_float, data)


def _name(value_info: memoryview) -> list[bytes]:
    named = [value for number, value in fields(value_info) if number == 1]
    return [bytes(name) for name in named if not isinstance(name, int)]


def _is_above_zero(tensor: memoryview) -> bool:
    """Tell whether a tensor of whole numbers holds nothing else than 1 to 2**31 - 1."""
    numbers: list[int] = []
    width = 4
    for number, value in fields(tensor):
        if number == 2:
            width = 8 if value == 7 else 4
        elif number in (5, 7):
            numbers += [value] if isinstance(value, int) else packed(value)
        elif number == 9 and not isinstance(value, int):
            if len(value) % width:
                return False
            numbers += np.frombuffer(value, f"<i{width}").tolist()
    return bool(numbers) and all(0 < number < 1 << 31 for number in numbers)


def _no_model(where: str) -> SerError:
    return SerError(f"{where}: no ONNX model, or part of one; export or download it again")


def _refusal(what: str, wanted: str) -> SerError:
    return SerError(f"the graph {what}, wanted {wanted}; export another network with ser-export")


# The wire format of protocol buffers, read field by field and never trusted.


class DamagedError(Exception):
    """The bytes are no protobuf message."""


def fields(message: Piece) -> Iterator[tuple[int, int | Piece]]:
    """Yield the fields of a message in their order.

    Parameters
    ----------
    message : bytes or memoryview
        A serialized message; of a memoryview nothing is copied.

    Yields
    ------
    int
        Number of the field.
    int, bytes or memoryview
        Its value: a whole number, unsigned as it is stored, or a piece of the message that holds
        a text, a nested message or packed numbers. Numbers of fixed width are left out.

    Raises
    ------
    DamagedError
        If the bytes end too early or are no protobuf.
    """
    at, end = 0, len(message)
    try:
        while at < end:
            # Nearly all of these numbers fit into one byte; a call for each would be slow.
            tag = message[at]
            at += 1
            if tag > 127:
                tag, at = _varint(message, at - 1)
            kind = tag & 7
            if tag < 8 or tag >> 32:
                raise DamagedError
            if kind in (0, 2):
                number = message[at]
                at += 1
                if number > 127:
                    number, at = _varint(message, at - 1)
                if kind == 0:
                    yield tag >> 3, number
                    continue
                start = at
                at += number
                if at <= end:
                    yield tag >> 3, message[start:at]
            elif kind == 1:
                at += 8
            elif kind == 5:
                at += 4
            else:
                raise DamagedError
    except IndexError:
        raise DamagedError from None
    if at != end:
        raise DamagedError


def packed(values: bytes | memoryview) -> list[int]:
    """Return the whole numbers of a packed field, unsigned as they are stored."""
    numbers, at = [], 0
    try:
        while at < len(values):
            number, at = _varint(values, at)
            numbers.append(number)
    except IndexError:
        raise DamagedError from None
    return numbers


def _varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, and the place after it."""
    number = 0
    for place in range(10):
        byte = data[at + place]
        number |= (byte & 127) << (7 * place)
        if byte < 128:
            return number, at + place + 1
    raise DamagedError
