"""Standard streams that are closed, full, broken, or unable to hold a character."""

import errno
import io
import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TextIO
from unittest import mock

import pytest
import soundfile

from helpers.in_process import Stream, call, error_of
from ser_live import sources
from ser_live.sources import DEMO_PATH
from ser_live.sources.devices import InputDevice
from ser_live.testing import speech_like

FULL = "stdout: cannot write on (No space left on device); give it room or another place"
FAULTS = {"closed": None, "full": errno.ENOSPC, "broken": errno.EPIPE}
PROGRAMS = ("ser-live", "ser-bench", "ser-serve", "ser-train", "ser-export")
LIVE = "ser_live --demo --json --output a.csv --record a.wav --model MODEL"
BENCH = "ser_live.bench.command --seconds 1 --paced-seconds 0 --json --model MODEL"
PREDICT = "ser_train predict --json MODEL マイク.ogg"


class Faulty(io.RawIOBase):
    """A file that takes nothing."""

    def __init__(self, number: int) -> None:
        self.number = number

    def writable(self) -> bool:
        return True

    def write(self, _: object) -> int:
        raise OSError(self.number, os.strerror(self.number))


def faulty(fault: str) -> TextIO | None:
    if (number := FAULTS[fault]) is None:
        return None  # so Python says that it was closed
    return io.TextIOWrapper(io.BufferedWriter(Faulty(number)), "utf-8", line_buffering=True)


def run(command: str, out: object, err: object) -> int:
    program, *words = command.split()
    main = entry_points(group="console_scripts")[program].load()
    with mock.patch.multiple(sys, stdin=None, stdout=out, stderr=err):
        return int(main(words))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "command", [*(f"{program} --help" for program in PROGRAMS), "ser-live doctor --help"]
)
def test_what_is_printed_never_ends_in_a_traceback(command: str, fault: str) -> None:
    out, err = Stream(), Stream()
    assert run(command, faulty(fault), err) == (2 if fault == "full" else 0)
    wanted = f"{command.split(maxsplit=1)[0]}: error: {FULL}\n" if fault == "full" else ""
    assert err.text() == wanted
    assert run(command, out, faulty(fault)) == 0
    assert out.text()
    assert run(f"{command}-me", out, faulty(fault)) == 2


@pytest.mark.parametrize(
    "command", ["ser-live --demo --record PATH.wav", "ser-export PATH.keras -o a.onnx"]
)
def test_a_path_that_cannot_be_is_told_in_one_line(command: str) -> None:
    program, *words = command.replace("PATH", "a" * 300).split()
    done = call(*words, main=entry_points(group="console_scripts")[program].load())
    assert "File name too long" in error_of(done, program)


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """Three seconds."""
    soundfile.write(tmp_path / "voice.wav", speech_like(3.0), 16000)
    return tmp_path / "voice.wav"


@pytest.mark.parametrize("fault", FAULTS)
def test_files_are_whole_whatever_becomes_of_stdout(
    tmp_path: Path, voice: Path, tiny_model: Path, fault: str
) -> None:
    command = f"ser-live {voice} --json --model {tiny_model}"
    files = f"--output {tmp_path / 'a.csv'} --record {tmp_path / 'a.wav'}"
    for words, is_told in ((f"{command} {files}", True), (command, fault == "closed")):
        err = Stream()
        assert run(words, faulty(fault), err) == (2 if fault == "full" else 0)
        # Without files it ends, but for a stdout that was closed on purpose.
        assert ("3.0 s of voice.wav, in " in err.text()) == is_told
        assert err.text().count(FULL) == (fault == "full")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 13
    assert len(call("replay", tmp_path / "a.wav").stdout.splitlines()) == 12
    out = Stream()
    assert run(f"{command} -vv", out, faulty(fault)) == 0
    assert [json.loads(line)["index"] for line in out.text().splitlines()] == [*range(12)]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("is_terminal", [False, True])
def test_names_that_a_stream_cannot_hold(
    voice: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoding: str,
    is_terminal: bool,
) -> None:
    name = "マイク\udcff.ogg"
    devices = [InputDevice(0, name, 1, 48000, is_default=True)]
    monkeypatch.setattr(sources, "input_devices", lambda: devices)
    for words, code in (
        (["--list-devices"], 0),
        ([f"no{name}"], 2),
        ([voice.rename(voice.with_name(name)), "--pace", "fast", "--model", tiny_model], 0),
    ):
        done = call(*words, encoding=encoding, is_terminal=is_terminal)
        assert done.returncode == code
    if not is_terminal:
        assert len([*map(json.loads, done.stdout.splitlines())]) == 12


@pytest.mark.integration
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("fault", [">&-", ">/dev/full", "", "2>&-", "2>/dev/full", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", [LIVE, BENCH, PREDICT, "ser_export --help"])
def test_processes(
    tmp_path: Path, tiny_model: Path, environment: dict[str, str], words: str, fault: str
) -> None:
    (tmp_path / "マイク.ogg").symlink_to(DEMO_PATH)
    # Without a fault of its own, stdout is a pipe whose reader has gone.
    streams = f"{fault} {'' if '2>' in fault else '2>err'} {'>out' if fault[:1] == '2' else ''}"
    script = f'{{ "$@" {streams}; echo $? >code; }} | true'
    command = [sys.executable, "-m", *words.replace("MODEL", str(tiny_model)).split()]
    environment.pop("PYTHONUNBUFFERED", None)  # which would leave nothing to the last flush
    environment["PYTHONIOENCODING"] = "cp1252"
    subprocess.run(["sh", "-c", script, "sh", *command], cwd=tmp_path, env=environment, check=True)
    out, told, code, rows = (
        path.read_text() if path.exists() else ""
        for path in (tmp_path / name for name in ("out", "err", "code", "a.csv"))
    )
    assert int(code) == (2 if fault == ">/dev/full" else 0), told
    assert "Traceback" not in told
    assert told.count(FULL) == (fault == ">/dev/full")
    if out and "--json" in words:
        lines = [json.loads(line) for line in out.splitlines()]
        assert len(lines) == (78 if words == LIVE else 1)
    if words == LIVE:
        assert len(rows.splitlines()) == 79
        assert len(call("replay", tmp_path / "a.wav").stdout.splitlines()) == 78
