"""Model files: graphs that are nearly right, and files that are nearly graphs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import onnx.parser
from onnx import AttributeProto, TensorProto, defs, helper, numpy_helper

from fuzz import attempt, cards, scratch
from ser_live.model.card import METADATA_KEY, SpectrumSpec
from ser_live.model.classifier import OnnxClassifier
from ser_live.model.onnx_check import OPERATORS
from ser_live.testing import tiny_card
from ser_live.testing.models import tiny_graph, with_golden

BINS = 33
CARD = tiny_card(spectrum=SpectrumSpec(2 * BINS - 2, 64))
NETWORKS = Path(__file__).parent / "networks"
NUMBERS = (0, 1, -1, 2, 3, -2, 7, 257, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63), 2**40)
FLOATS = (0.0, 1.0, -1.0, 1e-40, 1e30, -1e38, float("inf"), float("nan"))
WORDS = (
    *("SAME_UPPER", "VALID", "NOTSET", "constant", "edge", "reflect", "wrap", "bidirectional"),
    *("tanh", "none", "bft->bf", "bij,bjk->bik", "...ij->...ji", "ii->i", "ij,jk", ",", "->"),
)
KINDS = (1, 1, 1, 7, 7, 6, 2, 3, 9, 10, 11, 12, 13)
PLAIN_OPERATORS = sorted(o.decode() for o in OPERATORS if b"." not in o)


def check(data: bytes) -> None:
    path = scratch("input.onnx")
    path.write_bytes(data)
    classifier = attempt(OnnxClassifier.load, path)
    if classifier is None:
        return
    for frames in (1, 7, 94):
        shape = (frames, classifier.card.spectrum.bins)
        window = np.random.default_rng(frames).random(shape, np.float32)
        probabilities = attempt(classifier.probabilities, window)
        if probabilities is not None:
            assert probabilities.shape == (len(classifier.card.labels),)
            assert np.isfinite(probabilities).all()


def seeds() -> list[bytes]:
    return [_with_card(graph) for graph in (tiny_graph(CARD), *networks())]


def networks() -> list[onnx.ModelProto]:
    """Return small valid networks that together use most operators that a model may use."""
    return [
        _with_weights(onnx.parser.parse_model(path.read_text("utf-8")))
        for path in sorted(NETWORKS.glob("*.onnxtxt"))
    ]


def _with_weights(network: onnx.ModelProto) -> onnx.ModelProto:
    """Draw the tensors that the file declares without values from a fixed seed."""
    random = np.random.default_rng(0)
    for tensor in network.graph.value_info:
        kind = tensor.type.tensor_type
        shape = [axis.dim_value for axis in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        values = (
            random.uniform(-1, 1, shape) if dtype.kind == "f" else random.integers(10, size=shape)
        )
        network.graph.initializer.append(numpy_helper.from_array(values.astype(dtype), tensor.name))
    del network.graph.value_info[:]
    return network


def mutate(data: bytes, random: Random) -> bytes:
    """Change some parts of the graph; raise ValueError if there is none."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf raises a type of its own
        raise ValueError from error
    if not model.graph.node:
        raise ValueError
    for _ in range(random.choice((1, 1, 2, 3))):
        random.choice(CHANGES)(model, random)
    changed: bytes = model.SerializeToString()
    return changed


def _with_card(graph: onnx.ModelProto) -> bytes:
    card = with_golden(CARD, graph)
    helper.set_model_props(graph, {METADATA_KEY: card.to_json()})
    data: bytes = graph.SerializeToString()
    return data


def _number(random: Random) -> int:
    return random.choice(NUMBERS) if random.random() < 0.3 else random.randint(-3, 8)


def _tensor(random: Random, name: str = "", kind: int | None = None) -> onnx.TensorProto:
    kind = random.choice(KINDS) if kind is None else kind
    shape: list[int] = []
    for _ in range(random.choice((0, 1, 1, 2, 2, 3, 4))):
        if int(np.prod(shape)) < 2000:
            shape.append(random.choice((0, 1, 1, 2, 3, 4, 8, BINS)))
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    count = max(1, min(64, int(np.prod(shape))))
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        numbers = [min(max(_number(random), info.min), info.max) for _ in range(count)]
    else:
        numbers = [_float(random) for _ in range(count)]
    with np.errstate(all="ignore"):
        array = np.resize(np.array(numbers).astype(dtype), shape)
    return numpy_helper.from_array(np.ascontiguousarray(array), name)


def _float(random: Random) -> Any:
    return random.choice(FLOATS) if random.random() < 0.2 else random.gauss(0, 1)


def _set(attribute: onnx.AttributeProto, random: Random, name: str, kind: int) -> None:
    makers: dict[int, Callable[[], Any]] = {
        AttributeProto.INT: lambda: random.choice(KINDS) if name == "to" else _number(random),
        AttributeProto.INTS: lambda: [_number(random) for _ in range(random.randint(0, 5))],
        AttributeProto.FLOAT: lambda: _float(random),
        AttributeProto.FLOATS: lambda: [_float(random) for _ in range(3)],
        AttributeProto.STRING: lambda: random.choice(WORDS),
        AttributeProto.STRINGS: lambda: random.choices(("Tanh", "Relu", "Affine", "?"), k=3),
        AttributeProto.TENSOR: lambda: _tensor(random),
    }
    if kind in makers:
        made = helper.make_attribute(name, makers[kind](), attr_type=kind)
        attribute.CopyFrom(made)


def _names(model: onnx.ModelProto) -> list[str]:
    tensors = [tensor.name for tensor in model.graph.initializer]
    results = [name for node in model.graph.node for name in node.output]
    return ["spectrum", "spectrum", *tensors, *results]


def _random_node(model: onnx.ModelProto, random: Random, at: int) -> onnx.NodeProto:
    """Make a node that fits before the node at a place, if its types and shapes do."""
    schema = defs.get_schema(random.choice(PLAIN_OPERATORS), 20)
    before = _names(model)
    before = before[: len(before) - sum(len(node.output) for node in model.graph.node[at:])]
    most = min(schema.max_input, schema.min_input + 3)
    inputs, kinds = [], dict[str, int]()
    for k in range(random.randint(schema.min_input, most)):
        wanted = schema.inputs[min(k, len(schema.inputs) - 1)]
        kind = kinds.setdefault(wanted.type_str, _kind(wanted.types, random))
        if k >= schema.min_input - 1 and random.random() < 0.05:
            inputs.append("")
        elif kind != 1 or random.random() < 0.5:
            tensor = _tensor(random, f"t{random.getrandbits(32)}", kind)
            model.graph.initializer.append(tensor)
            inputs.append(tensor.name)
        else:
            inputs.append(random.choice(before[-6:] if random.random() < 0.5 else before))
    count = random.randint(max(1, schema.min_output), min(3, max(1, schema.max_output)))
    outputs = [f"r{random.getrandbits(32)}" for _ in range(count)]
    node = helper.make_node(schema.name, inputs, outputs)
    for name, attribute in schema.attributes.items():
        if attribute.required or random.random() < 0.3:
            _set(node.attribute.add(), random, name, int(attribute.type))
    return node


def _kind(types: set[str], random: Random) -> int:
    """Draw one of the types of numbers that an operator takes, seldom another one."""
    names = {f"tensor({TensorProto.DataType.Name(kind).lower()})": kind for kind in KINDS}
    fitting = [names[name] for name in sorted(types) if name in names]
    if not fitting or random.random() < 0.05:
        return random.choice(KINDS)
    if 1 in fitting and random.random() < 0.5:
        return 1
    return random.choice(fitting)


def _insert(model: onnx.ModelProto, random: Random) -> None:
    """Put a node somewhere between two others."""
    at = random.randrange(len(model.graph.node))
    node = _random_node(model, random, at)
    follower = model.graph.node[at]
    if follower.input:
        follower.input[random.randrange(len(follower.input))] = node.output[0]
    model.graph.node.insert(at, node)


def _hang(model: onnx.ModelProto, random: Random) -> None:
    """Compute something beside the network that must be computed and changes nothing."""
    graph = model.graph
    for _ in range(random.choice((1, 1, 2, 3))):
        graph.node.insert(len(graph.node) - 1, _random_node(model, random, len(graph.node) - 1))
    mark = f"h{random.getrandbits(32)}"
    tail = onnx.parser.parse_graph(f"""g () => () {{
        {mark}zero = Constant <value_float = 0.0> ()
        {mark}size = Size ({random.choice(graph.node[-2].output)})
        {mark}number = Cast <to = 1> ({mark}size)
        {mark}nothing = Mul ({mark}number, {mark}zero)
        {mark} = Add ({graph.node[-1].input[0]}, {mark}nothing)
    }}""")
    for node in tail.node:
        graph.node.insert(len(graph.node) - 1, node)
    graph.node[-1].input[0] = mark


def _change_tensor(model: onnx.ModelProto, random: Random) -> None:
    tensor = random.choice(model.graph.initializer)
    if random.random() < 0.8:
        tensor.CopyFrom(_tensor(random, tensor.name))
    else:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")


def _change_field(model: onnx.ModelProto, random: Random) -> None:
    """Overwrite a value, or remove or double a part, anywhere in the file.

    Raises ValueError, as protobuf does, if the field cannot hold the value.
    """
    message, field = random.choice(list(_fields(model)))
    held = getattr(message, field.name)
    at = random.randrange(len(held)) if field.is_repeated else 0
    if field.message_type is None:
        if field.type == field.TYPE_BYTES:
            value: Any = random.randbytes(random.randint(0, 40))
        elif field.cpp_type == field.CPPTYPE_STRING:
            value = random.choice((*WORDS, *PLAIN_OPERATORS, *_names(model)))
        else:
            value = (_float if field.cpp_type == field.CPPTYPE_FLOAT else _number)(random)
        if field.is_repeated:
            held[at] = value
        else:
            setattr(message, field.name, value)
    elif not field.is_repeated:
        message.ClearField(field.name)
    elif random.random() < 0.5:
        del held[at]
    else:
        held.append(held[at])


def _fields(message: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every field that is set, with the message that holds it."""
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is not None:
            for inner in value if field.is_repeated else (value,):
                yield from _fields(inner)


def _change_card(model: onnx.ModelProto, random: Random) -> None:
    for entry in model.metadata_props:
        entry.value = cards.mutate(entry.value.encode(), random).decode("utf-8", "replace")


CHANGES: tuple[Callable[[onnx.ModelProto, Random], None], ...] = (
    *(4 * (_hang,)),
    _insert,
    *(7 * (_change_field,)),
    _change_tensor,
    _change_card,
)
