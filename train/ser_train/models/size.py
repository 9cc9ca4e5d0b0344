"""Size of a network: its parameters, and the work of one window."""

from dataclasses import dataclass
from typing import Any

from ser_live.model.card import SAMPLE_RATE_HZ, SpectrumSpec, WindowSpec
from ser_train.models.silent_stderr import silent_stderr

_COUNTED = ("Conv2D", "Conv3D", "DepthwiseConv2dNative", "MatMul", "BatchMatMul", "BatchMatMulV2")
_UNCOUNTED = ("Einsum", "While", "StatelessWhile", "PartitionedCall", "StatefulPartitionedCall")
"""Operations that hide products from the profiler."""


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Parameters and multiply-adds of a network."""

    parameters: int
    multiply_adds: int | None
    """For the longest window; None: it has operations that cannot be counted."""


def measure_size(model: Any, spectrum: SpectrumSpec, window: WindowSpec) -> ModelSize:
    """Count parameters, and the multiply-adds of convolutions and matrix products for one window.

    TensorFlow's profiler counts them in the traced graph, from the shapes of one window; it has
    two operations for each. The spectrum before the network is not in it.
    """
    import tensorflow as tf  # noqa: PLC0415 - takes seconds

    frames = spectrum.frames_in(round(window.seconds * SAMPLE_RATE_HZ))
    window_of = tf.TensorSpec((1, frames, spectrum.bins))
    profiler, parameters = tf.compat.v1.profiler, int(model.count_params())
    kinds = profiler.ProfileOptionBuilder
    with silent_stderr():
        function = tf.function(lambda x: model(x, training=False), input_signature=[window_of])
        graph = function.get_concrete_function().graph
        if any(operation.type in _UNCOUNTED for operation in graph.get_operations()):
            return ModelSize(parameters, None)
        builder = kinds(kinds.float_operation()).with_accounted_types([*_COUNTED])
        found = profiler.profile(graph, options=builder.with_empty_output().build())
    return ModelSize(parameters, int(found.total_float_ops) // 2)
