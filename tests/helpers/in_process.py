"""Run a command within this process: what it prints, and its exit code."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable
from typing import IO
from unittest import mock

from ser_live.cli.main import main


class Stream(io.TextIOWrapper):
    """A stream with an encoding, that may say it is a terminal."""

    def __init__(self, encoding: str = "utf-8", is_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding, write_through=True)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def text(self) -> str:
        data: bytes = self.buffer.getvalue()  # type: ignore[attr-defined]
        return data.decode(self.encoding)


def call(
    *arguments: object,
    stdin: bytes | IO[str] | None = b"",
    encoding: str = "utf-8",
    is_terminal: bool = False,
    main: Callable[[list[str]], int] = main,
) -> "subprocess.CompletedProcess[str]":
    """Run ser-live, or another ``main``; on a terminal stdout receives what goes to stderr, too."""
    words = [*map(str, arguments)]
    out = Stream(encoding, is_terminal)
    err = out if is_terminal else Stream(encoding)
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
    return subprocess.CompletedProcess(words, code, out.text(), err.text())


def error_of(done: "subprocess.CompletedProcess[str]", tool: str = "ser-live") -> str:
    """Return the one line that a mistake gets."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith(f"{tool}: error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr
