"""ser-live doctor as a process: what it finds on healthy and on broken machines."""

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from doctor_process import COMMAND, GONE, PACKAGE, found, run, shadowed
from ser_live.doctor.engine import judge_headroom
from ser_live.doctor.finding import Check, Finding, examine
from ser_live.doctor.machine import requirements
from ser_live.doctor.report import without_names
from ser_live.errors import SerError
from tiny_models import tiny_card, tiny_graph, with_golden, write_graph


@pytest.fixture
def deaf(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A machine without any sound."""
    alsa = tmp_path / "no-sound.conf"
    alsa.write_text("pcm.gone { type hw card 31 }\n")
    quiet = {"ALSA_CONFIG_PATH": str(alsa), "XDG_RUNTIME_DIR": str(tmp_path)}
    for name in ("PULSE_SERVER", "DBUS_SESSION_BUS_ADDRESS"):
        environment.pop(name, None)
    return {**environment, **quiet}


@pytest.mark.integration
class TestHealthyMachine:
    def test_a_line_per_finding_and_a_verdict_without_colours(
        self, environment: dict[str, str]
    ) -> None:
        done = run(environment, "--no-microphone")
        assert done.returncode == 0, done.stdout
        assert done.stderr == ""
        assert "\x1b" not in done.stdout
        lines = done.stdout.splitlines()
        assert {line[0] for line in lines} <= {"✓", "-", "!"}
        names = [line[2:20].strip() for line in lines]
        assert names[:3] == ["python", "ser-live", "packages"]
        assert "model emotion" in names
        assert names[-7:] == [
            "speech gate", "engine", "headroom", "clock", "memory", "processors", "verdict"
        ]  # fmt: skip

    def test_ascii_where_the_encoding_knows_no_more(
        self, environment: dict[str, str], tiny_model: Path, tmp_path: Path
    ) -> None:
        broken = tmp_path / "gebrochen-ö-\x1b[31m.onnx"
        broken.write_bytes(b"")
        plain = {**environment, "PYTHONIOENCODING": "ascii"}
        done = run(plain, "--no-microphone", "--model", broken)
        assert done.returncode == 1
        assert done.stdout.isascii()
        assert "\x1b" not in done.stdout
        assert {line[0] for line in done.stdout.splitlines()} == {"+", "-", "x", " "}
        assert "-> " in done.stdout

    def test_json_holds_figures_but_neither_name_nor_home(
        self, environment: dict[str, str], tiny_model: Path, tmp_path: Path
    ) -> None:
        home = tmp_path / "home"
        model = home / "models of zaphod" / "mine.onnx"
        model.parent.mkdir(parents=True)
        shutil.copy(tiny_model, model)
        shutil.copytree(PACKAGE, home / "ser_live", ignore=shutil.ignore_patterns("__pycache__"))
        theirs = {"HOME": str(home), "LOGNAME": "zaphod", "PYTHONPATH": str(home)}
        done = run({**environment, **theirs}, "--no-microphone", "--json", "--model", model)
        assert str(home) not in done.stdout
        assert "zaphod" not in done.stdout
        findings = found(done)
        assert findings["ser-live"]["figures"]["folder"] == "~/ser_live"
        assert findings["model mine.onnx"]["verdict"] == "ok"
        assert findings["python"]["figures"]["bits"] == 64
        assert findings["packages"]["figures"]["versions"]["numpy"] == np.__version__
        assert findings["clock"]["figures"]["tick_seconds"] < 0.1
        assert findings["processors"]["figures"]["count"] == os.cpu_count()
        # The copy has no models beside it.
        assert "model emotion" not in findings

    def test_the_engine_hears_and_has_room(self, environment: dict[str, str]) -> None:
        findings = found(run(environment, "--no-microphone", "--json"))
        assert findings["engine"]["figures"]["states"]["speech"] >= 1
        assert 0.3 < findings["speech gate"]["figures"]["speech_share"] < 0.9
        figures = findings["headroom"]["figures"]
        assert 0.0 < figures["p50_seconds"] <= figures["p95_seconds"] < 0.125
        assert figures["streams"] >= 1
        assert figures["hop_seconds"] == 0.25


@pytest.mark.integration
class TestBrokenMachine:
    def test_a_broken_model_of_the_users_own(
        self, environment: dict[str, str], tiny_model: Path, tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken.onnx"
        broken.write_bytes(tiny_model.read_bytes()[:5000])
        findings = found(run(environment, "--no-microphone", "--json", "--model", broken))
        assert findings["model broken.onnx"]["verdict"] == "problem"
        assert "export" in findings["model broken.onnx"]["remedy"]
        assert findings["model emotion"]["verdict"] == "ok"
        assert findings["engine"]["verdict"] == "skipped"
        assert "model broken.onnx" in findings["engine"]["finding"]

    def test_a_models_folder_with_a_wrong_golden_test_and_no_default(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        shutil.copytree(
            PACKAGE, tmp_path / "ser_live", ignore=shutil.ignore_patterns("__pycache__")
        )
        models = tmp_path / "ser_live" / "models"
        models.mkdir()
        card, graph = tiny_card(), tiny_graph(tiny_card())
        other_card = with_golden(card, tiny_graph(card, seed=1))
        write_graph(models / "other.onnx", graph, other_card.to_json())
        private = {**environment, "PYTHONPATH": str(tmp_path)}
        findings = found(run(private, "--no-microphone", "--json"))
        assert findings["model other"]["verdict"] == "problem"
        assert "golden test" in findings["model other"]["finding"]
        assert "'emotion' is missing" in findings["models"]["finding"]
        assert findings["headroom"]["verdict"] == "skipped"
        # What is required is known without a checkout, too.
        assert "numpy" in findings["packages"]["figures"]["versions"]

    def test_missing_portaudio(self, environment: dict[str, str], tmp_path: Path) -> None:
        missing = shadowed(
            environment,
            tmp_path / "path",
            sounddevice="raise OSError('PortAudio library not found')",
            onnxruntime=GONE,
        )
        done = run(missing, "--json")
        findings = found(done)
        assert done.returncode == 1
        assert findings["portaudio"]["verdict"] == "problem"
        assert "PortAudio library not found" in findings["portaudio"]["remedy"]
        assert "install" in findings["portaudio"]["remedy"]
        assert findings["devices"]["verdict"] == "skipped"
        assert findings["level"]["verdict"] == "skipped"

    def test_portaudio_that_hangs(self, environment: dict[str, str], tmp_path: Path) -> None:
        code = "import time; time.sleep(60)"
        started = time.monotonic()
        done = run(shadowed(environment, tmp_path / "path", sounddevice=code), "--json")
        assert time.monotonic() - started < 30.0
        assert "does not come up" in found(done)["portaudio"]["finding"]

    def test_packages_that_are_broken_crash_or_are_too_old(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        broken = shadowed(
            environment,
            tmp_path / "path",
            soxr="raise ImportError('libsoxr is\\nelsewhere')",
            onnxruntime="import os; os.abort()",
        )
        record = tmp_path / "path" / "rich-1.5.dist-info" / "METADATA"
        record.parent.mkdir()
        record.write_text("Metadata-Version: 2.1\nName: rich\nVersion: 1.5\n")
        findings = found(run(broken, "--no-microphone", "--json"))
        assert "elsewhere" in findings["soxr"]["finding"]
        assert findings["soxr"]["remedy"].startswith("pip install")
        assert f"exit code {-signal.SIGABRT}" in findings["onnxruntime"]["finding"]
        assert (
            findings["rich"]["finding"]
            == f"1.5 is too old, wanted {requirements()['rich']} or newer"
        )
        assert "numpy" in findings["packages"]["finding"]
        for name in ("model emotion", "speech gate", "engine", "headroom"):
            assert findings[name]["verdict"] == "skipped"
        assert findings["memory"]["verdict"] in ("ok", "warning")

    def test_it_runs_where_nothing_else_does(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        names = ("numpy", "onnxruntime", "rich", "soundfile", "soxr", "sounddevice")
        nothing = shadowed(environment, tmp_path / "path", **dict.fromkeys(names, GONE))
        done = run(nothing)
        assert done.returncode == 1
        for name in names[:-1]:
            assert any(line.startswith(f"✗ {name} ") for line in done.stdout.splitlines())
        assert done.stdout.splitlines()[-1].startswith("✗ verdict")
        assert "5 problems" in done.stdout

    def test_no_sound_at_all(self, deaf: dict[str, str]) -> None:
        done = run(deaf)
        assert done.returncode == 1
        assert "\x1b" not in done.stdout
        lines = {line[2:20].strip(): line for line in done.stdout.splitlines() if line[0] != " "}
        assert lines["portaudio"].startswith("✓")
        assert lines["devices"].startswith("✗")
        assert lines["level"].startswith("-")
        assert lines["engine"].startswith("✓")
        assert "→ " in done.stdout

    def test_an_alsa_configuration_that_portaudio_does_not_survive(
        self, deaf: dict[str, str]
    ) -> None:
        Path(deaf["ALSA_CONFIG_PATH"]).write_text("")
        done = run(deaf, "--json")
        findings = found(done)
        assert done.returncode == 1
        assert findings["level"]["verdict"] == "skipped"
        assert findings["engine"]["verdict"] == "ok"
        if findings["portaudio"]["verdict"] == "problem":
            assert "SIGABRT" in findings["portaudio"]["finding"]
            assert "ALSA" in findings["portaudio"]["remedy"]

    def test_a_model_that_is_too_slow(self, environment: dict[str, str], tmp_path: Path) -> None:
        findings = found(
            run(environment, "--no-microphone", "--json", "--model", slow_model(tmp_path))
        )
        assert findings["headroom"]["verdict"] == "problem"
        assert "--cpu-budget" in findings["headroom"]["remedy"]
        assert findings["headroom"]["figures"]["streams"] in (0, 1)


@pytest.mark.integration
class TestOptions:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--no-microphone", "--device", "usb"], "exclude each other"),
            (["--model", "no-such-name"], "no-such-name"),
            (["--model", "missing.onnx"], "missing.onnx"),
            (["--louder"], "--louder"),
            (["--js"], "--js"),
        ],
    )
    def test_mistakes_are_one_line(
        self, environment: dict[str, str], arguments: list[str], words: str
    ) -> None:
        done = run(environment, *arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert words in done.stderr
        assert done.stderr.startswith("ser-live: error: ")
        assert done.stderr.count("\n") == 1

    def test_help_loads_nothing_heavy(self, environment: dict[str, str]) -> None:
        code = (
            "import sys; from ser_live.doctor import main\n"
            "try: main(['--help'])\n"
            "except SystemExit: pass\n"
            "heavy = {'numpy', 'onnxruntime', 'sounddevice', 'soundfile', 'soxr', 'rich'}\n"
            "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment, capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        for word in ("--device", "--no-microphone", "--model", "--json", "exit codes"):
            assert word in done.stdout


@pytest.mark.integration
class TestEndings:
    def started(self, environment: dict[str, str]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*COMMAND, "--no-microphone"],
            env={**environment, "PYTHONIOENCODING": "utf-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def test_ctrl_c(self, environment: dict[str, str]) -> None:
        with self.started(environment) as process:
            assert process.stdout is not None
            assert "python" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=10)
        assert process.returncode == 130
        assert "verdict" not in out
        assert err == ""

    def test_a_reader_that_has_enough(self, environment: dict[str, str]) -> None:
        with self.started(environment) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.wait(timeout=20) == 0
            assert process.stderr.read() == ""


@pytest.mark.integration
class TestTerminal:
    def seen(self, environment: dict[str, str], *arguments: str) -> str:
        """What comes to a terminal."""
        leader, follower = pty.openpty()
        with os.fdopen(leader, "rb", buffering=0) as terminal:
            process = subprocess.Popen(
                [*COMMAND, "--no-microphone", *arguments],
                env={**environment, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
                stdin=follower, stdout=follower, stderr=follower,
            )  # fmt: skip
            os.close(follower)
            chunks = []
            try:
                while chunk := terminal.read(65536):
                    chunks.append(chunk)
            except OSError:  # the other end has gone
                pass
            assert process.wait(timeout=30) in (0, 1)
        return b"".join(chunks).decode()

    def test_colours_and_progress(self, environment: dict[str, str]) -> None:
        environment.pop("NO_COLOR", None)
        text = self.seen(environment)
        assert "\x1b[32m✓" in text
        assert "recognizing as fast as possible ..." in text

    def test_no_colour_when_it_is_not_wanted(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        hurried = shadowed(environment, tmp_path / "path", numpy=GONE)
        text = self.seen({**hurried, "NO_COLOR": "1"})
        assert "\x1b[3" not in text.replace("\x1b[3m", "")
        assert "✓ python" in text
        assert "✗" in text

    def test_a_terminal_without_rich(self, environment: dict[str, str], tmp_path: Path) -> None:
        text = self.seen(shadowed(environment, tmp_path / "path", numpy=GONE, rich=GONE))
        assert "\x1b" not in text
        assert "✗ rich " in text

    def test_json_is_whole_beside_the_progress(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        text = self.seen(shadowed(environment, tmp_path / "path", numpy=GONE), "--json")
        assert "importing the required packages ..." in text
        assert json.loads(text[text.index("{\r\n") :])["verdict"] == "problem"


class TestVerdicts:
    @pytest.mark.parametrize(
        ("cost_seconds", "verdict", "streams"),
        [(0.002, "ok", 125), (0.12, "ok", 2), (0.13, "problem", 1), (0.5, "problem", 0)],
    )
    def test_headroom(self, cost_seconds: float, verdict: str, streams: int) -> None:
        finding = judge_headroom([cost_seconds] * 20, 0.25, 2)
        assert finding.verdict == verdict
        assert finding.figures["streams"] == streams
        assert (finding.remedy is not None) == (verdict == "problem")

    def test_the_advised_hop_is_long_enough(self) -> None:
        for cost_seconds in (0.126, 0.2, 0.26, 0.9):
            remedy = judge_headroom([cost_seconds] * 20, 0.25, 2).remedy or ""
            hop_seconds = float(remedy.split("--hop ")[1].split(")")[0])
            assert judge_headroom([cost_seconds] * 20, hop_seconds, 2).verdict == "ok"

    def test_a_check_that_raises_is_a_finding_and_what_needs_it_is_skipped(self) -> None:
        def breaks() -> Iterator[Finding]:
            yield Finding("first", "ok", "it came this far")
            raise ZeroDivisionError("division\nby zero")

        def is_missing() -> Iterator[Finding]:
            raise SerError("no needle; look in the haystack")

        checks = [
            Check("broken", breaks),
            Check("missing", is_missing),
            Check("dependent", breaks, needs=("broken",)),
            Check("dependent of that", breaks, needs=("dependent",)),
        ]
        findings = list(examine(checks, lambda hint: contextlib.nullcontext()))
        assert [(f.name, f.verdict) for f in findings] == [
            ("first", "ok"),
            ("broken", "problem"),
            ("missing", "problem"),
            ("dependent", "skipped"),
            ("dependent of that", "skipped"),
        ]
        assert findings[1].finding == "the check failed (ZeroDivisionError: division by zero)"
        assert (findings[2].finding, findings[2].remedy) == ("no needle", "look in the haystack")

    def test_names_are_taken_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/ann")
        monkeypatch.setenv("LOGNAME", "ann")
        given = {"a": ["/home/ann/x", ("/home/annabel", "/tmp/of-ann/y", 3)], "b": "ann may record"}
        assert without_names(given) == {
            "a": ["~/x", ["/home/annabel", "/tmp/of-USER/y", 3]],
            "b": "ann may record",
        }


def slow_model(folder: Path) -> Path:
    """A model that multiplies large matrices for every window."""
    from onnx import helper, numpy_helper  # noqa: PLC0415

    card = tiny_card()
    graph = tiny_graph(card)
    nodes = graph.graph.node
    large = np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32)
    graph.graph.initializer.append(numpy_helper.from_array(large / 2048, "large"))
    graph.graph.initializer.append(numpy_helper.from_array(np.float32(1e-30), "nothing"))
    softmax = nodes.pop()
    nodes.append(helper.make_node("ReduceMean", ["mean"], ["level"], keepdims=0))
    nodes.append(helper.make_node("Mul", ["large", "level"], ["power0"]))
    for step in range(3):
        nodes.append(helper.make_node("MatMul", ["large", f"power{step}"], [f"power{step + 1}"]))
    nodes.append(helper.make_node("ReduceMean", ["power3"], ["all"], keepdims=0))
    nodes.append(helper.make_node("Mul", ["all", "nothing"], ["none"]))
    nodes.append(helper.make_node("Add", ["logits", "none"], ["late"]))
    softmax.input[0] = "late"
    nodes.append(softmax)
    return write_graph(folder / "slow.onnx", graph, with_golden(card, graph).to_json())
