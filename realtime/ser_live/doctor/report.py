"""The report: lines with marks for people, or one JSON document without their names."""

import contextlib
import getpass
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ser_live import __version__
from ser_live.doctor.finding import Finding, Verdict

if TYPE_CHECKING:
    from rich.console import Console

# Mark, its replacement in ASCII, and style.
_MARKS: dict[Verdict | None, tuple[str, str, str]] = {
    "ok": ("✓", "+", "green"),
    "warning": ("!", "!", "bold yellow"),
    "problem": ("✗", "x", "bold red"),
    "skipped": ("-", "-", "dim"),
    None: ("", "", "bold"),
}
_NAME_WIDTH = 18


class Report:
    """Print findings as they come, or all of them at the end as JSON.

    Parameters
    ----------
    stream : file
        Receives the report; in colours if it is a terminal.
    progress : file
        Receives the progress of a JSON report, whose own stream holds the document alone.
    is_json : bool
        Wait for the end: a document is whole or not there.
    """

    def __init__(self, stream: TextIO, progress: TextIO, is_json: bool) -> None:
        self._stream = stream
        self._is_json = is_json
        self._console = _console(progress if is_json else stream) if stream.isatty() else None
        self._is_ascii = is_json or _shown("✓✗", stream).isascii()

    def waiting(self, hint: str) -> AbstractContextManager[object]:
        """Show a hint while a check runs, on a terminal."""
        if self._console is None or not hint:
            return contextlib.nullcontext()
        return self._console.status(f"{hint} ...", spinner="line" if self._is_ascii else "dots")

    def add(self, finding: Finding) -> None:
        """Print a finding at once, unless JSON is wanted."""
        if self._is_json:
            return
        self._line(finding.verdict, finding.name, finding.finding)
        if finding.remedy is not None:
            self._line(None, "", f"{'->' if self._is_ascii else '→'} {finding.remedy}")

    def finish(self, findings: Sequence[Finding]) -> None:
        """Print the verdict in one line, or the JSON document."""
        counts = Counter(finding.verdict for finding in findings)
        severities: tuple[Verdict, ...] = ("problem", "warning")
        worst = [verdict for verdict in severities if counts[verdict]]
        verdict: Verdict = worst[0] if worst else "ok"
        if self._is_json:
            document = {
                "ser_live": __version__,
                "verdict": verdict,
                "findings": [without_names(asdict(finding)) for finding in findings],
            }
            print(json.dumps(document, indent=2), file=self._stream, flush=True)
            return
        parts = [f"{counts[v]} {v}{'s' if counts[v] > 1 else ''}" for v in worst]
        sentence = " and ".join(parts) if parts else "everything that was checked is in order"
        self._line(verdict, "verdict", sentence)

    def _line(self, verdict: Verdict | None, name: str, sentence: str) -> None:
        """Print a row of three columns; a remedy has no verdict."""
        mark, in_ascii, style = _MARKS[verdict]
        mark = in_ascii if self._is_ascii else mark
        name, sentence = _shown(name, self._stream), _shown(sentence, self._stream)
        if self._console is None:
            line = f"{mark:1} {name:{_NAME_WIDTH}} {sentence}"
            print(line.rstrip(), file=self._stream, flush=True)
            return
        from rich.table import Table  # noqa: PLC0415 - the console is there, so rich is
        from rich.text import Text  # noqa: PLC0415

        row = Table.grid(padding=(0, 1))
        row.add_column(width=1)
        row.add_column(width=_NAME_WIDTH, overflow="fold")
        row.add_column(overflow="fold")
        row.add_row(Text(mark, style), Text(name), Text(sentence, "" if mark else style))
        self._console.print(row)


def without_names(value: object) -> object:
    """Replace the home folder by ``~`` and the user's name by ``USER`` in every string.

    Parameters
    ----------
    value : object
        Plain JSON values: strings, numbers, lists, tuples and dicts.
    """
    if isinstance(value, str):
        for pattern, replacement in _private_patterns():
            value = re.sub(pattern, replacement, value, flags=re.IGNORECASE)
        return value
    if isinstance(value, dict):
        return {key: without_names(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_names(item) for item in value]
    return value


def _private_patterns() -> list[tuple[str, str]]:
    """Return the home folder, as it is called with and without links, and the user's name."""
    patterns = []
    with contextlib.suppress(RuntimeError, OSError):  # a container's made-up user has no home
        home = Path.home()
        homes = {str(home), str(home.resolve())} - {home.anchor}
        patterns = [
            (rf"(?<!\w){re.escape(path)}(?![\w-])", "~")
            for path in sorted(homes, key=len, reverse=True)
        ]
    with contextlib.suppress(OSError, KeyError, ImportError):
        name = re.escape(getpass.getuser())
        # In paths alone: a user's name may be an ordinary word of a sentence.
        patterns.append((rf"(?<=[/\\])([^/\\\s]*?)(?<![^\W_]){name}(?![^\W_])", r"\1USER"))
    return patterns


def _console(stream: TextIO) -> "Console | None":
    """Return a console for a terminal that can more than lines; None for everything else."""
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return None
    try:
        from rich.console import Console  # noqa: PLC0415 - a pipe needs no rich
    except Exception:  # a broken rich is one of the findings
        return None
    return Console(file=stream, highlight=False, emoji=False, markup=False)


def _shown(text: str, stream: TextIO) -> str:
    """Replace what a stream cannot show: device names, paths and errors may hold anything."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    encoding = stream.encoding or "ascii"
    return printable.encode(encoding, "replace").decode(encoding)
