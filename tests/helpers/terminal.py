"""A terminal that is read back."""

import io
import re

from rich.console import Console

from ser_live.cli.view import LiveView

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def terminal(width: int, height: int, encoding: str = "utf-8", **options: object) -> Console:
    file = io.TextIOWrapper(io.BytesIO(), encoding, write_through=True)
    wanted = {"color_system": "truecolor", "force_terminal": True, **options}
    return Console(file=file, width=width, height=height, **wanted)  # type: ignore[arg-type]


def drawn(view: LiveView) -> str:
    """Text that the terminal is sent, through its encoding."""
    file = view.console.file
    assert isinstance(file, io.TextIOWrapper)
    file.seek(0)
    file.truncate()
    view.console.print(view, end="")
    file.seek(0)
    return file.read()


def rows_of(view: LiveView) -> list[str]:
    """Rows of a frame without their styles."""
    return ESCAPE.sub("", drawn(view)).removesuffix("\n").split("\n")
