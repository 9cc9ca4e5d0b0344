"""What people and programs read: lines with marks, or one JSON document."""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol, TextIO

from ser_live import __version__
from ser_live.doctor.finding import Finding, Verdict
from ser_live.doctor.privacy import without_names

if TYPE_CHECKING:
    from rich.console import Console

_MARKS: dict[Verdict, str] = {"ok": "✓", "warning": "!", "problem": "✗", "skipped": "-"}
_ASCII_MARKS: dict[Verdict, str] = {"ok": "+", "warning": "!", "problem": "x", "skipped": "-"}
_STYLES: dict[Verdict, str] = {
    "ok": "green",
    "warning": "bold yellow",
    "problem": "bold red",
    "skipped": "dim",
}
_NAME_WIDTH = 18


class Report(Protocol):
    """Where findings go."""

    def waiting(self, hint: str) -> AbstractContextManager[object]:
        """Tell a person who watches what is going on."""
        ...

    def add(self, finding: Finding) -> None:
        """Show a finding, now or at the end."""
        ...

    def finish(self, findings: Sequence[Finding]) -> None:
        """Show the verdict."""
        ...


class TextReport:
    """One line per finding, remedies under it; in colours on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console = _console(stream)
        self._is_plain = not _can_show(stream, "".join(_MARKS.values()))
        self._marks = _ASCII_MARKS if self._is_plain else _MARKS

    def waiting(self, hint: str) -> AbstractContextManager[object]:
        """Show a hint while a check runs, on a terminal."""
        return _status(self._console, hint, self._is_plain)

    def add(self, finding: Finding) -> None:
        """Show a finding at once."""
        mark = self._marks[finding.verdict]
        self._line(mark, finding.name, finding.finding, _STYLES[finding.verdict])
        if finding.remedy is not None:
            self._line("", "", f"{'->' if self._is_plain else '→'} {finding.remedy}", "bold")

    def finish(self, findings: Sequence[Finding]) -> None:
        """Show the verdict in one line."""
        counts = Counter(finding.verdict for finding in findings)
        worst = verdict_of(findings)
        parts = [
            f"{counts[verdict]} {verdict}{'s' if counts[verdict] > 1 else ''}"
            for verdict in ("problem", "warning")
            if counts[verdict]
        ]
        words = " and ".join(parts) if parts else "everything that was checked is in order"
        self._line(self._marks[worst], "verdict", words, _STYLES[worst])

    def _line(self, mark: str, name: str, words: str, style: str) -> None:
        name, words = self._shown(name), self._shown(words)
        if self._console is None:
            print(f"{mark:1} {name:{_NAME_WIDTH}} {words}".rstrip(), file=self._stream, flush=True)
            return
        from rich.table import Table  # noqa: PLC0415 - the console is there, so rich is
        from rich.text import Text  # noqa: PLC0415

        row = Table.grid(padding=(0, 1))
        row.add_column(width=1)
        row.add_column(width=_NAME_WIDTH, overflow="fold")
        row.add_column(overflow="fold")
        row.add_row(Text(mark, style), Text(name), Text(words, "" if mark else style))
        self._console.print(row)

    def _shown(self, text: str) -> str:
        """Make a text harmless that files, devices and libraries had a part in."""
        printable = "".join(letter if letter.isprintable() else "?" for letter in text)
        encoding = self._stream.encoding or "ascii"
        return printable.encode(encoding, "replace").decode(encoding)


class JsonReport:
    """One JSON document at the end, without the user's name and folders."""

    def __init__(self, stream: TextIO, progress: TextIO) -> None:
        self._stream = stream
        # A person who watches a document being made sees the progress beside it.
        self._console = _console(progress) if stream.isatty() else None

    def waiting(self, hint: str) -> AbstractContextManager[object]:
        """Show a hint while a check runs, on a terminal."""
        return _status(self._console, hint, is_plain=True)

    def add(self, finding: Finding) -> None:
        """Nothing yet: a document is whole or not there."""

    def finish(self, findings: Sequence[Finding]) -> None:
        """Write the document."""
        document = {
            "ser_live": __version__,
            "verdict": verdict_of(findings),
            "findings": [without_names(asdict(finding)) for finding in findings],
        }
        print(json.dumps(document, indent=2), file=self._stream, flush=True)


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """Give the worst verdict; what was skipped says nothing."""
    verdicts = {finding.verdict for finding in findings}
    worst: tuple[Verdict, ...] = ("problem", "warning")
    return next((verdict for verdict in worst if verdict in verdicts), "ok")


def _console(stream: TextIO) -> "Console | None":
    """Give a console for a terminal that can more than lines; None for everything else."""
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return None
    try:
        from rich.console import Console  # noqa: PLC0415 - a pipe needs no rich
    except Exception:  # a broken rich is one of the findings
        return None
    return Console(file=stream, highlight=False, emoji=False, markup=False)


def _status(console: "Console | None", hint: str, is_plain: bool) -> AbstractContextManager[object]:
    if console is None or not hint:
        return contextlib.nullcontext()
    return console.status(f"{hint} ...", spinner="line" if is_plain else "dots")


def _can_show(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
