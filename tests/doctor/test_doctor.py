"""ser-live doctor: its findings on healthy and on broken machines."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pytest

from helpers.doctor_process import COMMAND, GONE, PACKAGE, Findings, found, run, shadowed
from helpers.in_process import call, error_of
from helpers.processes import interrupted
from ser_live.doctor import devices, engine, finding, machine
from ser_live.doctor.engine import judge_headroom
from ser_live.doctor.finding import Check, Finding, examine
from ser_live.doctor.machine import Ended, requirements
from ser_live.doctor.report import without_names
from ser_live.errors import SerError
from ser_live.model import catalog
from ser_live.model.classifier import OnnxClassifier
from ser_live.testing import SlowModel, tiny_card
from ser_live.testing.models import tiny_graph, with_golden, write_graph


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start no process, and have the same headroom however busy the machine is."""
    good = Ended(0, "", "")
    monkeypatch.setattr(machine, "run_python", lambda _, modules, __: [good for _ in modules])
    monkeypatch.setattr(engine, "_HEADROOM_SECONDS", 0.0)
    monkeypatch.setattr(engine, "_costs", lambda recognizer: itertools.repeat(0.002))
    for name, value in (("TERM", "xterm-256color"), ("COLUMNS", "200")):
        monkeypatch.setenv(name, value)


@pytest.fixture
def one_model(
    quick: None, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ship the tiny model alone, under the name of the default one."""
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(tiny_model, folder / "emotion.onnx")
    for module in (catalog, finding):
        monkeypatch.setattr(module, "model_folder", lambda: folder)


def findings_of(*arguments: object) -> Findings:
    return found(call("doctor", "--no-microphone", "--json", *arguments))


@pytest.fixture
def soundless(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A machine without any sound."""
    alsa = tmp_path / "no-sound.conf"
    alsa.write_text("pcm.gone { type hw card 31 }\n")
    quiet = {"ALSA_CONFIG_PATH": str(alsa), "XDG_RUNTIME_DIR": str(tmp_path)}
    for name in ("PULSE_SERVER", "DBUS_SESSION_BUS_ADDRESS"):
        environment.pop(name, None)
    return {**environment, **quiet}


@pytest.mark.usefixtures("quick")
class TestHealthyMachine:
    @pytest.mark.usefixtures("one_model")
    def test_a_line_per_finding_and_a_verdict_without_colours(self) -> None:
        done = call("doctor", "--no-microphone")
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

    @pytest.mark.usefixtures("one_model")
    def test_ascii_where_the_encoding_knows_no_more(self, tmp_path: Path) -> None:
        broken = tmp_path / "gebrochen-ö-\x1b[31m.onnx"
        broken.write_bytes(b"")
        done = call("doctor", "--no-microphone", "--model", broken, encoding="ascii")
        assert done.returncode == 1
        assert done.stdout.isascii()
        assert "\x1b" not in done.stdout
        assert {line[0] for line in done.stdout.splitlines()} == {"+", "-", "x", " "}
        assert "-> " in done.stdout

    @pytest.mark.usefixtures("one_model")
    def test_json_holds_figures_but_neither_name_nor_home(
        self, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = tmp_path / "models of zaphod" / "mine.onnx"
        model.parent.mkdir(parents=True)
        shutil.copy(tiny_model, model)
        monkeypatch.setenv("HOME", str(PACKAGE.parent))
        monkeypatch.setenv("LOGNAME", "zaphod")
        done = call("doctor", "--no-microphone", "--json", "--model", model)
        assert str(PACKAGE.parent) not in done.stdout
        assert "zaphod" not in done.stdout
        findings = found(done)
        assert findings["ser-live"]["figures"]["folder"] == "~/ser_live"
        assert findings["model mine.onnx"]["verdict"] == "ok"
        assert findings["python"]["figures"]["bits"] == 64
        assert findings["packages"]["figures"]["versions"]["numpy"] == np.__version__
        assert findings["clock"]["figures"]["tick_seconds"] < 0.1
        assert findings["processors"]["figures"]["count"] == os.cpu_count()

    def test_the_engine_recognizes_the_demo_and_has_room(self) -> None:
        findings = findings_of("--model", "emotion-light")
        assert findings["model emotion"]["verdict"] == findings["packages"]["verdict"] == "ok"
        assert findings["engine"]["figures"]["states"]["speech"] >= 1
        assert 0.3 < findings["speech gate"]["figures"]["speech_share"] < 0.9
        figures = findings["headroom"]["figures"]
        assert 0.0 < figures["p50_seconds"] <= figures["p95_seconds"]
        assert figures["streams"] >= 1
        assert figures["hop_seconds"] == 0.25


@pytest.mark.usefixtures("quick")
class TestBrokenModels:
    @pytest.mark.usefixtures("one_model")
    def test_a_broken_model_of_the_users_own(self, tiny_model: Path, tmp_path: Path) -> None:
        broken = tmp_path / "broken.onnx"
        broken.write_bytes(tiny_model.read_bytes()[:5000])
        findings = findings_of("--model", broken)
        assert findings["model broken.onnx"]["verdict"] == "problem"
        assert "export" in findings["model broken.onnx"]["remedy"]
        assert findings["model emotion"]["verdict"] == "ok"
        assert findings["engine"]["verdict"] == "skipped"
        assert "model broken.onnx" in findings["engine"]["finding"]

    def test_a_models_folder_with_a_wrong_golden_test_and_no_default(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (catalog, finding):
            monkeypatch.setattr(module, "model_folder", lambda: tmp_path)
        card, graph = tiny_card(), tiny_graph(tiny_card())
        other_card = with_golden(card, tiny_graph(card, seed=1))
        write_graph(tmp_path / "other.onnx", graph, other_card.to_json())
        findings = findings_of()
        assert findings["model other"]["verdict"] == "problem"
        assert "golden test" in findings["model other"]["finding"]
        assert "'emotion' is missing" in findings["models"]["finding"]
        assert findings["headroom"]["verdict"] == "skipped"


@pytest.mark.integration
class TestBrokenMachine:
    def test_missing_portaudio(self, environment: dict[str, str], tmp_path: Path) -> None:
        missing = shadowed(
            environment,
            tmp_path / "path",
            sounddevice="raise OSError('PortAudio library not found')",
            onnxruntime=GONE,
        )
        findings = found(run(missing, "--json"))
        assert findings["portaudio"]["verdict"] == "problem"
        assert "PortAudio library not found" in findings["portaudio"]["remedy"]
        assert "install" in findings["portaudio"]["remedy"]
        assert {findings[name]["verdict"] for name in ("devices", "level")} == {"skipped"}

    def test_portaudio_that_hangs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "sounddevice.py").write_text("import time; time.sleep(60)")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(devices, "_LOAD_SECONDS", 1.0)
        (result,) = devices.check_portaudio()
        assert result.verdict == "problem"
        assert "does not come up within 1 s" in result.finding

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
        wanted = f"1.5 is too old, wanted {requirements()['rich']} or newer"
        assert findings["rich"]["finding"] == wanted
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

    def test_no_sound_at_all(self, soundless: dict[str, str]) -> None:
        done = run(soundless)
        assert done.returncode == 1
        assert "\x1b" not in done.stdout
        marks = {line[2:20].strip(): line[0] for line in done.stdout.splitlines()}
        wanted = {"portaudio": "✓", "devices": "✗", "level": "-", "engine": "✓"}
        assert wanted.items() <= marks.items(), done.stdout
        assert "→ " in done.stdout

    def test_an_alsa_configuration_that_portaudio_does_not_survive(
        self, soundless: dict[str, str]
    ) -> None:
        Path(soundless["ALSA_CONFIG_PATH"]).write_text("")
        findings = found(run(soundless, "--json"))
        assert findings["level"]["verdict"] == "skipped"
        assert findings["engine"]["verdict"] == "ok"
        if findings["portaudio"]["verdict"] == "problem":
            assert "SIGABRT" in findings["portaudio"]["finding"]
            assert "ALSA" in findings["portaudio"]["remedy"]


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
    def test_mistakes_are_one_line(self, arguments: list[str], words: str) -> None:
        assert words in error_of(call("doctor", *arguments))


@pytest.mark.integration
def test_ctrl_c_ends_it_without_a_word(environment: dict[str, str]) -> None:
    command = [*COMMAND, "--no-microphone"]
    code, out, err = interrupted(command, environment, lambda doctor: bool(doctor.children()))
    assert code == 130
    assert "verdict" not in out
    assert err == ""


@pytest.mark.usefixtures("one_model")
class TestTerminal:
    def seen(self, *arguments: object) -> str:
        """Return all that comes to a terminal."""
        done = call("doctor", "--no-microphone", *arguments, is_terminal=True)
        assert done.returncode in (0, 1)
        return done.stdout

    @pytest.fixture
    def broken(self, tmp_path: Path) -> Path:
        """A file that is no model."""
        (tmp_path / "broken.onnx").write_bytes(b"")
        return tmp_path / "broken.onnx"

    def test_colours_and_progress(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NO_COLOR", raising=False)
        text = self.seen()
        assert "\x1b[32m✓" in text
        assert "recognizing as fast as possible ..." in text

    def test_no_colour_when_it_is_not_wanted(
        self, broken: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        text = self.seen("--model", broken)
        assert "\x1b[3" not in text.replace("\x1b[3m", "")
        assert "✓ python" in text
        assert "✗" in text

    def test_a_terminal_without_rich(self, broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "rich.console", None)
        text = self.seen("--model", broken)
        assert "\x1b" not in text
        assert "✗ model broken.onnx" in text

    def test_json_is_whole_beside_the_progress(self, broken: Path) -> None:
        text = self.seen("--json", "--model", broken)
        assert "importing the required packages ..." in text
        assert json.loads(text[text.index("{\n") : text.rindex("}") + 1])["verdict"] == "problem"


class TestVerdicts:
    @pytest.mark.parametrize(
        ("cost_seconds", "verdict", "streams"),
        [
            (0.002, "ok", 125),
            (0.12, "ok", 2),
            *((cost, "problem", 1) for cost in (0.126, 0.13, 0.2)),
            *((cost, "problem", 0) for cost in (0.26, 0.5, 0.9)),
        ],
    )
    def test_headroom_and_the_advice_to_take_a_longer_hop(
        self, cost_seconds: float, verdict: str, streams: int
    ) -> None:
        finding = judge_headroom([cost_seconds] * 20, 0.25, 2)
        assert finding.verdict == verdict
        assert finding.figures["streams"] == streams
        assert (finding.remedy is None) == (verdict == "ok")
        if finding.remedy is not None:
            hop_seconds = float(finding.remedy.split("--hop ")[1].split(")")[0])
            assert judge_headroom([cost_seconds] * 20, hop_seconds, 2).verdict == "ok"

    def test_a_model_that_is_too_slow(
        self, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = SlowModel(OnnxClassifier.load(tiny_model), 0.15)
        monkeypatch.setattr(engine, "_FEWEST_HOPS", 3)
        (result,) = engine.check_headroom(model)  # type: ignore[arg-type]
        assert result.verdict == "problem"
        assert "--cpu-budget" in (result.remedy or "")
        assert result.figures["streams"] in (0, 1)

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

    def test_requirements_are_known_without_a_checkout(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not any(package.name == "ser-live" for package in distributions()):
            pytest.skip("ser-live is not installed")
        monkeypatch.setattr(machine, "__file__", str(tmp_path / "a" / "b" / "c" / "machine.py"))
        assert "numpy" in requirements()

    def test_names_are_taken_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/ann")
        monkeypatch.setenv("LOGNAME", "ann")
        given = {"a": ["/home/ann/x", ("/home/annabel", "/tmp/of-ann/y", 3)], "b": "ann may record"}
        assert without_names(given) == {
            "a": ["~/x", ["/home/annabel", "/tmp/of-USER/y", 3]],
            "b": "ann may record",
        }
