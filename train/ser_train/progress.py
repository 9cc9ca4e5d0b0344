"""Progress bars, notes and warnings, all on stderr, and what an epoch gave."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


class Reporter:
    """Show progress bars, notes and warnings.

    Parameters
    ----------
    console : Console, optional
        For tests; stderr otherwise.
    logs : bool
        Trainings also keep a log of their epochs beside the checkpoint.
    """

    def __init__(self, console: "Console | None" = None, logs: bool = False) -> None:
        from rich.console import Console  # noqa: PLC0415 - --help needs no rich

        self.logs = logs
        self._console = console or Console(stderr=True, highlight=False)

    def note(self, text: str) -> None:
        """Print a line."""
        from rich.markup import escape  # noqa: PLC0415

        self._console.print(escape(text), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a line on a likely mistake."""
        self.note(f"warning: {text}")

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        """Show a bar of ``total`` steps and yield the function to call after each."""
        from rich import progress  # noqa: PLC0415

        with progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        ) as bar:
            task = bar.add_task(what, total=total)
            yield lambda: bar.advance(task)


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """Loss and validation figures of one epoch."""

    loss: float
    validation_uar: float | None
    """None without validation speakers."""
    validation_nll: float | None

    def rounded(self, digits: int) -> "EpochRecord":
        """Return the same with fewer digits, for a file that people read."""
        uar, nll = (
            None if value is None else round(value, digits)
            for value in (self.validation_uar, self.validation_nll)
        )
        return EpochRecord(round(self.loss, digits), uar, nll)
