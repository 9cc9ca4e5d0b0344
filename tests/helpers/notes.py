"""Notes of a training, for tests that read them."""

import io

from rich.console import Console

from ser_train.progress import Reporter


class Notes(Reporter):
    """Remembers what it is told; breaks off like Ctrl-C at a line that begins as told.

    That is the first such line after one that begins with ``after``.
    """

    def __init__(self, break_at: str = "", after: str = "") -> None:
        super().__init__(Console(file=io.StringIO()))
        self.notes: list[str] = []
        self._break_at = break_at
        self._after = after
        self._waits = True

    def note(self, text: str) -> None:
        self.notes.append(text)
        self._waits = self._waits and not text.startswith(self._after)
        if self._break_at and not self._waits and text.startswith(self._break_at):
            raise KeyboardInterrupt


def ignore(text: str) -> None:
    pass
