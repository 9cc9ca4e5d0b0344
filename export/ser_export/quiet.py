"""Silence for libraries that write to the process's stderr past Python."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2


@contextmanager
def quiet() -> Iterator[None]:
    """Send file descriptor 2 to nowhere for the length of a block.

    TensorFlow's C++ side announces CUDA, oneDNN and processor features there at import and at
    first use, whatever ``TF_CPP_MIN_LOG_LEVEL`` says. Exceptions pass through as ever.
    """
    sys.stderr.flush()
    kept = os.dup(_STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STDERR)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, _STDERR)
        os.close(nowhere)
        os.close(kept)
