"""The live view: fits every terminal, keeps its pace, and gives the terminal back."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import soundfile
from rich.cells import cell_len
from rich.color import Color
from rich.console import Console

from helpers.terminal import ESCAPE, drawn, rows_of, terminal
from ser_live import Prediction
from ser_live.cli.view import LiveView, palette
from ser_live.cli.view.headline import letters
from ser_live.events import Event
from ser_live.live.listener import Listener, LiveStep, listen
from ser_live.model.card import SmoothingSpec
from ser_live.output.label_colors import label_colors
from ser_live.sources import DEMO_NOTICE, DEMO_PATH
from ser_live.testing import demo_voice, tiny_card, write_tiny_model

HOME = "\x1b[H"
COLOR = re.compile(r"\x1b\[[0-9;]*[34]8;")
NAMES = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised", "bored")


def view_at(listener: Listener[Prediction], console: Console, seconds: float) -> LiveView:
    """A view of the demo up to some second."""
    view = LiveView(listener, DEMO_NOTICE, console, clock=lambda: 0.0)
    for step in listener.steps():
        view.update(step)
        if step.seconds >= seconds:
            break
    return view


def large(word: str) -> list[str]:
    """Rows of a word in large letters."""
    return [row.rstrip() for row in letters(word, 76, large=False) or ["too long"]]


@pytest.mark.parametrize("labels", [2, 9])
def test_every_frame_fits(half_demo_file: Path, tmp_path: Path, labels: int) -> None:
    model = write_tiny_model(tmp_path / "m.onnx", tiny_card(labels=NAMES[:labels]))
    sizes = [(12, 3), (44, 10), (60, 18), (80, 24), (100, 30), (120, 40), (200, 60)]
    with listen(half_demo_file, model=model) as listener:
        views = [
            LiveView(listener, DEMO_NOTICE, terminal(*size), clock=lambda: 0.0) for size in sizes
        ]
        for number, step in enumerate(listener.steps()):
            for (width, height), view in zip(sizes, views, strict=True):
                view.update(step)
                if number % 5:
                    continue
                rows = rows_of(view)
                assert len(rows) <= height
                assert max(map(cell_len, rows)) <= width
                wanted = ["ser-live", "lost"] if height >= 10 else []
                if wanted and listener.stats.recognizer.seconds > 9:
                    wanted.append("\u2588")
                if height >= 18:
                    wanted += ["frames", "level"]
                if height >= 24:
                    wanted += [DEMO_NOTICE, "latency", "60 s ago"]
                for words in wanted:
                    assert any(words in row for row in rows), words


def test_a_name_cannot_break_the_layout(tiny_model: Path) -> None:
    with listen(DEMO_PATH, model=tiny_model) as listener:
        listener.source.name = "a\x1b[2J\nb\tc " + "\u9ea6" * 90  # type: ignore[misc]
        view = LiveView(listener, "", terminal(80, 24))
        event = Event("model_swapped", 0.0, "a\nb\x1b[1;1H" + "c" * 300)
        view.update(LiveStep((event,), 0.1, 0.05, 1.0))
        text, rows = drawn(view), rows_of(view)
    assert "\x1b[2J" not in text
    assert "\x1b[1;1H" not in text
    assert len(rows) <= 24
    assert max(map(cell_len, rows)) <= 80
    assert any(row.endswith("\u2026") for row in rows)


def test_speech_shows_its_label_bars_and_confidence(tiny_model: Path) -> None:
    with listen(DEMO_PATH, model=tiny_model) as listener:
        view = view_at(listener, terminal(80, 24), 2.75)
        prediction = view.state().prediction
        assert prediction is not None
        assert prediction.label is not None
        text = ESCAPE.sub("", drawn(view))
    assert all(row in text for row in large(prediction.label))
    assert f"confidence {100 * prediction.confidence:.0f} %" in text
    for label, share in (prediction.probabilities or {}).items():
        assert re.search(rf"{label} .* {100 * share:.0f} %", text)
    assert "█" in text


def test_silence_shows_no_shares(tiny_model: Path) -> None:
    with listen(DEMO_PATH, model=tiny_model) as listener:
        text = ESCAPE.sub("", drawn(view_at(listener, terminal(80, 24), 4.9)))
    assert "no speech" in text
    assert " %" not in text


def test_a_guess_has_a_question_mark(tmp_path: Path) -> None:
    never_sure = SmoothingSpec(uncertain_below=1.0)
    model = write_tiny_model(tmp_path / "m.onnx", tiny_card(smoothing=never_sure))
    with listen(DEMO_PATH, model=model) as listener:
        for step in listener.steps():
            for prediction in step.predictions:
                if prediction.state == "uncertain":
                    view = LiveView(listener, "", terminal(80, 24))
                    view.update(step)
                    text = ESCAPE.sub("", drawn(view))
                    assert all(row in text for row in large(f"{prediction.label} ?"))
                    assert "uncertain · confidence" in text
                    return
    raise AssertionError("the tiny model was never unsure")


def test_without_colors_letters_take_their_place(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listen(DEMO_PATH, model=tiny_model) as listener:
        view = view_at(listener, terminal(80, 24), 2.75)
        assert COLOR.search(drawn(view))
        view.console = terminal(80, 24, color_system="standard")
        few = drawn(view)
        monkeypatch.setenv("NO_COLOR", "1")
        view.console = terminal(80, 24)
        none = drawn(view)
    assert not COLOR.search(none)
    for text in (ESCAPE.sub("", few), ESCAPE.sub("", none)):
        for key, label in (("n", "neutral"), ("h", "happy"), ("s", "sad"), ("a", "angry")):
            assert f"{key} {label}" in text
        assert re.search(r"▁[nhsaNHSA]+$", text, re.MULTILINE)


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (120, 40)])
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_the_encoding_cannot_draw_is_not_drawn(
    tiny_model: Path, size: tuple[int, int], encoding: str
) -> None:
    with listen(DEMO_PATH, model=tiny_model) as listener:
        listener.source.name = "Mikrofon für alle 麦克风"  # type: ignore[misc]
        text = ESCAPE.sub("", drawn(view_at(listener, terminal(*size, encoding), 7.0)))
    assert text.isascii()
    assert "confidence" in text
    assert re.search(r"=+-?\.* +\d+ %", text)
    assert re.search(r"_[nhsaNHSA]+\.+_", text)
    assert "Mikrofon f?r alle ???" in text or size[0] == 60


def luminance(color: str) -> float:
    shares = [share / 255 for share in Color.parse(color).get_truecolor()]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_all_colors_are_legible_on_dark_and_light() -> None:
    labels = [*NAMES, "proud", "tired", "amused", "curious"]
    chosen = [*label_colors(labels).values(), *palette.EVENT_COLORS.values(), palette.GREY]
    for color in chosen:
        for background in ("#ffffff", "#16191f"):
            low, high = sorted((luminance(color), luminance(background)))
            assert (high + 0.05) / (low + 0.05) >= 3.0, (color, background)


def test_unknown_labels_have_colors_of_their_own() -> None:
    chosen = label_colors(["happy", "bored", "proud"])
    assert len(set(chosen.values())) == 3


def test_a_word_that_does_not_fit_or_has_no_letters_is_not_drawn_large() -> None:
    assert letters("warm-up ?", 200, large=True) is not None
    assert letters("neutral", 5, large=False) is None
    assert letters("\u00fcberrascht", 200, large=False) is None


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, command: list[str], environment: dict[str, str], stdin: int) -> None:
        self.leader, follower = pty.openpty()
        self.resize(80, 24)
        sizes = ("COLUMNS", "LINES")  # would count more than the terminal's
        environment = {name: value for name, value in environment.items() if name not in sizes}
        self.process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=follower,
            stderr=subprocess.PIPE,
            env={**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            start_new_session=True,
        )
        os.close(follower)
        self.seen = b""

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.leader, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def read(self, seconds: float, until: str | None = None) -> None:
        """Read for so long, or until the screen shows some text."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self.leader], [], [], left)[0]:
                return
            try:
                data = os.read(self.leader, 1 << 16)
            except OSError:  # the other side has closed it
                return
            if not data:
                return
            self.seen += data
            if until is not None and until in self.frame:
                return

    @property
    def frames(self) -> list[str]:
        """Frames that were drawn whole so far."""
        return [ESCAPE.sub("", frame) for frame in self.seen.decode(errors="replace").split(HOME)]

    @property
    def frame(self) -> str:
        return self.frames[-1]

    def end(self) -> tuple[int, str]:
        """Wait for the process; give its exit code and stderr."""
        self.read(20.0)
        err = self.process.stderr.read().decode() if self.process.stderr else ""
        exit_code = self.process.wait(timeout=10)
        os.close(self.leader)
        return exit_code, err


@pytest.mark.integration
def test_the_view_goes_on_while_a_pipe_is_quiet_and_gives_the_terminal_back(
    tiny_model: Path, environment: dict[str, str]
) -> None:
    out, into = os.pipe()
    command = [sys.executable, "-m", "ser_live", "--model", str(tiny_model), "--stdin"]
    screen = Terminal(command, environment, stdin=out)
    os.close(out)
    samples = (demo_voice()[: 16000 * 3] * 32767).astype("<i2")
    os.write(into, samples.tobytes()[:60000])
    screen.read(30.0, until="no audio for 2 s")
    began_at, frames = time.monotonic(), len(screen.frames)
    screen.read(20.0, until="no audio for 4 s")
    rate = (len(screen.frames) - frames) / (time.monotonic() - began_at)
    assert "no audio for 4 s" in screen.frame
    assert rate <= 4.5
    screen.resize(60, 18)
    deadline = time.monotonic() + 20.0
    while len(rows := screen.frames[-2].split("\r\n")) != 18:
        assert time.monotonic() < deadline, rows
        screen.read(0.5)
    assert max(map(cell_len, rows)) == 60
    screen.process.send_signal(signal.SIGINT)
    exit_code, err = screen.end()
    os.close(into)
    assert exit_code == 130, err
    for code in ("\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"):
        assert code in screen.seen.decode()
    assert "1.9 s of stdin" in err
    assert "Traceback" not in err


@pytest.mark.integration
def test_a_terminal_that_hangs_up_ends_the_view_but_not_a_file(
    tmp_path: Path, tiny_model: Path, environment: dict[str, str]
) -> None:
    soundfile.write(tmp_path / "a.wav", demo_voice()[: 4 * 16000], 16000)
    command = [sys.executable, "-m", "ser_live", "--model", str(tiny_model), "--pace", "realtime"]
    for words, rows in ([], 0), (["--output", str(tmp_path / "a.csv")], 17):
        screen = Terminal(
            [*command, str(tmp_path / "a.wav"), *words], environment, stdin=subprocess.DEVNULL
        )
        screen.read(30.0, until="frames")
        os.close(screen.leader)
        _, err = screen.process.communicate(timeout=60)
        assert screen.process.returncode == 2
        assert b"stdout: cannot write on (Input/output error)" in err
        assert b"Traceback" not in err
        assert (b"length   4.0 s" in err) == bool(rows)
    assert len((tmp_path / "a.csv").read_text().splitlines()) == rows
