"""Notes of a training, for tests that read them."""

import io

from rich.console import Console

from ser_train.progress import Reporter


class Notes(Reporter):
    """Remembers what it is told; breaks off like Ctrl-C at a line that begins as told."""

    def __init__(self, break_at: str = "") -> None:
        super().__init__(Console(file=io.StringIO()))
        self.notes: list[str] = []
        self._break_at = break_at

    def note(self, text: str) -> None:
        self.notes.append(text)
        if self._break_at and text.startswith(self._break_at):
            raise KeyboardInterrupt
