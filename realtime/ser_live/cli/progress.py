"""Bar of a recording that runs as fast as it can: percentage and time left."""

from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from ser_live.live.listener import Listener, LiveStep

_NAME = Column(ratio=2, no_wrap=True, overflow="ellipsis", min_width=8)
_BAR = Column(ratio=3)


class FileProgress:
    """Show on stderr how far a recording has been recognized, where that is a terminal.

    Parameters
    ----------
    listener : Listener
        Open.
    console : rich.console.Console or None
        None: stderr.
    """

    def __init__(self, listener: Listener[Any], console: Console | None = None) -> None:
        self._source = listener.source
        self._bar = Progress(
            TextColumn("{task.description}", markup=False, table_column=_NAME),
            BarColumn(bar_width=None, table_column=_BAR),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True) if console is None else console,
            expand=True, refresh_per_second=4, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task(listener.source.name, total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, step: LiveStep) -> None:
        """Take a step; the next frame shows it."""
        share = getattr(self._source, "share", None)  # not every source knows it
        if share is not None:
            self._bar.update(self._task, total=1.0, completed=min(1.0, share))
