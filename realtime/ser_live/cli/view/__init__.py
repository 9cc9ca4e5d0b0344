"""The live view: draws what the engine recognizes, four times a second, also while it waits."""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live

from ser_live.cli.view.frame import Frame
from ser_live.cli.view.tracker import Tracker, ViewState
from ser_live.engine.channels import channel_names
from ser_live.live.listener import Listener, LiveStep

_FRAMES_PER_SECOND = 4


class LiveView:
    """Show a listener's steps on the terminal.

    A thread of its own draws, so that a slow terminal never holds up recognition, and the view
    goes on while the source gives nothing.

    Parameters
    ----------
    listener : Listener
        Open.
    notice : str
        A sentence that must not be overlooked, or nothing.
    console : rich.console.Console or None
        None: the terminal.
    clock : callable
        Returns the time in seconds that only grow.
    """

    def __init__(
        self,
        listener: Listener[Any],
        notice: str = "",
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = Console() if console is None else console
        names = channel_names(listener.recognizer) or (None,)
        # Channels that are recognized apart stand one above the other.
        self._trackers = [Tracker(listener, notice, clock, name) for name in names]
        self._in_use = threading.Lock()
        self._drawing = contextlib.ExitStack()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Rows fit already: without a search for places to wrap, a frame costs half.
        height = (options.height or options.size.height) // len(self._trackers)
        for index in range(len(self._trackers)):
            frame = Frame(self.state(index), console, options.update(height=height))
            for row in frame.rows():
                yield from row.render(console, end="\n")

    def __enter__(self) -> Self:
        # Kept nowhere else: a cycle would hold the listener until the interpreter ends.
        live = Live(self, console=self.console, refresh_per_second=_FRAMES_PER_SECOND, screen=True)
        self._drawing.callback(live.stop)  # before the start: Ctrl-C may come in the midst of it
        try:
            live.start(refresh=True)
        except BaseException:
            self._drawing.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._drawing.close()

    def update(self, step: LiveStep) -> None:
        """Take a step; the next frame shows it."""
        with self._in_use:
            for tracker in self._trackers:
                tracker.process(step)

    def state(self, index: int = 0) -> ViewState:
        """Return what the frame of one of the streams would show now."""
        with self._in_use:
            return self._trackers[index].state()
