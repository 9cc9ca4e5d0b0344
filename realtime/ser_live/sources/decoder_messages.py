"""Messages that a decoder prints on stderr by itself, as log records."""

import contextlib
import functools
import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from typing import IO

from ser_live.text import sanitize

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_STDERR = 2
_DECODER = re.compile(rb"mpg123|^(Note|Warning): ")


@functools.cache
def _file() -> IO[bytes]:
    # No pipe: a process that starts meanwhile may keep it as its stderr, and must not wait for us.
    return tempfile.TemporaryFile()


@contextlib.contextmanager
def logged_messages() -> Iterator[None]:
    """Let what mpg123 prints on stderr become log records, for the length of a call.

    It prints what is wrong with each damaged frame, and libsndfile cannot tell it not to. What
    other threads write meanwhile comes a little later.
    """
    with _lock:
        file = _file()
        try:
            stderr = os.dup(_STDERR)
        except OSError:  # it is closed
            yield
            return
        os.dup2(file.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(stderr, _STDERR)
            os.close(stderr)
            file.seek(0)
            lines = file.readlines()
            if lines:
                file.seek(0)
                file.truncate()
            for line in lines:
                if _DECODER.search(line):
                    _log.debug("%s", sanitize(line.decode(errors="replace").strip()))
                else:
                    with contextlib.suppress(OSError):
                        os.write(_STDERR, line)
