"""Loading a model file: what does not fit its card is refused by name."""

import dataclasses
import re
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fuzz import check_message
from fuzz.models import BINS, networks
from ser_live import SerError
from ser_live.engine.spectrum import PowerSpectrum
from ser_live.model import classifier as classifier_module
from ser_live.model.card import SpectrumSpec
from ser_live.model.catalog import find_model, model_files
from ser_live.model.classifier import OnnxClassifier, encode_golden
from ser_live.model.onnx_check import MOST_NODE_BYTES, MOST_NODES, MOST_PARTS, check_graph
from ser_live.model.onnx_session import MOST_MEMORY_BYTES, open_session
from ser_live.testing import speech_like, tiny_card, write_tiny_model
from ser_live.testing.models import tiny_graph, with_golden, write_graph


def test_a_model_loads_and_answers(tmp_path: Path) -> None:
    classifier = OnnxClassifier.load(write_tiny_model(tmp_path / "tiny.onnx"))
    window = PowerSpectrum(classifier.card.spectrum).process(speech_like(1.0))
    probabilities = classifier.probabilities(window)
    assert probabilities.shape == (4,)
    assert probabilities.dtype == np.float32
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-6)
    assert "tiny" in repr(classifier)


def test_nan_from_the_network_is_an_error(tmp_path: Path) -> None:
    classifier = OnnxClassifier.load(write_tiny_model(tmp_path / "tiny.onnx"))
    with pytest.raises(SerError, match="wanted probabilities"):
        classifier.probabilities(np.full((50, 257), np.nan, np.float32))


def test_files_that_are_no_model(tmp_path: Path) -> None:
    whole = write_tiny_model(tmp_path / "whole.onnx").read_bytes()
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
    fitting = with_golden(card, tiny_graph(card))
    golden = fitting.golden
    assert golden is not None
    shares = golden.probabilities

    def other(golden_test: dict[str, Any], **fields: Any) -> str:
        """Make the fitting card with other fields of its golden test, and its own."""
        changed = dataclasses.replace(golden, **golden_test)
        return dataclasses.replace(fitting, golden=changed, **fields).to_json()

    bomb = encode_golden(np.zeros((40000, 257), np.float16))
    cases = [
        ("no model card", None),
        ("no valid JSON", "{"),
        ("no golden test", card.to_json()),
        ("golden test is off by", other({"probabilities": (*shares[1:], shares[0])})),
        ("input is damaged", other({"spectrum": "!!"})),
        ("bytes long", other({"frames": golden.frames + 1})),
        ("bytes long", other({"spectrum": bomb})),  # it is not unpacked beyond what is wanted
        (
            r"the card wants .* the shape \['batch', 'frames', 1025\]",
            other({}, spectrum=SpectrumSpec(fft_samples=2048)),
        ),
        (
            r"the shape \['batch', 5\]",
            other({"probabilities": (*shares, 0.0)}, labels=(*card.labels, "bored")),
        ),
    ]
    for message, text in cases:
        path = write_graph(tmp_path / "model.onnx", tiny_graph(card), text)
        with pytest.raises(SerError, match=message):
            OnnxClassifier.load(path)


def with_nodes(
    nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto] | None = None
) -> onnx.ModelProto:
    """A model whose output is that of the last node, made from "spectrum"."""
    axes = ["batch", "frames", 257]
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("spectrum", TensorProto.FLOAT, axes)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 4])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def whole(name: str, *numbers: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(numbers, np.int64), name)


def refuse(folder: Path, model: onnx.ModelProto, message: str) -> None:
    """See a model refused that has the card and the golden test of the tiny one."""
    card = with_golden(tiny_card(), tiny_graph(tiny_card()))
    path = write_graph(folder / "hostile.onnx", model, card.to_json())
    with pytest.raises(SerError, match=message) as caught:
        OnnxClassifier.load(path)
    check_message(caught.value, f"{path}: ")


def refuse_spiked(
    folder: Path, nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto], message: str
) -> None:
    """See the tiny model refused with one more number, "extra", in its sums."""
    model = tiny_graph(tiny_card())
    model.graph.node[2].input[1] = "extra"
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])
    model.graph.initializer.extend(tensors)
    refuse(folder, model, message)


def body(name: str) -> onnx.GraphProto:
    """A loop's or branch's graph."""
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    return helper.make_graph(
        [helper.make_node("Identity", ["spectrum"], [name])], name, [], [output]
    )


def make(operator: str, inputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, ["probabilities"], **attributes)


HOSTILE_NODES = {
    "a loop": (make("Loop", ["trips", "", "spectrum"], body=body("a")), "the operator 'Loop'"),
    "a branch": (
        make("If", ["yes"], then_branch=body("a"), else_branch=body("b")),
        "a node that holds a graph",
    ),
    "a graph in a plain node": (make("Relu", ["spectrum"], body=body("a")), "that holds a graph"),
    "a scan": (make("Scan", ["spectrum"], num_scan_inputs=1), "the operator 'Scan'"),
    "an operator of a library": (
        make("Relu", ["spectrum"], domain="evil.org"),
        "the operator 'evil.org.Relu'",
    ),
    "a product of many": (
        make("Einsum", ["spectrum"] * 9, equation=",".join(["bft"] * 9) + "->bf"),
        "multiplies 9 tensors at once, wanted up to 8",
    ),
    "an operator of no library": (make("\x1b[2J", ["spectrum"]), r"the operator '\\x1b\[2J'"),
    "chance": (make("RandomNormalLike", ["spectrum"]), "RandomNormalLike"),
    "a missing input": (make("Max", ["spectrum", ""]), "leaves out an input of a Max node"),
    "parts by number": (make("Split", ["spectrum"], num_outputs=3), "wanted their sizes"),
    "a division of whole numbers": (make("Div", ["trips", "minus"]), "a stored divisor above 0"),
}


@pytest.mark.parametrize("name", HOSTILE_NODES)
def test_more_than_a_plain_network_is_refused(tmp_path: Path, name: str) -> None:
    node, message = HOSTILE_NODES[name]
    if name == "a loop":
        node.attribute[0].ClearField("g")
    tensors = [whole("trips", 2**62), whole("minus", -1), whole("yes", 1)]
    refuse(tmp_path, with_nodes([node], tensors), message)


@pytest.mark.parametrize(
    ("divisor", "fits"), [((2, 5), True), ((2, 0), False), ((-1,), False), ((2**40,), False)]
)
@pytest.mark.parametrize("raw", [True, False])
def test_whole_numbers_are_divided_by_stored_ones_above_zero(
    divisor: tuple[int, ...], fits: bool, raw: bool
) -> None:
    tensor = whole("divisor", *divisor)
    if not raw:
        tensor = helper.make_tensor("divisor", TensorProto.INT64, [len(divisor)], divisor)
    nodes = [
        helper.make_node("Shape", ["spectrum"], ["shape"], start=1),
        helper.make_node("Div", ["shape", "divisor"], ["half"]),
        helper.make_node("Cast", ["half"], ["probabilities"], to=TensorProto.FLOAT),
    ]
    model = with_nodes(nodes, [tensor]).SerializeToString()
    if fits:
        check_graph(model, "file.onnx")
        return
    with pytest.raises(SerError, match="divides whole numbers"):
        check_graph(model, "file.onnx")


def test_functions_and_sparse_tensors_are_refused(tmp_path: Path) -> None:
    relu = helper.make_node("Relu", ["x"], ["y"])
    model = with_nodes([make("Relu", ["spectrum"])])
    opsets = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], [relu], opsets))
    refuse(tmp_path, model, "functions or training steps")
    values, indices = numpy_helper.from_array(np.ones(1, np.float32), "s"), whole("i", 0)
    model = with_nodes([make("Relu", ["spectrum"])])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2**40]))
    refuse(tmp_path, model, "sparse tensors")


def test_the_number_of_parts_is_bounded(tmp_path: Path) -> None:
    chain = [helper.make_node("Relu", [f"{k}"], [f"{k + 1}"]) for k in range(MOST_NODES + 1)]
    refuse(tmp_path, with_nodes(chain), f"over {MOST_NODES} nodes or {MOST_NODE_BYTES} bytes")
    wide = [make("Concat", ["spectrum"] * (MOST_NODE_BYTES // 8), axis=0)]
    refuse(tmp_path, with_nodes(wide), f"over {MOST_NODES} nodes or {MOST_NODE_BYTES} bytes")
    tensors = [whole(str(k), 1) for k in range(MOST_PARTS)]
    refuse(tmp_path, with_nodes([make("Relu", ["spectrum"])], tensors), f"over {MOST_PARTS} parts")


@pytest.mark.parametrize("inside_the_folder", [True, False])
def test_tensors_outside_the_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside_the_folder: bool
) -> None:
    onnx.save_model(
        onnx.load(write_tiny_model(tmp_path / "inside.onnx")), tmp_path / "outside.onnx",
        save_as_external_data=True, location="weights.bin", size_threshold=0,
    )  # fmt: skip
    assert (tmp_path / "weights.bin").exists()
    if inside_the_folder:  # where onnxruntime would find it
        monkeypatch.chdir(tmp_path)
    with pytest.raises(SerError, match=r"outside\.onnx: the graph keeps a tensor in another file"):
        OnnxClassifier.load(tmp_path / "outside.onnx")


def test_the_bytes_do_not_choose_their_format(tmp_path: Path) -> None:
    """onnxruntime's own format has "ORTM" at the fifth byte, and no check of ours knows it."""
    data = write_tiny_model(tmp_path / "plain.onnx").read_bytes()
    path = tmp_path / "both.onnx"
    path.write_bytes(b"\x12\x06abORTM" + data)  # the name of the producer
    assert path.read_bytes()[4:8] == b"ORTM"
    OnnxClassifier.load(path)


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Mul"])
def test_memory_is_bounded(tmp_path: Path, operator: str) -> None:
    side = 2**15
    tensors = [whole("shape", 2 * side, side), whole("axes", 0, 1)]
    if operator == "ConstantOfShape":
        big = [helper.make_node(operator, ["shape"], ["big"])]
    else:
        tensors.append(numpy_helper.from_array(np.ones((side, 1), np.float32), "tall"))
        big = [
            helper.make_node("Transpose", ["tall"], ["wide"]),
            helper.make_node(operator, ["tall", "wide"], ["big"]),
        ]
    nodes = [*big, helper.make_node("ReduceSum", ["big", "axes"], ["extra"], keepdims=0)]
    refuse_spiked(tmp_path, nodes, tensors, "the network fails on 47 frames .*Available memory of")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < 2 * MOST_MEMORY_BYTES


def test_time_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of products that would take minutes."""
    monkeypatch.setattr(classifier_module, "GOLDEN_TEST_SECONDS", 1.0)
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["0"])]
    nodes += [helper.make_node("MatMul", [f"{k}", f"{k}"], [f"{k + 1}"]) for k in range(1000)]
    nodes.append(helper.make_node("ReduceSum", ["1000", "axes"], ["extra"], keepdims=0))
    tensors = [whole("shape", 1500, 1500), whole("axes", 0, 1)]
    started_at = time.monotonic()
    refuse_spiked(tmp_path, nodes, tensors, "the network fails on 47 frames.*terminate")
    assert time.monotonic() - started_at < 10.0


def test_a_failure_on_other_lengths_is_an_error(tmp_path: Path) -> None:
    card = tiny_card()
    graph = tiny_graph(card)
    graph.graph.node.insert(0, helper.make_node("Reshape", ["spectrum", "only"], ["fixed"]))
    graph.graph.node[1].input[0] = "fixed"
    graph.graph.initializer.append(whole("only", 1, 47, 257))
    classifier = OnnxClassifier.load(
        write_graph(tmp_path / "fixed.onnx", graph, with_golden(card, graph).to_json())
    )
    with pytest.raises(SerError, match=r"fixed\.onnx: the network fails on 50 frames"):
        classifier.probabilities(np.ones((50, 257), np.float32))


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        ("Identity", "wanted probabilities that sum to 1"),
        ("Sigmoid", "wanted probabilities that sum to 1"),
        ("LogSoftmax", "wanted probabilities that sum to 1"),
        ("Concat", r"numbers of shape \(2, 4\) for 47 frames, wanted \(1, 4\)"),
    ],
)
def test_what_is_no_distribution_is_an_error(tmp_path: Path, operator: str, message: str) -> None:
    model = tiny_graph(tiny_card())
    del model.graph.node[-1]
    if operator == "Concat":
        twice = helper.make_node("Concat", ["logits", "logits"], ["two"], axis=0)
        model.graph.node.extend([twice, make("Softmax", ["two"])])
    else:
        model.graph.node.append(make(operator, ["logits"]))
    refuse(tmp_path, model, message)


def test_names_that_are_no_utf8_are_an_error(tmp_path: Path) -> None:
    data = write_tiny_model(tmp_path / "tiny.onnx").read_bytes()
    for name in (b"spectrum", b"probabilities", b"ser.card"):
        path = tmp_path / "damaged.onnx"
        path.write_bytes(data.replace(name, b"\xff" * len(name)))
        with pytest.raises(SerError, match=r"damaged\.onnx: .* UTF-8"):
            OnnxClassifier.load(path)


@pytest.mark.parametrize("number", range(6))
def test_networks_of_all_kinds_pass(tmp_path: Path, number: int) -> None:
    """Convolutions, recurrent, computed shapes, two ways of quantized ones, normalizations."""
    network = networks()[number]
    card = with_golden(tiny_card(spectrum=SpectrumSpec(2 * BINS - 2, 32)), network)
    path = write_graph(tmp_path / "network.onnx", network, card.to_json())
    probabilities = OnnxClassifier.load(path).probabilities(np.ones((94, BINS), np.float32))
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)


def test_an_idle_session_does_not_spin(tmp_path: Path) -> None:
    session = open_session(write_tiny_model(tmp_path / "tiny.onnx").read_bytes(), "tiny")
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    for pool in ("intra", "inter"):
        assert options.get_session_config_entry(f"session.{pool}_op.allow_spinning") == "0"


def test_names_become_files(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "mine.onnx")
    assert find_model(path) == path
    assert find_model(str(path)) == path
    for file in model_files():
        assert find_model(file.stem) == file
    shipped = ", ".join(file.stem for file in model_files())
    wanted = rf"there is no model '.*\({re.escape(shipped)}\)"
    names: list[Any] = ["nothing", "", "a\0b", "a\0b.onnx", "\x1b[2J", "no/such.onnx", 3, [], b"a"]
    for name in names:
        with pytest.raises(SerError, match=wanted) as caught:
            find_model(name)
        assert str(caught.value).isprintable()
    with pytest.raises(SerError, match=r"cannot read the model \(File name too long\)"):
        OnnxClassifier.load(find_model("a" * 5000 + ".onnx"))
