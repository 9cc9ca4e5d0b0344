"""The soak: it measures what is, and it would notice what must not be."""

import dataclasses
import json
import mmap
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ser_live.model.classifier import OnnxClassifier
from ser_live.sources import SourceCounters
from ser_live.sources.microphone import SystemClock
from ser_live.testing import (
    FakeMicrophone,
    Overrun,
    SlowModel,
    Unplug,
    demo_voice,
    write_tiny_model,
)
from ser_live.testing import faults as faults_module
from sound_server import SoundServer
from tools.soak.command import main
from tools.soak.real import RealPlan, RealSoak
from tools.soak.report import as_json, as_markdown, figures
from tools.soak.resources import Watch, usage
from tools.soak.script import CHANNELS, RATE_HZ, script
from tools.soak.trend import Trend
from tools.soak.virtual import VirtualPlan, VirtualReport, VirtualSoak

SOAK = Path(__file__).parent / "tools" / "soak"
SLOPE = "lag at the usual rate, slope"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OnnxClassifier:
    return OnnxClassifier.load(write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx"))


def soaked(model: OnnxClassifier, hours: float = 0.1, seed: int = 0) -> VirtualReport:
    soak = VirtualSoak(VirtualPlan(hours, 240.0, seed), model)
    for _ in soak.steps():
        pass
    return soak.report()


def missed(report: VirtualReport) -> list[str]:
    # What a few minutes leave of a slope is noise.
    return [f.name for f in figures(report) if f.is_met is False and f.name != SLOPE]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_short_soak_meets_all_that_is_wanted(model: OnnxClassifier, seed: int) -> None:
    report = soaked(model, seed=seed)
    assert missed(report) == []
    assert report.stream_hours == pytest.approx(0.1, abs=0.001)
    assert report.unaccounted_frames == report.uncounted_frames == 0
    assert report.captured_frames == report.processed_frames + report.dropped_frames
    assert report.recoveries == report.device_losses >= 8
    assert len(report.faults) == 15
    assert report.course.growth_bytes is None or report.course.growth_bytes < 2 * 2**20
    assert dict(report.events)["gap"] == report.gaps > 10


def test_two_soaks_of_one_seed_are_the_same(model: OnnxClassifier) -> None:
    reports = [soaked(model, 0.05) for _ in range(2)]
    of_the_machine = ("wall time", "resident memory", "growth")
    one, other = (
        [f for f in figures(report) if not f.name.startswith(of_the_machine)] for report in reports
    )
    assert one == other
    assert reports[0].faults == reports[1].faults
    assert reports[0].events == reports[1].events


class TestScript:
    def test_it_comes_from_the_seed_and_has_everything(self) -> None:
        lot = script(24 * 3600.0, 60.0, seed=3)
        assert lot == script(24 * 3600.0, 60.0, seed=3)
        assert lot.faults != script(24 * 3600.0, 60.0, seed=4).faults
        kinds = Counter(type(fault) for fault in lot.faults)
        known = [k for k in vars(faults_module).values() if isinstance(k, type)]
        bases = (faults_module.Fault, faults_module.LastingFault)
        wanted = {k for k in known if issubclass(k, faults_module.Fault) and k not in bases}
        assert set(kinds) == wanted
        assert len(lot.faults) == pytest.approx(24 * 60, rel=0.15)
        assert len(lot.sleeps) == pytest.approx(24 * 6, rel=0.4)

    def test_the_first_half_minute_has_one_of_each_kind_and_the_end_is_quiet(self) -> None:
        lot = script(3600.0, 600.0, seed=0)
        first = {type(fault) for fault in lot.faults if fault.at_seconds < 30.0}
        assert first == {type(fault) for fault in lot.faults}
        formats = {
            (f.sample_rate_hz, f.channels)
            for f in lot.faults
            if isinstance(f, Unplug) and f.at_seconds < 30.0
        }
        later = {(f.sample_rate_hz, f.channels) for f in lot.faults if isinstance(f, Unplug)}
        assert later == formats
        last = lot.faults[-1]
        assert isinstance(last, Unplug)
        assert (last.sample_rate_hz, last.channels) == (RATE_HZ, CHANNELS)
        assert last.at_seconds == 3540.0


class TestItNotices:
    """Nothing is wanted of it that it could not miss."""

    def test_a_frame_that_nobody_counts(
        self, model: OnnxClassifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def short_of_one(microphone: FakeMicrophone) -> SourceCounters:
            honest = super(FakeMicrophone, microphone).counters
            return dataclasses.replace(honest, processed=max(0, honest.processed - 1))

        monkeypatch.setattr(FakeMicrophone, "counters", property(short_of_one))
        report = soaked(model, 0.02)
        assert report.unaccounted_frames == 1
        assert "frames unaccounted, at any moment" in missed(report)

    def test_a_gap_of_the_wrong_length(
        self, model: OnnxClassifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deliver = FakeMicrophone._deliver

        def late(microphone: FakeMicrophone, audio: object) -> None:
            if microphone._lost_at is not None:
                microphone._lost_at += 0.05
            deliver(microphone, audio)  # type: ignore[arg-type]

        monkeypatch.setattr(FakeMicrophone, "_deliver", late)
        report = soaked(model, 0.02)
        assert report.gap_error_seconds == pytest.approx(0.05, abs=0.001)
        assert "length of a gap, worst error" in missed(report)

    @linux
    def test_memory_that_is_never_given_back(
        self, model: OnnxClassifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # From the system itself: the heap may have room left by the tests before.
        kept: list[mmap.mmap] = []

        class Leaking(SlowModel):
            def probabilities(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
                kept.append(mmap.mmap(-1, 4 * window.nbytes))
                kept[-1].write(4 * window.tobytes())
                return super().probabilities(window)

        monkeypatch.setattr("tools.soak.virtual.SlowModel", Leaking)
        report = soaked(model, 0.1)
        size = sum(len(memory) for memory in kept)
        assert size > 2**24
        assert report.course.growth_bytes is not None
        assert report.course.growth_bytes > size / 2
        assert "growth" in missed(report)

    def test_a_lag_that_grows(self, model: OnnxClassifier) -> None:
        report = soaked(model, 0.02)
        grown = dataclasses.replace(report, lag_slope_ms_per_hour=3.0)
        shrunk = dataclasses.replace(report, lag_slope_ms_per_hour=-3.0)
        level = dataclasses.replace(report, lag_slope_ms_per_hour=0.3)
        verdicts = [
            [f.is_met for f in figures(r) if f.name == SLOPE] for r in (grown, shrunk, level)
        ]
        assert verdicts == [[False], [False], [True]]

    def test_a_thread_that_is_left(self, model: OnnxClassifier) -> None:
        report = soaked(model, 0.02)
        left = dataclasses.replace(report, threads_after=report.threads_after + 1)
        assert missed(left) == [*missed(report), "threads before, after"]


class TestTrend:
    def test_is_the_line_of_least_squares(self) -> None:
        rng = np.random.default_rng(0)
        x = np.sort(rng.uniform(0, 24, 5000))
        y = 1e6 + 0.002 * x + rng.normal(0, 0.1, 5000)
        trend = Trend()
        for point in zip(x.tolist(), y.tolist(), strict=True):
            trend.add(*point)
        assert trend.slope == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-6)

    def test_needs_two_points(self) -> None:
        trend = Trend()
        assert trend.slope is None
        trend.add(1.0, 5.0)
        assert trend.slope is None
        trend.add(2.0, 7.0)
        assert trend.slope == pytest.approx(2.0)
        trend.reset()
        assert trend.slope is None


class TestResources:
    @linux
    def test_memory_is_that_of_now(self) -> None:
        watch = Watch()
        watch.look(61.0)
        big = mmap.mmap(-1, 50 * 2**20)  # of the system: the heap may have as much lying idle
        for start in range(0, len(big), mmap.PAGESIZE):
            big[start] = 1
        watch.look(3601.0)
        course = watch.course()
        assert course.growth_bytes is not None
        assert course.growth_bytes >= 40 * 2**20
        assert [round(hours, 2) for hours, _ in course.by_hour] == [1.0]
        big.close()
        again = usage().resident_bytes
        assert again is not None
        assert again < (course.at_end.resident_bytes or 0) - 40 * 2**20

    @linux
    def test_children_are_counted_while_they_live_and_when_they_have_ended(self) -> None:
        before = usage()
        burn = "import time; t = time.process_time()\nwhile time.process_time() < t + 1.0: pass\n"
        command = [sys.executable, "-c", burn + "print(flush=True); input()"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            alive = usage()
        ended = usage()
        seconds = [u.children_processor_seconds for u in (before, alive, ended)]
        assert None not in seconds
        assert seconds[1] - seconds[0] > 0.9  # type: ignore[operator]
        assert seconds[2] >= seconds[1] - 0.05  # type: ignore[operator]
        assert (alive.children_resident_bytes or 0) > 2**20

    def test_other_systems_tell_less(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "platform", "win32")
        monkeypatch.setattr("tools.soak.resources.resource", None)
        seen = usage()
        assert seen.resident_bytes is None
        assert seen.children_processor_seconds is None
        assert seen.processor_seconds > 0.0
        watch = Watch()
        watch.look(61.0)
        assert watch.course().growth_bytes is None


class TestCommand:
    def test_prints_and_writes_its_report(
        self, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = tmp_path / "soak.md"
        options = ["--virtual", "--minutes", "2", "--model", str(tiny_model)]
        code = main([*options, "--report", str(page)])
        out = capsys.readouterr().out
        assert code in (0, 1)  # two minutes are no slope
        assert page.read_text(encoding="utf-8") == out
        record = json.loads((tmp_path / "soak.json").read_text(encoding="utf-8"))
        assert record["unaccounted_frames"] == 0
        assert record["plan"]["hours"] == pytest.approx(1 / 30)
        assert {t["name"] for t in record["targets"]} >= {"growth", "recoveries"}
        for words in ("| frames unaccounted, at any moment | 0 | 0 | met |", "| Unplug |", "tiny"):
            assert words in out
        assert main([*options, "--json"]) == code
        assert json.loads(capsys.readouterr().out)["faults"] == record["faults"]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ([], "wanted more than 0"),
            (["--hours", "-1"], "wanted more than 0"),
            (["--hours", "nan"], "wanted more than 0"),
            (["--minutes", "1", "--virtual", "--device", "usb"], "leave one of them out"),
            (["--minutes", "1", "--virtual", "--faults-per-hour", "-1"], "wanted 0 to 3600"),
            (["--minutes", "1", "--virtual", "--seed", "-1"], "wanted 0 or more"),
            (["--minutes", "1", "--virtual", "--model", "nothing.onnx"], "nothing.onnx"),
            (["--minutes", "1", "--virtual", "--report", "report"], "wanted a name like soak.md"),
            (["--minutes", "1", "--virtual", "--report", "no/where.md"], "cannot write the report"),
        ],
    )
    def test_mistakes_take_one_line(
        self,
        options: list[str],
        words: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert main(options) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert words in err
        assert err.count("\n") == 1

    def test_ctrl_c_prints_the_report_so_far(
        self, tiny_model: Path, tmp_path: Path, environment: dict[str, str]
    ) -> None:
        page = tmp_path / "soak.md"
        command = [sys.executable, str(SOAK), "--virtual", "--hours", "100"]
        command += ["--model", str(tiny_model), "--report", str(page)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
        try:
            time.sleep(4.0)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()  # a shell that runs the tests in the background has SIGINT ignored
        assert process.returncode == 130, err
        assert err == ""
        assert "| stream | " in out
        assert page.read_text(encoding="utf-8") == out

    def test_help_is_quick_and_loads_nothing(self, environment: dict[str, str]) -> None:
        code = (
            "import sys\nfrom tools.soak.command import main\n"
            "try: main(['--help'])\nexcept SystemExit: pass\n"
            "assert not {'numpy', 'onnxruntime', 'sounddevice'} & set(sys.modules)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert b"--virtual" in done.stdout


@pytest.mark.integration
def test_a_real_microphone_is_soaked_too(
    speaker: SoundServer, tiny_model: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    command = [sys.executable, str(SOAK), "--minutes", "0.4", "--device", "pulse"]
    command += ["--model", str(tiny_model), "--json"]
    done = subprocess.run(
        command,
        env={**speaker.environment, "PYTHONPATH": environment["PYTHONPATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["device"] == "pulse"
    assert record["unaccounted_frames"] == 0
    assert record["wall_seconds"] == pytest.approx(24.0, abs=3.0)
    assert record["stream_seconds"] == pytest.approx(24.0, abs=3.0)
    assert record["predictions"] > 80
    assert abs(record["drift"]["ahead_ms"]) < 500.0
    assert 0.0 < record["engine_core_share"] < 0.5
    assert 0.0 < record["capture_core_share"] < 0.5
    assert {stage["name"] for stage in record["stages"]} == {"callback", "queue", "total", "lag"}
    assert all(stage["count"] > 0 for stage in record["stages"])
    assert record["threads_after"] == record["course"]["before"]["threads"]


def test_a_real_soak_reports_what_happened(model: OnnxClassifier) -> None:
    """On a fake microphone in real time: the real one is not always there."""
    faults = [Overrun(0.5, 0.3), Unplug(1.5, 0.2)]
    microphone = FakeMicrophone(demo_voice(), faults, clock=SystemClock())
    soak = RealSoak(RealPlan(hours=4.0 / 3600.0), model, microphone._capture_of)
    assert not soak.has_begun
    passed = list(soak.steps())
    assert passed == sorted(passed)
    assert 4.0 <= passed[-1] < 6.0
    report = soak.report()
    assert dict(report.events) == {"device_lost": 1, "device_restored": 1, "gap": 2}
    assert (report.restarts, report.overruns, report.unaccounted_frames) == (1, 1, 0)
    heard_seconds = report.processed_frames / 16000
    assert report.missing_seconds == pytest.approx(report.stream_seconds - heard_seconds)
    assert report.predictions >= 12
    assert report.drift is not None
    assert abs(report.drift.ahead_ms) < 500.0
    assert 0.0 < report.engine_core_share < 1.0
    assert report.threads_after == report.course.before.threads
    page = as_markdown(report, "soak")
    for words in ("| restarts | 1 |", "ppm |", "| device_lost | 1 |", "% of a core"):
        assert words in page
    assert json.loads(as_json(report))["drift"]["seconds"] > 2.0
    without_figures = dataclasses.replace(report, drift=None, capture_core_share=None)
    assert as_markdown(without_figures, "soak").count("unknown on this system") >= 2
