"""Run ser-live within this process: what it prints, and its exit code."""

import contextlib
import io
import subprocess
import sys
from typing import IO
from unittest import mock

from ser_live.cli.main import main


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def call(
    *arguments: object, stdin: bytes | IO[str] | None = b"", terminal: Terminal | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run the command; a terminal, if there is one, receives stdout and stderr."""
    words = [*map(str, arguments)]
    out, err = terminal or io.StringIO(), terminal or io.StringIO()
    if isinstance(stdin, bytes):
        stdin = io.TextIOWrapper(io.BytesIO(stdin))
    with (
        mock.patch.object(sys, "stdin", stdin),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code = main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
