"""What a training says, for tests that read it."""

import io

from rich.console import Console

from ser_train.progress import Reporter


class Notes(Reporter):
    """Remembers what it is told; breaks off like Ctrl-C after some epochs."""

    def __init__(self, break_after: int | None = None) -> None:
        super().__init__(Console(file=io.StringIO()))
        self.notes: list[str] = []
        self._break_after = break_after

    def note(self, text: str) -> None:
        self.notes.append(text)
        if self._break_after and text.startswith(f"epoch {self._break_after}/"):
            raise KeyboardInterrupt
