"""The live view: fits every terminal, keeps its pace, and gives the terminal back."""

import fcntl
import io
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
from rich.cells import cell_len
from rich.console import Console

from ser_live import Prediction
from ser_live.console import Frame, LiveView, colors
from ser_live.lettering import letters
from ser_live.live import Listener, LiveStep, listen
from ser_live.sources import DEMO_NOTICE, DEMO_PATH
from tiny_models import tiny_card, write_model

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOR = re.compile(r"\x1b\[[0-9;]*[34]8;")


def terminal(width: int, height: int, **options: object) -> Console:
    return Console(
        file=io.StringIO(),
        width=width,
        height=height,
        force_terminal=True,
        color_system="truecolor",
        **options,  # type: ignore[arg-type]
    )


def drawn(view: LiveView) -> str:
    file = view.console.file
    assert isinstance(file, io.StringIO)
    file.seek(0)
    file.truncate()
    view.console.print(Frame(view.state()))
    return file.getvalue()


def heard(listener: Listener[Prediction], console: Console, seconds: float) -> LiveView:
    """A view of the demo up to some second."""
    view = LiveView(listener, DEMO_NOTICE, console)
    for step in listener.steps():
        view.hear(step)
        if step.seconds >= seconds:
            break
    return view


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (100, 30), (120, 40), (200, 60)])
@pytest.mark.parametrize("labels", [2, 8])
def test_every_frame_fits(tmp_path: Path, size: tuple[int, int], labels: int) -> None:
    names = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
    model = write_model(tmp_path / "m.onnx", tiny_card(labels=names[:labels]))
    with listen(DEMO_PATH, model=model) as listener:
        view = LiveView(listener, DEMO_NOTICE, terminal(*size))
        for step in listener.steps():
            view.hear(step)
            rows = ESCAPE.sub("", drawn(view)).rstrip("\n").split("\n")
            assert len(rows) <= size[1]
            assert max(map(cell_len, rows)) <= size[0]
            if size[1] >= 24:
                for words in ("ser-live", DEMO_NOTICE, "latency", "lost", "60 s ago", "level"):
                    assert any(words in row for row in rows), words


def test_speech_shows_its_label_bars_and_confidence(tiny_model: Path) -> None:
    with listen(DEMO_PATH, model=tiny_model) as listener:
        view = heard(listener, terminal(80, 24), 2.75)
        prediction = view.state().prediction
        assert prediction is not None
        assert prediction.label is not None
        text = ESCAPE.sub("", drawn(view))
    for row in letters(prediction.label, 76, large=False) or ["?"]:
        assert row.rstrip() in text
    assert f"confidence {100 * prediction.confidence:.0f} %" in text
    for label, share in (prediction.probabilities or {}).items():
        assert re.search(rf"{label} .* {100 * share:.0f} %", text)
    assert "█" in text


def test_silence_shows_no_shares(tiny_model: Path) -> None:
    with listen(DEMO_PATH, model=tiny_model) as listener:
        text = ESCAPE.sub("", drawn(heard(listener, terminal(80, 24), 4.75)))
    assert "silence · for" in text
    assert " %" not in text


def test_no_color_is_respected_and_letters_take_its_place(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listen(DEMO_PATH, model=tiny_model) as listener:
        view = heard(listener, terminal(80, 24), 2.75)
        assert COLOR.search(drawn(view))
        monkeypatch.setenv("NO_COLOR", "1")
        view.console = terminal(80, 24)
        plain = drawn(view)
    assert not COLOR.search(plain)
    text = ESCAPE.sub("", plain)
    for key, label in (("n", "neutral"), ("h", "happy"), ("s", "sad"), ("a", "angry")):
        assert f"{key} {label}" in text
    assert re.search(r"▁[nhsa]+$", text, re.MULTILINE)


@pytest.mark.parametrize("hop_seconds", [0.05, 0.25, 1.0])
def test_at_most_four_frames_a_second(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, hop_seconds: float
) -> None:
    now = 100.0
    frames: list[float] = []
    monkeypatch.setattr("ser_live.console.time.monotonic", lambda: now)
    with listen(DEMO_PATH, model=tiny_model, hop_seconds=hop_seconds) as listener:
        predictions = list(listener)
        view = LiveView(listener, "", terminal(80, 24))
        monkeypatch.setattr(view._live, "update", lambda *_, **__: frames.append(now))
        for block in range(1, 20 * 19):
            seconds = block / 20
            now = 100.0 + seconds + 0.01 * (block % 3)
            due = tuple(p for p in predictions if seconds - 0.05 < p.end_seconds <= seconds)
            view.update(LiveStep(due, 0.5, 0.5, seconds))
    assert 2.5 <= (len(frames) - 1) / (frames[-1] - frames[0]) <= 4.05


def test_clipping_is_marked_for_a_while(tiny_model: Path) -> None:
    with listen(DEMO_PATH, model=tiny_model) as listener:
        view = LiveView(listener, "", terminal(80, 24))
        steps = listener.steps()
        quiet = next(steps)
        view.hear(quiet)
        assert "CLIPPING" not in drawn(view)
        view.hear(LiveStep((), 1.0, 0.7, quiet.seconds + 0.1))
        assert "CLIPPING" in drawn(view)
        view.hear(LiveStep((), 0.1, 0.1, quiet.seconds + 3.0))
        assert "CLIPPING" not in drawn(view)


def test_unknown_labels_have_colors_of_their_own() -> None:
    chosen = colors(["happy", "bored", "proud"])
    assert len(set(chosen.values())) == 3


@pytest.mark.parametrize("word", ["neutral", "surprised", "warm-up", "a b"])
def test_letters_are_even_and_fit(word: str) -> None:
    for large in (False, True):
        rows = letters(word, 200, large=large)
        assert rows is not None
        assert len(rows) == (5 if large else 3)
        assert len(set(map(len, rows))) == 1
    assert letters(word, 5, large=False) is None
    assert letters("überrascht", 200, large=False) is None


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=follower,
            stdout=follower,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        os.close(follower)
        self.seen = b""

    def read(self, seconds: float) -> None:
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


@pytest.mark.parametrize("ending", ["done", "Ctrl-C"])
def test_a_terminal_gets_the_view_and_is_given_back(
    tiny_model: Path, environment: dict[str, str], ending: str
) -> None:
    command = [sys.executable, "-m", "ser_live.cli", "--demo", "--model", str(tiny_model)]
    pace = "fast" if ending == "done" else "realtime"
    environment = {**environment, "TERM": "xterm-256color"}
    screen = Terminal([*command, "--pace", pace], environment)
    if ending == "Ctrl-C":
        screen.read(4.0)
        screen.process.send_signal(signal.SIGINT)
    screen.read(20.0)
    err = screen.process.stderr.read().decode() if screen.process.stderr else ""
    assert screen.process.wait(timeout=10) == (0 if ending == "done" else 130), err
    os.close(screen.leader)
    text = screen.seen.decode()
    assert DEMO_NOTICE in ESCAPE.sub("", text)
    assert "\x1b[?1049h" in text
    assert "\x1b[?1049l" in text
    assert "\x1b[?25h" in text
    assert "heard" in err
    assert "Traceback" not in err
