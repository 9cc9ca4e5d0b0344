"""onnxruntime sessions of one thread and bounded memory, for files of any origin."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import onnxruntime

from ser_live.errors import SerError
from ser_live.model.onnx_check import check_graph
from ser_live.text import sanitize

MOST_MEMORY_BYTES = 2**30
"""Of the weights and intermediate results of all sessions together."""

_NOISE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |/\S+\.(cc|h):\d+ .*?\)( const)? ")
_OPTIONS = {
    "session.intra_op.allow_spinning": "0",
    "session.inter_op.allow_spinning": "0",
    "session.use_env_allocators": "1",
    # Otherwise the bytes themselves may say that they are of another format.
    "session.load_model_format": "ONNX",
}


def open_session(model: bytes, where: str) -> onnxruntime.InferenceSession:
    """Load a graph for one thread without spinning.

    Parameters
    ----------
    model : bytes
        The serialized graph; it passes `check_graph` first.
    where : str
        Name of the file, for messages.

    Raises
    ------
    SerError
        If the graph is more than a plain network, or onnxruntime does not accept it.
    """
    check_graph(model, where)
    _limit_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    for key, value in _OPTIONS.items():
        options.add_session_config_entry(key, value)
    try:
        return onnxruntime.InferenceSession(
            model,
            options,
            providers=["CPUExecutionProvider"],
            # It would compute parts of the graph while it loads, where nothing can stop it.
            disabled_optimizers=["ConstantFolding"],
        )
    except Exception as error:  # onnxruntime raises a dozen unrelated types
        raise SerError(
            f"{where}: onnxruntime cannot load the graph ({reason(error)}); "
            "export or download the model again"
        ) from error


def reason(error: Exception) -> str:
    """Return onnxruntime's message without its code numbers and places in its source."""
    return sanitize(_NOISE.sub("", str(error)))


@contextmanager
def stopping_after(seconds: float) -> Iterator[onnxruntime.RunOptions]:
    """Yield options for runs that end with an error after so many seconds.

    Nothing stops inside of a node, so it may take longer.
    """
    options = onnxruntime.RunOptions()
    timer = threading.Timer(seconds, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield options
    finally:
        timer.cancel()


@cache
def _limit_memory() -> None:
    """Let all our sessions share one arena that does not grow beyond a limit.

    A graph of some hundred bytes may ask for any amount.
    """
    limits = onnxruntime.OrtArenaCfg({"max_mem": MOST_MEMORY_BYTES})
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu",
        onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
        0,
        onnxruntime.OrtMemType.DEFAULT,
    )
    with suppress(Exception):  # the program around us has made one already: it decides
        onnxruntime.create_and_register_allocator(memory, limits)
