"""Draw docs/live-view.svg: ``python docs/make_live_view.py`` runs the demo by the clock."""

import argparse
import io
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from ser_live.console import LiveView
from ser_live.live import listen
from ser_live.sources import DEMO_NOTICE, DEMO_PATH, FileSource

SIZE = (84, 24)
AT_SECONDS = 17.25
THEME = TerminalTheme((22, 25, 31), (214, 219, 226), [(40, 44, 52)] * 8, [(90, 96, 106)] * 8)


def main() -> None:
    """Run the demo up to its last utterance and export what the terminal would show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="default: the shipped one")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("live-view.svg"))
    arguments = parser.parse_args()
    console = Console(
        record=True,
        file=io.StringIO(),
        width=SIZE[0],
        height=SIZE[1],
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
    )
    with listen(FileSource(DEMO_PATH, "realtime"), model=arguments.model) as listener:
        view = LiveView(listener, DEMO_NOTICE, console)
        for step in listener.steps():
            view.update(step)
            if step.seconds >= AT_SECONDS and step.predictions:
                break
        console.print(view, end="")
    console.save_svg(str(arguments.out), title="ser-live --demo", theme=THEME)


if __name__ == "__main__":
    main()
