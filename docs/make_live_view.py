"""Draw docs/live-view*.svg: ``python docs/make_live_view.py`` takes a minute, by the clock."""

import argparse
import io
import threading
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from ser_live.cli.view import LiveView
from ser_live.cli.view.tracker import ViewState
from ser_live.live.listener import listen
from ser_live.sources import DEMO_NOTICE, DEMO_PATH, FileSource, Source
from ser_live.sources.microphone import SystemClock
from ser_live.testing import FakeMicrophone, Unplug, demo_voice

SIZE = (84, 24)
AT_SECONDS = 17.25
AWAY_SECONDS = 12.5
LOOK_SECONDS = 0.05
THEME = TerminalTheme((22, 25, 31), (214, 219, 226), [(40, 44, 52)] * 8, [(90, 96, 106)] * 8)


def main() -> None:
    """Draw the demo's last utterance, and a microphone that was pulled out in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="default: the shipped one")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder")
    arguments = parser.parse_args()
    demo = FileSource(DEMO_PATH, "realtime")
    shown = picture(demo, arguments.model, DEMO_NOTICE, lambda s: s.seconds >= AT_SECONDS)
    save(shown, arguments.out / "live-view.svg", "ser-live --demo")
    microphone = FakeMicrophone(
        demo_voice(48000),
        [Unplug(AT_SECONDS, 10 * AWAY_SECONDS)],
        sample_rate_hz=48000,
        clock=SystemClock(),
        name="USB microphone",
    )
    shown = picture(microphone, arguments.model, "", lambda s: s.away_seconds >= AWAY_SECONDS)
    save(shown, arguments.out / "live-view-lost.svg", "ser-live")


def picture(
    source: Source, model: str | None, notice: str, is_it: Callable[[ViewState], bool]
) -> Console:
    """Listen until the view shows what is wanted, and print that frame on a recording console."""
    console = Console(
        record=True,
        file=io.StringIO(),
        width=SIZE[0],
        height=SIZE[1],
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
    )
    with listen(source, model=model) as listener:
        view = LiveView(listener, notice, console)

        def follow() -> None:
            for step in listener.steps():
                view.update(step)

        threading.Thread(target=follow).start()
        while not is_it(view.state()):
            threading.Event().wait(LOOK_SECONDS)
        console.print(view, end="")
    return console


def save(console: Console, path: Path, title: str) -> None:
    """Write what was printed as SVG."""
    console.save_svg(str(path), title=title, theme=THEME)


if __name__ == "__main__":
    main()
