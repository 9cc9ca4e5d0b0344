"""onnxruntime sessions that leave the machine alone while they wait."""

import onnxruntime

from ser_live.errors import SerError


def open_session(model: bytes, where: str) -> onnxruntime.InferenceSession:
    """Load a graph for one thread without spinning.

    Parameters
    ----------
    model : bytes
        The serialized graph. Bytes, not a path: so a file cannot name external data outside
        itself.
    where : str
        Name of the file, for messages.

    Raises
    ------
    SerError
        If onnxruntime does not accept the graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen unrelated types
        reason = " ".join(str(error).split())[:200]
        raise SerError(
            f"{where}: not a model that onnxruntime can load ({reason}); "
            "the file may be truncated: export or download it again"
        ) from error
