"""Progress of a run over many files: a bar on a terminal, else a line now and then."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from ser_live.batch.journal import version_of
from ser_live.batch.worker import FileResult
from ser_live.text import sanitize

_LINE_SECONDS = 30.0
_MOST_COMPLAINTS = 10


class BatchProgress:
    """Files that are done, seconds of audio per second, and the time left, on stderr.

    Parameters
    ----------
    program : str
        Stands before each line.
    files : sequence of str
        Files to do; the time left is estimated by their sizes.
    clock : callable
        Returns the time in seconds.
    """

    def __init__(
        self,
        program: str,
        files: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._program = program
        self._sizes = {file: (version_of(file) or (0, 0))[0] for file in files}
        self._size_bytes = sum(self._sizes.values())
        self._clock = clock
        self._began_at = self._told_at = clock()
        self._done = self._done_bytes = self._complaints = 0
        self._audio_seconds = 0.0
        self.failed = 0
        console = Console(stderr=True, highlight=False)
        self._has_bar = console.is_terminal and not console.is_dumb_terminal
        columns = (BarColumn(), TextColumn("{task.description}", markup=False))
        self._bar = Progress(
            *columns, console=console, refresh_per_second=2, transient=True,
            disable=not self._has_bar,
        )  # fmt: skip
        self._task: TaskID = self._bar.add_task(self._status(), total=max(1, self._size_bytes))

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def add(self, result: FileResult) -> None:
        """Count a file, and tell what is wrong with it."""
        self._done += 1
        self._done_bytes += self._sizes[result.path]
        recognition = result.recognition
        if recognition is None:
            self.failed += 1
            self._complain(f"{sanitize(result.path)}: {result.error}")
        else:
            self._audio_seconds += recognition.audio_seconds
            for note in recognition.notes:
                self._complain(f"note: {note}")
        self._bar.update(self._task, completed=self._done_bytes, description=self._status())
        if not self._has_bar and self._clock() - self._told_at >= _LINE_SECONDS:
            self._told_at = self._clock()
            self.say(self._status())

    def say(self, text: str) -> None:
        """Print a line, above the bar."""
        self._bar.console.print(f"{self._program}: {text}", markup=False, soft_wrap=True)

    def closing_line(self) -> str:
        """Return what was done, in a line."""
        elapsed = self._clock() - self._began_at
        audio = f"{self._audio_seconds:.0f} s of audio in {elapsed:.0f} s"
        return f"{self._done} of {len(self._sizes)} files done, {self.failed} failed; {audio}"

    def _status(self) -> str:
        elapsed = self._clock() - self._began_at
        words = [f"{self._done} of {len(self._sizes)} files"]
        words += [f"{self.failed} failed"] if self.failed else []
        if self._done_bytes and elapsed > 0.0:
            left = elapsed * (self._size_bytes - self._done_bytes) / self._done_bytes
            words.append(f"{self._audio_seconds / elapsed:.0f} s of audio per second")
            words.append(f"{timedelta(seconds=round(left))} left")
        return ", ".join(words)

    def _complain(self, text: str) -> None:
        self._complaints += 1
        if self._complaints <= _MOST_COMPLAINTS:
            self.say(text)
        elif self._complaints == _MOST_COMPLAINTS + 1:
            self.say("more is wrong with files; it is not told here")
