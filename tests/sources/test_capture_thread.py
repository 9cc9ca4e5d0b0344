"""Capture where no Python can be started: in frozen programs, and where Python is only a part."""

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.sound_server import SoundServer
from ser_live import SerError, interpreter
from ser_live.doctor import devices as doctor_devices
from ser_live.doctor import machine as doctor_machine
from ser_live.sources import (
    Block,
    Microphone,
    Notice,
    capture_process,
    capture_thread,
    input_devices,
)
from ser_live.sources.capture_process import CaptureProcess
from ser_live.sources.capture_thread import CaptureThread, open_capture
from ser_live.sources.devices import InputDevice


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a frozen program that must not start itself."""

    def start(command: list[str], *_: object, **__: object) -> None:
        raise AssertionError(f"{command} was started")

    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(subprocess, "Popen", start)


@pytest.fixture
def portaudio(
    monkeypatch: pytest.MonkeyPatch, frozen: None, fake_sounddevice: Any
) -> Iterator[Any]:
    """The fake sounddevice, which nothing else of the program has loaded."""
    capture_thread._is_portaudio_ours.cache_clear()
    with monkeypatch.context() as unloaded:
        unloaded.delitem(sys.modules, "sounddevice")
        assert capture_thread._is_portaudio_ours()
    before = set(threading.enumerate())
    yield fake_sounddevice
    fake_sounddevice.is_over.set()
    capture_thread._is_portaudio_ours.cache_clear()
    for thread in set(threading.enumerate()) - before:
        thread.join(10.0)
        assert not thread.is_alive()


@pytest.mark.parametrize("program", [None, "", "/usr/sbin/uwsgi", "/nowhere/python3", "blender"])
def test_what_is_no_interpreter(program: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert interpreter.interpreter() == sys.executable
    monkeypatch.setattr(sys, "executable", program)
    assert interpreter.interpreter() is None
    assert isinstance(open_capture(None, None, None), CaptureThread)


@pytest.mark.parametrize("where", [sys, interpreter])
def test_a_frozen_program_is_no_interpreter(where: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(where, "frozen" if where is sys else "__compiled__", True, raising=False)
    assert interpreter.interpreter() is None
    with pytest.raises(SerError, match="is no Python interpreter"):
        CaptureProcess().open()


def test_what_was_started_to_capture_starts_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_LIVE_IS_CAPTURE", "1")
    with pytest.raises(SerError, match="was started to capture"):
        CaptureProcess().open()


@pytest.mark.integration
def test_a_process_finds_modules_where_this_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in programs that put their packages on the path themselves (shiv, pex)."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('found here')")
    monkeypatch.setattr(sys, "path", ["", tmp_path, *sys.path])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SerError, match="found here"):
        input_devices()


def test_the_doctor_starts_nothing(frozen: None) -> None:
    for check in (doctor_machine.check_packages, doctor_devices.check_portaudio):
        assert [finding.verdict for finding in check()] == ["skipped"]


class TestThread:
    def test_every_frame_arrives(self, portaudio: Any) -> None:
        with Microphone("fake") as source:
            assert (source.name, source.sample_rate_hz, source.channels) == ("fake", 48000, 2)
            samples = np.concatenate(
                [item.samples for item in itertools.islice(source, 10) if isinstance(item, Block)]
            )
            assert len(samples) >= 10 * 2400
            np.testing.assert_array_equal(samples[:, 1], np.arange(len(samples)))

    def test_devices_are_looked_for_again_where_no_stream_would_end(self, portaudio: Any) -> None:
        rates_hz = (8000, 16000, 22050, 32000, 44100, 48000, 96000)
        portaudio.devices = []
        assert input_devices() == []
        portaudio.devices = [("fake", 2)]
        assert input_devices() == [InputDevice(0, "fake", 2, 48000, True, rates_hz)]
        looks = portaudio.looks
        with Microphone():
            input_devices()
        assert portaudio.looks == looks + 1  # for the microphone, not while it is open

    def test_what_else_plays_goes_on(self, portaudio: Any) -> None:
        capture_thread._is_portaudio_ours.cache_clear()  # as if it had been loaded before
        for _ in range(2):
            input_devices()
        assert portaudio.looks == 1

    def test_a_loss_and_the_return(self, portaudio: Any) -> None:
        portaudio.last_block = 10
        with Microphone() as source:
            notices = (item.kind for item in source if isinstance(item, Notice))
            assert [next(notices), next(notices)] == ["device_lost", "device_restored"]

    def test_after_one_that_hangs_none_opens(
        self, portaudio: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(capture_process, "_LIST_SECONDS", 0.1)
        monkeypatch.setattr(capture_thread, "_END_SECONDS", 0.1)
        portaudio.MODE = "hangs"
        with pytest.raises(SerError, match=r"did not answer within 0\.1 s"):
            input_devices()
        with pytest.raises(SerError, match="driver of a sound device hangs; start this program"):
            CaptureThread().open()
        portaudio.MODE = ""
        portaudio.is_over.set()
        monkeypatch.setattr(capture_thread, "_END_SECONDS", 5.0)
        capture = CaptureThread()
        assert capture.open().name == "fake"
        capture.close()


FROZEN = """
import json, sys
sys.frozen = True
def refuse(event, arguments):
    if event == "subprocess.Popen" and arguments[0] != "/sbin/ldconfig":  # of ctypes
        raise SystemExit(f"{arguments} was started")
sys.addaudithook(refuse)
from ser_live import listen
for item in listen(model=sys.argv[1], events=True):
    print(json.dumps(item.to_dict()), flush=True)
    if "once" in sys.argv:
        break
"""


@pytest.mark.integration
def test_a_program_that_ends_while_it_listens_does_not_hang(
    speaker: SoundServer, tiny_model: Path
) -> None:
    for _ in range(5):
        with speaker.python("-c", FROZEN, str(tiny_model), "once") as process:
            try:
                assert '"silence"' in process.communicate(timeout=30.0)[0]
            finally:
                process.kill()
        assert process.returncode == 0


@pytest.mark.integration
def test_a_real_microphone_and_the_death_of_its_server(
    speaker: SoundServer, tiny_model: Path
) -> None:
    with speaker.python("-c", FROZEN, str(tiny_model)) as process:
        assert process.stdout is not None
        lines = map(json.loads, process.stdout)
        watchdog = threading.Timer(60.0, process.kill)  # its lines then end
        watchdog.start()
        try:
            assert next(lines)["state"] == "silence"
            speaker.kill()
            assert next(line for line in lines if line.get("event") == "device_lost")
            speaker.start()
            assert next(line for line in lines if line.get("event") == "device_restored")
            assert next(line for line in lines if "state" in line)
        finally:
            watchdog.cancel()
            process.kill()
