"""ser-live doctor as a process: what it finds on healthy and on broken machines."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from ser_live.doctor.engine import judge_headroom
from ser_live.doctor.finding import Check, Finding, examine
from ser_live.doctor.level import judge_capture, judge_level
from ser_live.doctor.packages import requirements
from ser_live.doctor.privacy import without_names
from ser_live.doctor.recording import Recording, record
from ser_live.errors import SerError
from ser_live.sources import Block, SourceCounters
from sound_server import SoundServer
from tiny_models import tiny_card, tiny_graph, with_golden, write_graph

PACKAGE = Path(__file__).parent.parent / "realtime" / "ser_live"
COMMAND = [sys.executable, "-m", "ser_live.cli", "doctor"]
GONE = "raise ImportError('gone')"

Findings = dict[str, dict[str, Any]]


def run(environment: dict[str, str], *arguments: object) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env={"PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert b"Traceback" not in done.stdout + done.stderr
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def found(done: "subprocess.CompletedProcess[str]") -> Findings:
    """The findings of a JSON report, by name."""
    document = json.loads(done.stdout)
    assert document["verdict"] in ("ok", "warning", "problem")
    assert (document["verdict"] == "problem") == (done.returncode == 1)
    return {finding["name"]: finding for finding in document["findings"]}


def shadowed(environment: dict[str, str], folder: Path, **modules: str) -> dict[str, str]:
    """An environment in which modules of our own stand before the installed ones."""
    folder.mkdir(exist_ok=True)
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code)
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join([str(folder), environment["PYTHONPATH"]]),
    }


@pytest.fixture
def deaf(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A machine without any sound."""
    alsa = tmp_path / "no-sound.conf"
    alsa.write_text("pcm.gone { type hw card 31 }\n")
    quiet = {"ALSA_CONFIG_PATH": str(alsa), "XDG_RUNTIME_DIR": str(tmp_path)}
    for name in ("PULSE_SERVER", "DBUS_SESSION_BUS_ADDRESS"):
        environment.pop(name, None)
    return {**environment, **quiet}


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

    @pytest.mark.slow
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

    @pytest.mark.slow
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

    @pytest.mark.slow
    def test_a_model_that_is_too_slow(self, environment: dict[str, str], tmp_path: Path) -> None:
        findings = found(
            run(environment, "--no-microphone", "--json", "--model", slow_model(tmp_path))
        )
        assert findings["headroom"]["verdict"] == "problem"
        assert "--cpu-budget" in findings["headroom"]["remedy"]
        assert findings["headroom"]["figures"]["streams"] in (0, 1)


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


@pytest.mark.sound_server
@pytest.mark.slow
class TestMicrophone:
    def level(self, speaker: SoundServer) -> Findings:
        """What the level check finds, in a process that the sound server knows."""
        code = (
            "import contextlib, dataclasses, json\n"
            "from ser_live.doctor.finding import Check, examine\n"
            "from ser_live.doctor.level import check_level\n"
            "check = Check('level', lambda: check_level(None))\n"
            "findings = examine([check], lambda hint: contextlib.nullcontext())\n"
            "print(json.dumps([dataclasses.asdict(finding) for finding in findings]))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**speaker.environment, "PYTHONPATH": str(PACKAGE.parent)},
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return {finding["name"]: finding for finding in json.loads(done.stdout)}

    def heard(self, speaker: SoundServer, left: NDArray[Any], right: NDArray[Any]) -> Findings:
        path = speaker.folder / "played.wav"
        stereo = np.stack((left, right), axis=1)
        soundfile.write(path, np.clip(stereo, -1, 1 - 2**-15), 48000, subtype="PCM_16")
        player = speaker.play(path)
        try:
            time.sleep(1.0)
            return self.level(speaker)
        finally:
            player.kill()
            player.wait(timeout=10)

    @pytest.mark.parametrize("amplitude", [0.5, 0.1, 0.001])
    def test_a_sine_is_measured(self, speaker: SoundServer, amplitude: float) -> None:
        findings = self.heard(speaker, amplitude * sine(), amplitude * sine())
        level, capture = findings["level"], findings["capture"]
        assert level["verdict"] == "ok"
        wanted_dbfs = 20.0 * np.log10(amplitude)
        assert level["figures"]["peak_dbfs"] == pytest.approx(wanted_dbfs, abs=0.5)
        assert level["figures"]["rms_dbfs"] == pytest.approx(wanted_dbfs - 3.01, abs=0.5)
        assert capture["verdict"] == "ok", capture
        rate_hz = capture["figures"]["rate_hz"]
        assert capture["figures"]["measured_rate_hz"] == pytest.approx(rate_hz, rel=0.03)

    def test_digital_silence(self, speaker: SoundServer) -> None:
        findings = self.level(speaker)
        assert findings["level"]["verdict"] == "problem"
        assert "digital silence" in findings["level"]["finding"]
        assert findings["level"]["remedy"]
        assert findings["capture"]["verdict"] == "ok"

    @pytest.mark.parametrize(
        ("amplitude", "offset", "right", "words"),
        [
            (0.0002, 0.0, 1, "very quiet"),
            (2.0, 0.0, 1, "clipped"),
            (0.1, 0.1, 1, "constant +0.1"),
            (0.1, 0.0, -1, "cancel each other"),
        ],
    )
    def test_troubles(
        self, speaker: SoundServer, amplitude: float, offset: float, right: int, words: str
    ) -> None:
        samples = amplitude * sine()
        level = self.heard(speaker, samples + offset, right * samples + offset)["level"]
        assert level["verdict"] == "warning"
        assert words in level["finding"]
        assert level["remedy"]

    def test_the_whole_report(self, speaker: SoundServer) -> None:
        path = speaker.folder / "played.wav"
        soundfile.write(path, np.stack((0.1 * sine(), 0.1 * sine()), axis=1), 48000)
        player = speaker.play(path)
        environment = {**speaker.environment, "PYTHONPATH": str(PACKAGE.parent)}
        done = run(environment, "--json", "--device", "pulse")
        player.kill()
        player.wait(timeout=10)
        findings = found(done)
        assert done.returncode == 0, done.stdout
        assert str(speaker.folder) not in done.stdout
        assert findings["sound system"]["figures"]["listening"] == ["PulseAudio"]
        devices = [
            finding["figures"] for name, finding in findings.items() if name[:7] == "device "
        ]
        assert {"pulse", "default"} == {device["name"] for device in devices}
        assert sum(device["is_default"] for device in devices) == 1
        assert all({16000, 48000} <= set(device["rates_hz"]) for device in devices)
        assert "'pulse'" in findings["level"]["finding"]

    def test_an_unknown_device(self, speaker: SoundServer) -> None:
        environment = {**speaker.environment, "PYTHONPATH": str(PACKAGE.parent)}
        findings = found(run(environment, "--json", "--device", "gramophone"))
        assert "gramophone" in findings["level"]["finding"]
        assert "pulse" in findings["level"]["remedy"]

    def test_a_server_that_hangs_from_the_beginning(self, speaker: SoundServer) -> None:
        pid = int((speaker.folder / "runtime" / "pulse" / "pid").read_text())
        environment = {**speaker.environment, "PYTHONPATH": str(PACKAGE.parent)}
        os.kill(pid, signal.SIGSTOP)
        try:
            findings = found(run(environment, "--json"))
        finally:
            os.kill(pid, signal.SIGCONT)
        assert findings["portaudio"]["verdict"] == "problem"
        assert "restart the sound server" in findings["portaudio"]["remedy"]
        assert findings["engine"]["verdict"] == "ok"

    @pytest.mark.parametrize("after_seconds", [0.2, 1.5])
    def test_a_server_that_hangs_while_it_is_heard(
        self, speaker: SoundServer, after_seconds: float
    ) -> None:
        pid = int((speaker.folder / "runtime" / "pulse" / "pid").read_text())
        stopper = threading.Timer(after_seconds, os.kill, (pid, signal.SIGSTOP))
        stopper.start()
        started = time.monotonic()
        try:
            findings = self.level(speaker)
        finally:
            stopper.join()
            os.kill(pid, signal.SIGCONT)
        assert time.monotonic() - started < 15.0
        verdicts = {finding["verdict"] for finding in findings.values()}
        assert verdicts & {"problem", "warning"}


class Scripted:
    """A source that gives blocks made beforehand, and then what a test wants."""

    name = "scripted"
    sample_rate_hz = 16000
    channels = 1
    is_live = True
    counters = SourceCounters()
    notes = ()

    def __init__(self, blocks: list[Block], *, hangs: bool = False) -> None:
        self._blocks = blocks
        self._hangs = hangs
        self.closed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Block]:
        yield from self._blocks
        if self._hangs:
            threading.Event().wait(30.0)

    def skip_to_newest(self, keep_seconds: float) -> None:
        pass

    def close(self) -> None:
        self.closed.set()


def blocks(rate_hz: float, seconds: float = 3.0, **changes: Any) -> list[Block]:
    """Noise at a level of -26 dBFS, captured at some rate."""
    rng = np.random.default_rng(0)
    count = round(seconds / 0.1)
    sounds = rng.normal(scale=0.05, size=(count, 1600, 1)).astype(np.float32)
    return [
        Block(sound, 100.0 + (index + 1) * 1600 / rate_hz, **changes)
        for index, sound in enumerate(sounds)
    ]


class TestRecording:
    @pytest.mark.slow
    def test_a_source_that_hangs_gives_what_came(self) -> None:
        source = Scripted(blocks(16000, seconds=0.5), hangs=True)
        started = time.monotonic()
        recording = record(source)
        assert time.monotonic() - started < 10.0
        assert source.closed.is_set()
        capture = judge_capture(recording)
        assert capture.verdict == "warning"
        assert "only" in capture.finding

    def test_a_source_that_gives_nothing(self) -> None:
        with pytest.raises(SerError, match="gives no sound"):
            record(Scripted([]))

    @pytest.mark.parametrize("rate_hz", [16000, 8000, 14500])
    def test_the_rate_is_measured(self, rate_hz: int) -> None:
        recording = record(Scripted(blocks(rate_hz)))
        assert recording.measured_rate_hz == pytest.approx(rate_hz, rel=1e-3)
        assert (judge_capture(recording).verdict == "ok") == (rate_hz == 16000)

    def test_what_was_lost_is_told(self) -> None:
        recording = record(Scripted(blocks(16000, missing_frames=7, overruns=1)))
        finding = judge_capture(recording)
        assert finding.verdict == "warning"
        assert "overrun" in finding.finding
        assert finding.figures["missing_frames"] == 7 * recording.overruns

    def test_numbers_that_are_none(self) -> None:
        poisoned = blocks(16000)
        poisoned[9].samples[3] = np.nan
        recording = record(Scripted(poisoned))
        assert recording.broken_samples == 1
        assert judge_level(recording)[0].verdict == "ok"
        assert judge_capture(recording).verdict == "warning"

    def test_integers(self) -> None:
        integers = [Block((b.samples * 32768).astype(np.int16)) for b in blocks(16000)]
        finding = judge_level(record(Scripted(integers)))[0]
        assert finding.figures["rms_dbfs"] == pytest.approx(-26.0, abs=0.2)

    def test_a_constant_is_silence(self) -> None:
        samples = np.full((32000, 2), 0.01, np.float32)
        recording = Recording("x", 16000, samples, 16000.0, 0, 0, 0, ())
        assert [f.verdict for f in judge_level(recording)] == ["problem"]


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
        import contextlib  # noqa: PLC0415

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


def sine(seconds: float = 15.0) -> NDArray[np.float64]:
    return np.sin(2 * np.pi * 440 * np.arange(round(seconds * 48000)) / 48000)


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
