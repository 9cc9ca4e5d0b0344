"""A real microphone path that breaks: the sound server dies, hangs, mutes, loses its device."""

import functools
import io
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.processes import captures, have_ended
from helpers.sound_server import SINK, SPEAKER, SoundServer
from ser_live.sources import Block, Microphone
from tools.recovery import Session, outage, written_voice

pytestmark = pytest.mark.integration
Command = Callable[..., "subprocess.Popen[str]"]


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
def command(speaker: SoundServer, tiny_model: Path) -> Command:
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
        tone_seconds, rate_hz = 0.2, 48000
        times = np.arange(tone_seconds * rate_hz) / rate_hz
        soundfile.write(tmp_path / "tone.wav", 0.5 * np.sin(6000.0 * times), rate_hz)
        made: list[tuple[float, float]] = []  # the earliest and the latest that it can have begun
        heard: list[float] = []
        frames = 0
        with Microphone("pulse") as microphone:
            for item in microphone:
                if not isinstance(item, Block):
                    continue
                frames += item.missing_frames
                if len(made) == len(heard) and (frames == 0 or item.missing_frames):
                    began_at = time.monotonic()
                    here.play(tmp_path / "tone.wav").wait(20.0)
                    made.append((began_at, time.monotonic() - tone_seconds))
                loud = np.flatnonzero(np.abs(item.samples[:, 0]) > 0.1)
                if loud.size and len(heard) < len(made):
                    heard.append((frames + loud[0]) / rate_hz)
                    if len(heard) == 2:
                        break
                    here.kill()
                    here.start()
                frames += len(item.samples)
        (first, first_latest), (second, second_latest) = made
        latency_seconds = 0.1
        assert heard[1] - heard[0] > second - first_latest - latency_seconds
        assert heard[1] - heard[0] < second_latest - first + latency_seconds

    def test_a_server_that_stands_still_and_goes_on(self, here: SoundServer) -> None:
        with Session() as session:
            session.first("prediction", time.monotonic())
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
        self, speaker: SoundServer, command: Command
    ) -> None:
        with command("--no-reconnect") as process:
            first_line(process)
            speaker.kill()
            _, err = process.communicate(timeout=20)
        assert process.returncode == 2
        assert "Traceback" not in err
        assert "ser-live: error: pulse: the device stopped (the device is gone)" in err

    def test_when_it_is_down_the_command_says_so_at_once(
        self, speaker: SoundServer, command: Command
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

        for _ in range(6):
            cycle()
        here.wait_for_recorders(0)
        clients = here.control("list", "clients")
        assert clients.count("application.name") == 1  # pactl itself
        assert "python" not in clients


class TestStandstill:
    @pytest.mark.parametrize(
        "seconds", [8.0, *(pytest.param(long, marks=pytest.mark.long) for long in (20.0, 45.0))]
    )
    def test_after_it_the_timeline_is_right(self, command: Command, seconds: float) -> None:
        """The sound server keeps some of what was not read, and drops the rest without a word."""
        events: list[str] = []

        def offset_seconds(process: "subprocess.Popen[str]", since: float) -> float:
            """Return the timeline less the host's clock, by the next predictions."""
            offsets: list[float] = []
            while len(offsets) < 8:
                line = json.loads((process.stdout or io.StringIO()).readline())
                now = time.monotonic()
                events.extend([line["event"]] if "event" in line else [])
                if now > since and "lag_seconds" in line:
                    offsets.append(line["end_seconds"] + line["lag_seconds"] - now)
            return float(np.median(offsets))

        with command("--events") as process:
            first_line(process)
            before = offset_seconds(process, time.monotonic() + 3.0)
            stopped = [process.pid, *captures(process.pid)]
            for number, pause_seconds in ((signal.SIGSTOP, seconds), (signal.SIGCONT, 0.0)):
                for pid in stopped:
                    os.kill(pid, number)
                time.sleep(pause_seconds)
            moved_seconds = offset_seconds(process, time.monotonic() + 5.0) - before
            process.kill()
        assert abs(moved_seconds) < 0.05, events
        assert "device_lost" not in events
        assert "gap" in events or seconds < 10.0


class TestControlC:
    @pytest.mark.parametrize("apart_seconds", [None, 0.0, 0.01], ids=["one", "two", "two, apart"])
    def test_it_ends_at_once(
        self, speaker: SoundServer, command: Command, apart_seconds: float | None
    ) -> None:
        with command() as process:
            first_line(process)
            (capture,) = captures(process.pid)
            # Typed on a terminal it reaches the whole group, which is not that of the capture.
            assert os.getpgid(capture) != os.getpgid(process.pid)
            process.send_signal(signal.SIGINT)
            signalled_at = time.monotonic()
            if apart_seconds is not None:
                time.sleep(apart_seconds)
                process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        assert time.monotonic() - signalled_at < 3.0
        assert process.returncode == 130 or apart_seconds is not None
        assert process.returncode in (130, -signal.SIGINT)
        assert "\nlength " in err or apart_seconds is not None
        assert "Traceback" not in err
        assert have_ended([capture], 3.0)
        speaker.wait_for_recorders(0, 3.0)

    def test_one_ends_it_while_the_device_is_away(
        self, speaker: SoundServer, command: Command
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
        assert "\nlength " in err
