"""Libraries that write to stderr before any of their settings, kept silent."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere for the length of a block.

    TensorFlow's C++ side announces CUDA, oneDNN and processor features there at import and at
    first use, whatever ``TF_CPP_MIN_LOG_LEVEL`` says. Exceptions pass through as ever.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
