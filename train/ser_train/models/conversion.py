"""A ``.keras`` file to an ONNX graph with named axes."""

from collections.abc import Sequence
from pathlib import Path

import keras
import onnx
import tensorflow as tf
import tf2onnx

from ser_live.errors import SerError
from ser_live.model.classifier import INPUT_NAME, OUTPUT_NAME
from ser_live.text import sanitize
from ser_train.models.silent_stderr import silent_stderr

OPSET = 17
"""Read by every onnxruntime that ser-live supports."""


def convert(
    model: keras.Model, source: Path, outputs: Sequence[str] = (OUTPUT_NAME,)
) -> onnx.ModelProto:
    """Convert from "spectrum" (batch, frames, bins) to "probabilities" (batch, labels).

    Parameters
    ----------
    model : keras.Model
    source : Path
        Its file, for messages.
    outputs : sequence of str
        Layers whose outputs the graph gives, under their names.

    Raises
    ------
    SerError
        If the model holds something that has no form in ONNX.

    Notes
    -----
    ``tf2onnx.convert.from_keras`` fails with Keras 3; ``from_function`` does not.
    """
    signature = [tf.TensorSpec(model.input_shape, tf.float32, name=INPUT_NAME)]
    named = with_outputs(model, outputs)
    function = tf.function(
        lambda spectrum: named(spectrum, training=False), input_signature=signature
    )
    try:
        with silent_stderr():
            traced = function.get_concrete_function().graph
            graph, _ = tf2onnx.convert.from_function(function, signature, opset=OPSET)
    except Exception as error:  # tf2onnx raises many unrelated types
        raise SerError(
            f"{source}: the model cannot be converted to ONNX ({sanitize(error)})"
        ) from error
    _embed_captures(graph, traced)
    _divide_before_erf(graph)
    _name_axes(graph)
    return graph


def with_outputs(model: keras.Model, names: Sequence[str]) -> keras.Model:
    """Return the model to a dictionary of the outputs of some layers."""
    return keras.Model(model.input, {name: model.get_layer(name).output for name in names})


def count_emulated_dilations(graph: onnx.ModelProto) -> int:
    """Count the nodes for dilations which tf2onnx could not fold into a convolution."""
    return sum("SpaceToBatch" in node.name for node in graph.graph.node)


def _embed_captures(graph: onnx.ModelProto, traced: tf.Graph) -> None:
    """Make constants of the tensors that tf2onnx left as inputs.

    So it does with every tensor of over 128 numbers that is no variable, such as the statistics
    of ``keras.layers.Normalization``.
    """
    values = {inner.name: outer for outer, inner in traced.captures}
    for captured in [value for value in graph.graph.input if value.name in values]:
        array = values[captured.name].numpy()
        graph.graph.initializer.append(onnx.numpy_helper.from_array(array, captured.name))
        graph.graph.input.remove(captured)


def _divide_before_erf(graph: onnx.ModelProto) -> None:
    """Divide by the root of two, by whose inverse TensorFlow's folding of constants multiplies.

    onnxruntime then knows the Gaussian error linear unit and computes it in one step.
    """
    made = {name: node for node in graph.graph.node for name in node.output}
    stored = {tensor.name: tensor for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        before = made.get(node.input[0]) if node.op_type == "Erf" else None
        if before is None or before.op_type != "Mul" or before.input[1] not in stored:
            continue
        factor = onnx.numpy_helper.to_array(stored[before.input[1]])
        divisor = f"{before.output[0]}/divisor"
        graph.graph.initializer.append(onnx.numpy_helper.from_array(1.0 / factor, divisor))
        before.op_type, before.input[1] = "Div", divisor


def _name_axes(graph: onnx.ModelProto) -> None:
    for value in (*graph.graph.input, *graph.graph.output):
        for axis, name in enumerate(
            ("batch", "frames") if value.name == INPUT_NAME else ("batch",)
        ):
            value.type.tensor_type.shape.dim[axis].dim_param = name
