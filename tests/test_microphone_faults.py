"""A real microphone path that breaks: the sound server dies, hangs, mutes, loses its device."""

import functools
import json
import os
import pty
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from processes import captures, children, handles, have_ended
from ser_live.sources import Block, Microphone, Notice
from sound_server import REALTIME, SINK, SPEAKER, SoundServer, wait_for
from tools.recovery import Session, outage, written_voice

pytestmark = pytest.mark.integration
RATE_HZ = 48000


@pytest.fixture
def here(speaker: SoundServer, monkeypatch: pytest.MonkeyPatch) -> SoundServer:
    """The server, for microphones that this process opens itself."""
    for name, value in speaker.environment.items():
        monkeypatch.setenv(name, value)
    return speaker


def first_line(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline()


@pytest.fixture
def command(speaker: SoundServer, tiny_model: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Start ``ser-live --json`` on the microphone."""
    options = ["-m", "ser_live", "--device", "pulse", "--json", "--model", str(tiny_model)]
    return functools.partial(speaker.python, *options)


class TestServer:
    def test_its_death_is_a_gap_of_the_right_length(
        self, here: SoundServer, tmp_path: Path
    ) -> None:
        voice = written_voice(tmp_path / "voice.wav")
        with Session() as session:
            here.play(voice)
            for _ in range(2):
                seen = outage(session, here, voice, random.Random(0), (2.0, 2.5), (0.0, 1.0))
                assert seen.detection_seconds < 1.5
                assert seen.first_block_seconds < 10.0
                assert seen.first_prediction_seconds < 12.0
                assert abs(seen.error_seconds) < 0.05
                assert seen.gap_seconds == pytest.approx(
                    seen.down_seconds + seen.first_block_seconds, abs=1.0
                )
        kinds = [what for _, what in session.items if what != "prediction"]
        assert kinds == ["device_lost", "device_restored", "gap"] * 2
        assert session.failure is None

    def test_sounds_before_and_after_stand_where_they_were_made(
        self, here: SoundServer, tmp_path: Path
    ) -> None:
        tone = tmp_path / "tone.wav"
        moments = np.arange(RATE_HZ // 5) / RATE_HZ
        soundfile.write(tone, 0.5 * np.sin(2 * np.pi * 1000.0 * moments), RATE_HZ)
        items: list[Block | Notice] = []
        with Microphone("pulse") as microphone:
            listener = threading.Thread(target=lambda: items.extend(microphone))
            listener.start()
            time.sleep(0.7)
            made_at = [here.beep(tone)]
            time.sleep(0.7)
            here.kill()
            time.sleep(0.7)
            here.start()
            wait_for(lambda: any(isinstance(i, Block) and i.missing_frames for i in [*items]), 20.0)
            time.sleep(0.7)
            made_at.append(here.beep(tone))
            time.sleep(0.7)
        listener.join()
        onsets = onsets_seconds(items)
        assert len(onsets) == 2
        # How long paplay takes to begin differs from time to time.
        assert onsets[1] - onsets[0] == pytest.approx(made_at[1] - made_at[0], abs=0.15)

    def test_a_server_that_stands_still_and_goes_on(self, here: SoundServer) -> None:
        with Session() as session:
            first = time.monotonic()
            session.first("prediction", first)
            here.signal(signal.SIGSTOP)
            stopped_at = time.monotonic()
            try:
                assert session.first("device_lost", stopped_at) - stopped_at < 2.0
            finally:
                here.signal(signal.SIGCONT)
            went_on_at = time.monotonic()
            assert session.first("device_restored", went_on_at) - went_on_at < 12.0
            session.first("prediction", time.monotonic())

    def test_without_reconnection_its_death_ends_the_command_with_one_line(
        self, speaker: SoundServer, command: Callable[..., "subprocess.Popen[str]"]
    ) -> None:
        with command("--no-reconnect") as process:
            first_line(process)
            speaker.kill()
            _, err = process.communicate(timeout=20)
        assert process.returncode == 2
        assert "Traceback" not in err
        assert "ser-live: error: pulse: the device stopped (the device is gone)" in err

    def test_when_it_is_down_the_command_says_so_at_once(
        self, speaker: SoundServer, command: Callable[..., "subprocess.Popen[str]"]
    ) -> None:
        speaker.kill()
        started_at = time.monotonic()
        with command() as process:
            out, err = process.communicate(timeout=20)
        assert time.monotonic() - started_at < 8.0
        assert process.returncode == 2
        assert out == ""
        assert err.count("\n") == 1
        assert "no input device; PortAudio sees no device at all" in err


class TestDevice:
    @pytest.mark.parametrize(
        ("away", "back"),
        [
            ([["suspend-sink", SPEAKER, "1"]], [["suspend-sink", SPEAKER, "0"]]),
            (
                [["unload-module", "module-null-sink"]],
                [["load-module", *SINK.split()], ["set-default-source", f"{SPEAKER}.monitor"]],
            ),
        ],
        ids=["suspended", "unplugged"],
    )
    def test_one_that_goes_away_comes_back(
        self, here: SoundServer, away: list[list[str]], back: list[list[str]]
    ) -> None:
        with Session() as session:
            session.first("prediction", time.monotonic())
            for order in away:
                here.control(*order)
            gone_at = time.monotonic()
            assert session.first("device_lost", gone_at - 1.0) - gone_at < 2.5
            time.sleep(1.5)
            for order in back:
                here.control(*order)
            back_at = time.monotonic()
            assert session.first("device_restored", back_at) - back_at < 10.0
            session.first("prediction", session.first("gap", back_at))

    def test_one_that_is_muted_is_noticed_and_heard_on(
        self, here: SoundServer, tmp_path: Path
    ) -> None:
        with Session() as session:
            here.play(written_voice(tmp_path / "voice.wav"))
            session.first("prediction", time.monotonic())
            here.control("set-source-mute", "spk.monitor", "1")
            muted_at = time.monotonic()
            silent_at = session.first("input_silent", muted_at)
            assert 1.0 < silent_at - muted_at < 4.0
            session.first("prediction", silent_at)
        assert {what for _, what in session.items} == {"prediction", "input_silent"}

    def test_cycles_leave_nothing(self, here: SoundServer) -> None:
        def cycle() -> None:
            with Microphone("pulse") as source:
                next(iter(source))
                assert here.recorders() == 1
                started_at = time.monotonic()
            assert time.monotonic() - started_at < 2.0

        def held() -> tuple[int, int | None, set[int]]:
            return threading.active_count(), handles(), children()

        for _ in range(2):  # what Python itself keeps
            cycle()
        before = held()
        for _ in range(6):
            cycle()
        wait_for(lambda: held() == before)
        here.wait_for_recorders(0)
        clients = here.control("list", "clients")
        assert clients.count("application.name") == 1  # pactl itself
        assert "python" not in clients


class TestControlC:
    def test_one_ends_it_in_order(self, speaker: SoundServer, tiny_model: Path) -> None:
        """Typed on a terminal, where it reaches the whole foreground group."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update(speaker.environment, PYTHONPATH=str(REALTIME), TERM="xterm")
            options = ["--device", "pulse", "--model", str(tiny_model)]
            os.execv(sys.executable, [sys.executable, "-m", "ser_live", *options])
        capture, shown = set[int](), b""
        try:
            speaker.wait_for_recorders(1)
            capture = captures(pid)
            shown += os.read(terminal, 1 << 20)
            os.write(terminal, b"\x03")
            shown += rest_of(terminal)
        finally:
            _, status = os.waitpid(pid, 0)
            os.close(terminal)
        assert os.waitstatus_to_exitcode(status) == 130
        assert b"captured" in shown
        assert b"lag" in shown
        assert b"Traceback" not in shown
        assert len(capture) == 1
        assert have_ended(capture, 3.0)
        speaker.wait_for_recorders(0, 3.0)

    @pytest.mark.parametrize("apart_seconds", [0.0, 0.01])
    def test_two_end_it_at_once(
        self,
        speaker: SoundServer,
        command: Callable[..., "subprocess.Popen[str]"],
        apart_seconds: float,
    ) -> None:
        with command() as process:
            first_line(process)
            capture = captures(process.pid)
            process.send_signal(signal.SIGINT)
            time.sleep(apart_seconds)
            process.send_signal(signal.SIGINT)
            signalled_at = time.monotonic()
            _, err = process.communicate(timeout=20)
        assert time.monotonic() - signalled_at < 2.0
        assert process.returncode in (130, -signal.SIGINT)
        assert "Traceback" not in err
        assert len(capture) == 1
        assert have_ended(capture, 3.0)

    def test_one_ends_it_while_the_device_is_away(
        self, speaker: SoundServer, command: Callable[..., "subprocess.Popen[str]"]
    ) -> None:
        with command("--events") as process:
            first_line(process)
            speaker.kill()
            assert process.stdout is not None
            while json.loads(process.stdout.readline()).get("event") != "device_lost":
                pass
            time.sleep(1.0)
            process.send_signal(signal.SIGINT)
            signalled_at = time.monotonic()
            _, err = process.communicate(timeout=20)
        assert time.monotonic() - signalled_at < 3.0
        assert process.returncode == 130
        assert "captured" in err


def onsets_seconds(items: list[Block | Notice]) -> list[float]:
    """Return where sounds begin on the timeline, after half a second without any."""
    parts = [
        np.concatenate([np.zeros(item.missing_frames, np.float32), item.samples[:, 0]])
        for item in items
        if isinstance(item, Block)
    ]
    loud = np.flatnonzero(np.abs(np.concatenate(parts)) > 0.1) / RATE_HZ
    return [float(at) for at in loud[np.diff(loud, prepend=-1.0) > 0.5]]


def rest_of(terminal: int) -> bytes:
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 1 << 20)
        except OSError:  # the other end was closed
            return shown
