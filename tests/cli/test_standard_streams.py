"""Standard streams that are closed, full, broken, or unable to hold a character."""

import errno
import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO
from unittest import mock

import pytest

from helpers.in_process import Stream, call
from ser_live import sources
from ser_live.sources import DEMO_PATH
from ser_live.sources.devices import InputDevice

FULL = "stdout: cannot write on (No space left on device); give it room or another place"
PRINTING = {
    "ser-live --help": "ser_live.cli.main",
    "ser-live --version": "ser_live.cli.main",
    "ser-live --list-models": "ser_live.cli.main",
    "ser-live doctor --help": "ser_live.cli.main",
    "ser-bench --help": "ser_live.bench.command",
    "ser-serve --help": "ser_live.server",
    "ser-train fit --help": "ser_train.commands.cli",
    "ser-export --version": "ser_export.cli",
}


class Faulty(io.RawIOBase):
    """A file that takes nothing."""

    def __init__(self, number: int) -> None:
        self.number = number

    def writable(self) -> bool:
        return True

    def write(self, _: object) -> int:
        raise OSError(self.number, os.strerror(self.number))


def faulty(fault: str) -> TextIO | None:
    numbers = {"full": errno.ENOSPC, "broken": errno.EPIPE}
    if fault not in numbers:
        return None  # so Python says that it was closed
    raw = Faulty(numbers[fault])
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", line_buffering=True)


def run(main: Callable[[list[str]], int], words: list[str], out: object, err: object) -> int:
    with (
        mock.patch.object(sys, "stdin", None),
        mock.patch.object(sys, "stdout", out),
        mock.patch.object(sys, "stderr", err),
    ):
        return main(words)


@pytest.mark.parametrize("fault", ["closed", "full", "broken"])
@pytest.mark.parametrize("command", PRINTING)
def test_what_is_printed_never_ends_in_a_traceback(command: str, fault: str) -> None:
    program, *words = command.split()
    main = importlib.import_module(PRINTING[command]).main
    err = Stream()
    assert run(main, words, faulty(fault), err) == (2 if fault == "full" else 0)
    assert err.text() == (f"{program}: error: {FULL}\n" if fault == "full" else "")
    out = Stream()
    assert run(main, words, out, faulty(fault)) == 0
    assert out.text()
    assert run(main, ["--no-such-option"], out, faulty(fault)) == 2


@pytest.mark.parametrize("fault", ["closed", "full", "broken"])
def test_files_are_whole_whatever_becomes_of_stdout(
    tmp_path: Path, tiny_model: Path, fault: str
) -> None:
    main = importlib.import_module("ser_live.cli.main").main
    words = ["--demo", "--json", "--model", str(tiny_model)]
    files = ["--output", str(tmp_path / "a.csv"), "--record", str(tmp_path / "a.wav")]
    err = Stream()
    assert run(main, [*words, *files], faulty(fault), err) == (2 if fault == "full" else 0)
    assert "processed 19.6 s: 78 predictions" in err.text()
    assert err.text().count(FULL) == (fault == "full")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 79
    assert len(call("replay", tmp_path / "a.wav").stdout.splitlines()) == 78
    err = Stream()
    assert run(main, words, faulty(fault), err) == (2 if fault == "full" else 0)
    # Without files it ends, but for a stdout that was closed on purpose.
    assert ("processed" in err.text()) == (fault == "closed")


@pytest.mark.parametrize("fault", ["closed", "full", "broken"])
def test_stderr_changes_nothing(tiny_model: Path, fault: str) -> None:
    main = importlib.import_module("ser_live.cli.main").main
    out = Stream()
    assert run(main, ["--demo", "-vv", "--model", str(tiny_model)], out, faulty(fault)) == 0
    assert [json.loads(line)["index"] for line in out.text().splitlines()] == [*range(78)]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("is_terminal", [False, True])
def test_names_that_a_stream_cannot_hold(
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoding: str,
    is_terminal: bool,
) -> None:
    name = "マイク\udcff.ogg"
    devices = [InputDevice(0, name, 1, 48000, is_default=True)]
    monkeypatch.setattr(sources, "input_devices", lambda: devices)
    done = call("--list-devices", encoding=encoding, is_terminal=is_terminal)
    assert done.returncode == 0
    assert "  (default)" in done.stdout
    (tmp_path / name).write_bytes(DEMO_PATH.read_bytes())
    words = [tmp_path / name, "--pace", "fast", "--model", tiny_model]
    done = call(*words, encoding=encoding, is_terminal=is_terminal)
    assert done.returncode == 0
    if not is_terminal:
        assert len([*map(json.loads, done.stdout.splitlines())]) == 78
    done = call(tmp_path / f"no{name}", encoding=encoding, is_terminal=is_terminal)
    assert done.returncode == 2


LIVE = "ser_live --demo --json --output a.csv --record a.wav --model MODEL"
BENCH = "ser_live.bench.command --seconds 1 --paced-seconds 0 --json --model MODEL"
PREDICT = "ser_train predict --json MODEL マイク.ogg"


@pytest.mark.integration
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("fault", [">&-", ">/dev/full", "", "2>&-", "2>/dev/full", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", [LIVE, BENCH, PREDICT, "ser_export --help"])
def test_processes(
    tmp_path: Path, tiny_model: Path, environment: dict[str, str], words: str, fault: str
) -> None:
    (tmp_path / "マイク.ogg").symlink_to(DEMO_PATH)
    out, err, code = (tmp_path / name for name in ("out", "err", "code"))
    # Without a fault of its own, stdout is a pipe whose reader has gone.
    streams = (
        f"{'>out' if fault.startswith('2') else ''} {'' if '2>' in fault else '2>err'} {fault}"
    )
    script = f'{{ "$@" {streams}; echo $? >code; }} | true'
    command = [sys.executable, "-m", *words.replace("MODEL", str(tiny_model)).split()]
    environment.pop("PYTHONUNBUFFERED", None)  # which would leave nothing to the last flush
    environment["PYTHONIOENCODING"] = "cp1252"
    subprocess.run(["sh", "-c", script, "sh", *command], cwd=tmp_path, env=environment, check=True)
    told = err.read_text() if err.exists() else ""
    assert int(code.read_text()) == (2 if fault == ">/dev/full" else 0), told
    assert "Traceback" not in told
    assert told.count(FULL) == (fault == ">/dev/full")
    if out.exists() and "--json" in words:
        lines = [json.loads(line) for line in out.read_text("ascii").splitlines()]
        assert len(lines) == (78 if words == LIVE else 1)
    if words == LIVE:
        assert len((tmp_path / "a.csv").read_text().splitlines()) == 79
        assert len(call("replay", tmp_path / "a.wav").stdout.splitlines()) == 78
