"""Loading a model file: what does not fit its card is refused by name."""

import contextlib
import dataclasses
import re
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from fuzz import check_message
from fuzz.models import BINS, networks
from ser_live import SerError, StreamRecognizer, listen
from ser_live.engine.spectrum import PowerSpectrum
from ser_live.model import classifier as classifier_module
from ser_live.model.card import SpectrumSpec
from ser_live.model.catalog import find_model, model_files
from ser_live.model.classifier import OnnxClassifier, encode_golden, load_shared, read_card
from ser_live.model.onnx_check import MOST_NODE_BYTES, MOST_NODES, MOST_PARTS, check_graph
from ser_live.model.onnx_session import MOST_MEMORY_BYTES, open_session
from ser_live.sources import DEMO_PATH
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
    assert read_card(classifier.where) == classifier.card


def test_nan_from_the_network_is_an_error(tmp_path: Path) -> None:
    classifier = OnnxClassifier.load(write_tiny_model(tmp_path / "tiny.onnx"))
    with pytest.raises(SerError, match="wanted probabilities"):
        classifier.probabilities(np.full((50, 257), np.nan, np.float32))


def test_a_model_is_loaded_once_until_its_file_changes(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    first = StreamRecognizer(path).classifier
    with listen(DEMO_PATH, model=str(path)) as again, listen(DEMO_PATH, model=path) as predictions:
        assert again.recognizer.classifier is predictions.recognizer.classifier is first
        write_tiny_model(path, seed=1)
        predictions.swap(path)
        changed = predictions.recognizer.classifier
    fresh = OnnxClassifier.load(path)
    assert fresh is not changed is StreamRecognizer(path).classifier
    window = PowerSpectrum(first.card.spectrum).process(speech_like(1.0))[np.newaxis]
    one, two, three = (model.batch_probabilities(window) for model in (first, changed, fresh))
    np.testing.assert_array_equal(two, three)
    assert not np.array_equal(two, one)
    path.unlink()
    with pytest.raises(SerError, match="there is no model"):
        StreamRecognizer(path)


def test_threads_that_ask_at_once_load_a_model_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    loaded, load = list[OnnxClassifier](), OnnxClassifier.load

    def count(path: str) -> OnnxClassifier:
        time.sleep(0.05)  # the others come meanwhile
        loaded.append(load(path))
        return loaded[-1]

    monkeypatch.setattr(OnnxClassifier, "load", count)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(load_shared, [path] * 8))
    assert len(loaded) == 1
    assert all(classifier is loaded[0] for classifier in got)


def test_files_that_are_no_model(tmp_path: Path) -> None:
    whole = write_tiny_model(tmp_path / "whole.onnx").read_bytes()
    path = tmp_path / "damaged.onnx"
    for content in (b"", b"hello", whole[: len(whole) // 2], bytes(1000)):
        path.write_bytes(content)
        for read in (OnnxClassifier.load, read_card):
            with pytest.raises(SerError) as caught:
                read(path)
            check_message(caught.value, f"{path}: ")
    for nothing in (tmp_path / "missing.onnx", tmp_path, "missing"):
        with pytest.raises(
            SerError, match=r"there is no model '.*'; wanted a path .*emotion-light"
        ):
            OnnxClassifier.load(nothing)


def test_a_shipped_model_is_loaded_by_its_name() -> None:
    model = OnnxClassifier.load("emotion-light")
    assert model.card.name == "emotion-light"
    assert StreamRecognizer(model).classifier is model


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


def network(nodes: str, tensors: str = "") -> onnx.ModelProto:
    """Parse a model that makes "probabilities" from "spectrum"."""
    return onnx.parser.parse_model(f"""
        <ir_version: 9, opset_import: ["": 18]>
        hostile (float[batch, frames, 257] spectrum) => (float[batch, 4] probabilities)
        <{tensors}> {{ {nodes} }}""")


def spiked(nodes: str, tensors: str, at: tuple[int, int] = (2, 1)) -> onnx.ModelProto:
    """Return the tiny model with the last of some nodes as an input of one of its own."""
    spike, model = network(nodes, tensors).graph, tiny_graph(tiny_card())
    model.graph.node[at[0]].input[at[1]] = spike.node[-1].output[0]
    for node in reversed(spike.node):
        model.graph.node.insert(0, node)
    model.graph.initializer.extend(spike.initializer)
    return model


def refuse(folder: Path, model: onnx.ModelProto, message: str) -> None:
    """See a model refused that has the card and the golden test of the tiny one."""
    card = with_golden(tiny_card(), tiny_graph(tiny_card()))
    path = write_graph(folder / "hostile.onnx", model, card.to_json())
    with pytest.raises(SerError, match=message) as caught:
        OnnxClassifier.load(path)
    check_message(caught.value, f"{path}: ")


HOSTILE_NODES = {
    "Loop (trips, , spectrum)": "the operator 'Loop'",
    "If (yes) <then_branch = g () => (float y) { y = Identity (spectrum) }>": "that holds a graph",
    "Relu (spectrum) <body = g () => (float y) { y = Identity (spectrum) }>": "that holds a graph",
    "Scan <num_scan_inputs = 1> (spectrum)": "the operator 'Scan'",
    "evil.org.Relu (spectrum)": "the operator 'evil.org.Relu'",
    'Einsum <equation = "b,b,b,b,b,b,b,b,b->b"> (a, a, a, a, a, a, a, a, a)': (
        "multiplies 9 tensors at once, wanted up to 8"
    ),
    'Einsum <equation = "ab1"> (a)': "by the equation 'ab1', wanted letters",
    'Einsum <equation = "a.b->ab"> (a)': "by the equation",
    'Einsum <equation = "...."> (a)': "by the equation",
    "RandomNormalLike (spectrum)": "RandomNormalLike",
    "Max (, spectrum)": "leaves out an input of a Max node",
    "Split <num_outputs = 3> (spectrum)": "wanted their sizes",
    "Div (trips, minus)": "a stored divisor above 0",
}


@pytest.mark.parametrize("node", HOSTILE_NODES)
def test_more_than_a_plain_network_is_refused(tmp_path: Path, node: str) -> None:
    tensors = "int64[1] trips = {4611686018427387904}, int64[1] minus = {-1}, int64[1] yes = {1}"
    refuse(tmp_path, network(f"probabilities = {node}", tensors), HOSTILE_NODES[node])


@pytest.mark.parametrize(
    ("divisor", "fits"), [("2, 5", True), ("2, 0", False), ("-1, 1", False), (f"{2**40}, 1", False)]
)
@pytest.mark.parametrize("raw", [True, False])
def test_whole_numbers_are_divided_by_stored_ones_above_zero(
    divisor: str, fits: bool, raw: bool
) -> None:
    nodes = """
        shape = Shape <start = 1> (spectrum)
        half = Div (shape, divisor)
        probabilities = Cast <to = 1> (half)"""
    model = network(nodes, f"int64[2] divisor = {{{divisor}}}")
    (tensor,) = model.graph.initializer
    if raw:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), "divisor"))
    assert bool(tensor.raw_data) == raw
    refused = pytest.raises(SerError, match="divides whole numbers")
    with contextlib.nullcontext() if fits else refused:
        check_graph(model.SerializeToString(), "file.onnx")


PLAIN = "probabilities = Relu (spectrum)"


def test_functions_sparse_tensors_and_odd_names_are_refused(tmp_path: Path) -> None:
    model = network(PLAIN)
    model.functions.append(onnx.parser.parse_function('<domain: "x"> f (x) => (y) {y = Relu (x)}'))
    refuse(tmp_path, model, "functions or training steps")
    model = network(PLAIN)
    values, indices = (
        numpy_helper.from_array(np.ones(1, kind), name)
        for kind, name in ((np.float32, "s"), (np.int64, "i"))
    )
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2**40]))
    refuse(tmp_path, model, "sparse tensors")
    model = network(PLAIN)
    model.graph.node[0].op_type = "\x1b[2J"
    refuse(tmp_path, model, r"the operator '\\x1b\[2J'")


def test_the_number_of_parts_is_bounded(tmp_path: Path) -> None:
    too_many = f"over {MOST_NODES} nodes or {MOST_NODE_BYTES} bytes"
    chain = "\n".join(f"n{k + 1} = Relu (n{k})" for k in range(MOST_NODES + 1))
    refuse(tmp_path, network(chain), too_many)
    wide = ", ".join(["spectrum"] * (MOST_NODE_BYTES // 8))
    refuse(tmp_path, network(f"probabilities = Concat <axis = 0> ({wide})"), too_many)
    tensors = ", ".join(f"int64[1] t{k} = {{1}}" for k in range(MOST_PARTS))
    refuse(tmp_path, network(PLAIN, tensors), f"over {MOST_PARTS} parts")


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


@pytest.mark.parametrize(
    "big",
    [
        "big = ConstantOfShape (shape)",
        "tall = Expand (one, column) wide = Transpose (tall) big = Mul (tall, wide)",
    ],
)
def test_memory_is_bounded(tmp_path: Path, big: str) -> None:
    model = spiked(
        f"{big} extra = ReduceSum <keepdims = 0> (big, axes)",
        "int64[2] shape = {65536, 32768}, int64[2] axes = {0, 1}, "
        "float one = {1}, int64[2] column = {32768, 1}",
    )
    refuse(tmp_path, model, "the network fails on 47 frames .*Available memory of")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < 2 * MOST_MEMORY_BYTES


def test_time_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of products that would take minutes."""
    monkeypatch.setattr(classifier_module, "GOLDEN_TEST_SECONDS", 1.0)
    products = "\n".join(f"n{k + 1} = MatMul (n{k}, n{k})" for k in range(1000))
    model = spiked(
        f"n0 = ConstantOfShape (shape) {products} extra = ReduceSum <keepdims = 0> (n1000, axes)",
        "int64[2] shape = {1500, 1500}, int64[2] axes = {0, 1}",
    )
    started_at = time.monotonic()
    refuse(tmp_path, model, "the network fails on 47 frames.*terminate")
    assert time.monotonic() - started_at < 10.0


def test_a_failure_on_other_lengths_is_an_error(tmp_path: Path) -> None:
    tensors = "int64[3] only = {1, 47, 257}"
    graph = spiked("fixed = Reshape (spectrum, only)", tensors, at=(0, 0))
    card = with_golden(tiny_card(), graph)
    classifier = OnnxClassifier.load(write_graph(tmp_path / "fixed.onnx", graph, card.to_json()))
    with pytest.raises(SerError, match=r"fixed\.onnx: the network fails on 50 frames"):
        classifier.probabilities(np.ones((50, 257), np.float32))


NO_SHARES = "wanted probabilities that sum to 1"


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("probabilities = Identity (logits)", NO_SHARES),
        ("probabilities = Sigmoid (logits)", NO_SHARES),
        ("probabilities = LogSoftmax (logits)", NO_SHARES),
        (
            "two = Concat <axis = 0> (logits, logits) probabilities = Softmax (two)",
            r"numbers of shape \(2, 4\) for 47 frames, wanted \(1, 4\)",
        ),
    ],
)
def test_what_is_no_distribution_is_an_error(tmp_path: Path, nodes: str, message: str) -> None:
    model = tiny_graph(tiny_card())
    del model.graph.node[-1]
    model.graph.node.extend(network(nodes).graph.node)
    refuse(tmp_path, model, message)


def test_names_that_are_no_utf8_are_an_error(tmp_path: Path) -> None:
    data = write_tiny_model(tmp_path / "tiny.onnx").read_bytes()
    for name in (b"spectrum", b"probabilities", b"ser.card"):
        path = tmp_path / "damaged.onnx"
        path.write_bytes(data.replace(name, b"\xff" * len(name)))
        with pytest.raises(SerError, match=r"damaged\.onnx: .* UTF-8"):
            OnnxClassifier.load(path)
    with pytest.raises(SerError, match=r"damaged\.onnx: .* UTF-8"):
        read_card(path)


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


@pytest.mark.parametrize("take", [find_model, OnnxClassifier.load, StreamRecognizer])
@pytest.mark.parametrize("folder", ["", "models/"])
def test_a_keras_file_is_told_how_it_becomes_one_that_runs(
    take: Callable[[str], object], folder: str
) -> None:
    hint = f"{folder}x.keras is a Keras model.* ser-export {folder}x.keras -o {folder}x.onnx$"
    with pytest.raises(SerError, match=hint):
        take(f"{folder}x.keras")
