"""The ser-live command as a process: results or one clear line, and the exit code it promises."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_live import __version__, listen
from tiny_models import speech_like, tiny_card, tiny_graph, write_graph

COMMAND = [sys.executable, "-m", "ser_live.cli"]


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes find the package without an installation."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent / "realtime"))


def run(*arguments: object, data: bytes = b"") -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], input=data, capture_output=True, timeout=60, check=False
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def error_of(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line that a mistake gets."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("ser-live: error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """Three seconds at 48 kHz in stereo."""
    path = tmp_path / "voice.wav"
    samples = speech_like(3.0, 48000)
    soundfile.write(path, np.stack((samples, 0.5 * samples), axis=1), 48000)
    return path


def raw(path: Path, dtype: str) -> tuple[bytes, int]:
    samples, rate = soundfile.read(path, dtype=dtype, always_2d=True)
    return samples[:, 0].tobytes(), rate


class TestResults:
    @pytest.mark.parametrize("name", ["voice.wav", "voice.ogg", "voice.flac"])
    def test_a_file_gives_json_lines_and_a_summary(
        self, voice: Path, tiny_model: Path, name: str
    ) -> None:
        path = voice.with_name(name)
        if path != voice:
            samples, rate = soundfile.read(voice)
            soundfile.write(path, samples, rate)
        done = run("--file", path, "--model", tiny_model)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        with listen(path, model=tiny_model) as predictions:
            wanted = [json.loads(json.dumps(p.to_dict())) for p in predictions]
        for record in lines + wanted:
            record.pop("timing")
        assert lines == wanted
        assert len(lines) == 12
        for words in ("heard 3.0 s: 12 predictions", "gate", "p95", "algorithmic", "dropped 0"):
            assert words in done.stderr
        assert max(map(len, done.stderr.splitlines())) < 100

    @pytest.mark.parametrize(("sample_format", "dtype"), [("s16le", "int16"), ("f32le", "float32")])
    def test_stdin_gives_what_the_file_gives(
        self, voice: Path, tiny_model: Path, sample_format: str, dtype: str
    ) -> None:
        data, rate = raw(voice, dtype)
        mono = voice.with_name("mono.wav")
        samples, _ = soundfile.read(voice, dtype="int16")
        soundfile.write(mono, samples[:, 0], rate)
        options = ["--rate", rate, "--format", sample_format, "--model", tiny_model]
        piped = run("--stdin", *options, data=data + b"\0")
        filed = run("--file", mono, "--model", tiny_model)
        assert piped.returncode == 0, piped.stderr
        assert "1 of its" in piped.stderr
        piped_lines, filed_lines = piped.stdout.splitlines(), filed.stdout.splitlines()
        for ours, theirs in zip(piped_lines, filed_lines, strict=True):
            record, wanted = json.loads(ours), json.loads(theirs)
            assert record["probabilities"] == wanted["probabilities"]
            assert (record["state"], record["label"]) == (wanted["state"], wanted["label"])
            assert record["lag_seconds"] is not None

    def test_stdin_that_ends_early_gives_what_came(self, tiny_model: Path) -> None:
        done = run("--stdin", "--model", tiny_model, data=bytes(2 * 9000))
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 2

    def test_options_are_heard(self, voice: Path, tiny_model: Path) -> None:
        options = ["--hop", "0.5", "--smoothing", "0", "--no-vad", "--model", tiny_model]
        done = run("--file", voice, *options)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(lines) == 6
        assert all(line["state"] in ("warming_up", "speech", "uncertain") for line in lines)
        assert "smoothing 0.000" in done.stderr
        last = lines[-1]
        assert last["probabilities"] == pytest.approx(last["raw_probabilities"], abs=1e-6)

    def test_realtime_takes_its_time_and_measures_lag(self, voice: Path, tiny_model: Path) -> None:
        started = time.monotonic()
        done = run("--file", voice, "--pace", "realtime", "--model", tiny_model)
        assert time.monotonic() - started >= 3.0
        lags = [json.loads(line)["lag_seconds"] for line in done.stdout.splitlines()]
        assert all(0.0 <= lag < 1.0 for lag in lags)
        assert "measured lag, capture to prediction: 0." in done.stderr


class TestMistakes:
    def test_files(self, tmp_path: Path, tiny_model: Path) -> None:
        empty, text, silent = (tmp_path / name for name in ("e.wav", "t.wav", "s.wav"))
        empty.write_bytes(b"")
        text.write_text("This is no audio.\n" * 100)
        soundfile.write(silent, np.zeros(0), 16000)
        for path in (empty, text, silent, tmp_path / "missing.wav", tmp_path):
            assert str(path) in error_of(run("--file", path, "--model", tiny_model))

    def test_models(self, tmp_path: Path, tiny_model: Path) -> None:
        broken = tmp_path / "broken.onnx"
        broken.write_bytes(tiny_model.read_bytes()[:5000])
        bare = write_graph(tmp_path / "bare.onnx", tiny_graph(tiny_card()), None)
        for model in (broken, bare, tmp_path / "missing.onnx", "no-such-name"):
            assert str(model) in error_of(run("--demo", "--model", model))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--hop", "0"], "hop_seconds is 0.0"),
            (["--hop", "0.123"], "whole multiple"),
            (["--hop", "nan"], "hop_seconds is nan"),
            (["--hop", "soon"], "--hop"),
            (["--smoothing", "-1"], "smoothing_seconds is -1"),
        ],
    )
    def test_values(self, tiny_model: Path, arguments: list[str], words: str) -> None:
        assert words in error_of(run("--demo", "--model", tiny_model, *arguments))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--file", "a.wav", "--demo"], "not allowed with"),
            (["--stdin", "--device", "1"], "not allowed with"),
            (["--pace", "fast"], "--pace belongs to"),
            (["--demo", "--rate", "8000"], "--rate belongs to --stdin"),
            (["--demo", "--js"], "unrecognized arguments: --js"),
            (["--stdin", "--rate", "12"], "rate"),
            (["--stdin", "--channels", "0"], "channels is 0"),
            (["--stdin", "--format", "mp3"], "--format"),
        ],
    )
    def test_combinations(self, arguments: list[str], words: str) -> None:
        assert words in error_of(run(*arguments))

    def test_stdin_without_a_sample(self, tiny_model: Path) -> None:
        assert "stdin" in error_of(run("--stdin", "--model", tiny_model))

    def test_stdin_that_is_closed(self, tiny_model: Path) -> None:
        command = " ".join([*COMMAND, "--stdin", "--model", str(tiny_model), "<&-"])
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False
        )
        assert "stdin" in error_of(done)

    def test_stdin_that_is_a_terminal(self, tiny_model: Path) -> None:
        leader, follower = os.openpty()
        with os.fdopen(leader), os.fdopen(follower) as terminal:
            command = [*COMMAND, "--stdin", "--model", str(tiny_model)]
            done = subprocess.run(
                command, stdin=terminal, capture_output=True, text=True, timeout=60, check=False
            )
        assert "is a terminal" in error_of(done)

    def test_floats_in_the_wrong_format(self, tiny_model: Path) -> None:
        data = np.random.default_rng(0).bytes(64000)
        done = run("--stdin", "--format", "f32le", "--model", tiny_model, data=data)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


class TestEndings:
    def started(self, *arguments: object) -> "subprocess.Popen[str]":
        command = [*COMMAND, "--demo", "--pace", "realtime", *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_signals_end_it_with_a_summary(
        self, tiny_model: Path, number: signal.Signals, code: int
    ) -> None:
        with self.started("--model", tiny_model) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            process.send_signal(number)
            out, err = process.communicate(timeout=5)
        assert process.returncode == code
        assert json.loads(first)["index"] == 0
        for line in out.splitlines():
            json.loads(line)
        assert "heard" in err
        assert "Traceback" not in err

    def test_a_reader_that_has_enough_ends_it_in_silence(self, tiny_model: Path) -> None:
        with self.started("--model", tiny_model) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.wait(timeout=5) == 0
            err = process.stderr.read()
        assert "Traceback" not in err
        assert "Broken" not in err
        assert "heard" not in err

    def test_lines_come_when_they_are_due(self, tiny_model: Path) -> None:
        started = time.monotonic()
        with self.started("--model", tiny_model) as process:
            assert process.stdout is not None
            process.stdout.readline()
            assert time.monotonic() - started < 5.0
            process.terminate()
            process.communicate(timeout=5)


class TestWords:
    def test_version(self) -> None:
        done = run("--version")
        assert (done.returncode, done.stdout) == (0, f"ser-live {__version__}\n")

    def test_help_loads_nothing_heavy(self) -> None:
        code = (
            "import sys; from ser_live.cli import main\n"
            "try: main(['--help'])\n"
            "except SystemExit: pass\n"
            "heavy = {'numpy', 'onnxruntime', 'sounddevice', 'soundfile', 'soxr', 'rich'}\n"
            "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, done.stderr
        for flag in ("--device", "--file", "--stdin", "--demo", "--pace", "--json", "exit codes"):
            assert flag in done.stdout

    def test_a_file_needs_neither_portaudio_nor_rich(self, voice: Path, tiny_model: Path) -> None:
        code = (
            "import sys; from ser_live.cli import main\n"
            f"code = main(['--file', {str(voice)!r}, '--model', {str(tiny_model)!r}])\n"
            "sys.exit(', '.join({'sounddevice', 'rich', 'tensorflow'} & set(sys.modules)) or code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, done.stderr

    def test_the_demo_is_not_mistaken_for_accuracy(self, tiny_model: Path) -> None:
        done = run("--demo", "--model", tiny_model)
        assert "synthetic voice: shows the mechanics, not the accuracy" in done.stderr

    def test_models_are_listed(self) -> None:
        done = run("--list-models")
        if done.returncode == 0:
            assert "labels:" in done.stdout
            assert "licence:" in done.stdout
        else:
            assert "no models" in error_of(done)
