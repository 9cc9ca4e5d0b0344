"""The soak: it measures what is, and it notices what must not be."""

import argparse
import dataclasses
import json
import mmap
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
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
)
from ser_live.testing import faults as faults_module
from sound_server import SoundServer
from tools.machine import children_processor_seconds
from tools.report import Report
from tools.soak.__main__ import main
from tools.soak.real import RealSoak, Trend
from tools.soak.script import CHANNELS, RATE_HZ, script
from tools.soak.virtual import VirtualSoak

SOAK = Path(__file__).parent / "tools" / "soak"
SLOPE = "lag at the usual rate, slope"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
integration = pytest.mark.integration


def soaked(model: OnnxClassifier, seconds: float, seed: int = 0) -> Report:
    options = argparse.Namespace(seconds=seconds, faults_per_hour=240.0, seed=seed)
    soak = VirtualSoak(options, model)
    assert len(list(soak.steps())) > 10
    return soak.report()


def missed(report: Report) -> list[str]:
    # What a few minutes leave of a slope is noise.
    return [name for name in report.missed if name != SLOPE]


@integration
def test_a_short_soak_meets_all_that_is_wanted_and_can_be_repeated(model: OnnxClassifier) -> None:
    report = soaked(model, 150.0)
    assert missed(report) == []
    assert report["stream"] == pytest.approx(150.0 / 3600.0, abs=0.001)
    assert report["frames unaccounted, at any moment"] == 0
    lost, recovered = report["losses, recoveries"]
    assert lost == recovered >= 8
    assert len(report.tables["Faults that took effect"].rows) == 15
    assert report["gaps"] > 10
    again = soaked(model, 150.0)
    of_the_machine = ("wall time", "times real time", "resident memory", "growth")
    one, other = (
        [figure for figure in r.figures if not figure.name.startswith(of_the_machine)]
        for r in (report, again)
    )
    assert one == other
    assert report.tables == again.tables


class TestScript:
    def test_it_comes_from_the_seed_and_has_everything(self) -> None:
        day = script(24 * 3600.0, 60.0, seed=3)
        assert day == script(24 * 3600.0, 60.0, seed=3)
        assert day.faults != script(24 * 3600.0, 60.0, seed=4).faults
        kinds = Counter(type(fault) for fault in day.faults)
        known = [k for k in vars(faults_module).values() if isinstance(k, type)]
        bases = (faults_module.Fault, faults_module.LastingFault)
        wanted = {k for k in known if issubclass(k, faults_module.Fault) and k not in bases}
        assert set(kinds) == wanted
        assert len(day.faults) == pytest.approx(24 * 60, rel=0.15)
        assert len(day.sleeps) == pytest.approx(24 * 6, rel=0.4)

    def test_the_first_half_minute_has_one_of_each_kind_and_the_end_is_quiet(self) -> None:
        hour = script(3600.0, 600.0, seed=0)
        first = [fault for fault in hour.faults if fault.at_seconds < 30.0]
        assert {type(fault) for fault in first} == {type(fault) for fault in hour.faults}
        formats, all_formats = (
            {(f.sample_rate_hz, f.channels) for f in faults if isinstance(f, Unplug)}
            for faults in (first, hour.faults)
        )
        assert formats == all_formats
        last = hour.faults[-1]
        assert isinstance(last, Unplug)
        assert (last.sample_rate_hz, last.channels) == (RATE_HZ, CHANNELS)
        assert last.at_seconds == 3540.0


@integration
class TestItNotices:
    def test_frames_in_no_count_and_gaps_of_the_wrong_length(
        self, model: OnnxClassifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def short_of_one(microphone: FakeMicrophone) -> SourceCounters:
            honest = super(FakeMicrophone, microphone).counters
            return dataclasses.replace(honest, processed=max(0, honest.processed - 1))

        deliver = FakeMicrophone._deliver

        def late(microphone: FakeMicrophone, audio: object) -> None:
            if microphone._lost_at is not None:
                microphone._lost_at += 0.05
            deliver(microphone, audio)  # type: ignore[arg-type]

        monkeypatch.setattr(FakeMicrophone, "counters", property(short_of_one))
        monkeypatch.setattr(FakeMicrophone, "_deliver", late)
        report = soaked(model, 30.0)
        assert report["frames unaccounted, at any moment"] == 1
        assert report["length of a gap, worst error"] == pytest.approx(50.0, abs=1.0)
        names = {"frames unaccounted, at any moment", "length of a gap, worst error"}
        assert names <= set(missed(report))

    @linux
    def test_memory_that_is_never_given_back_and_a_thread_that_is_left(
        self, model: OnnxClassifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # From the system itself: the heap may have room left by the tests before.
        kept: list[mmap.mmap] = []
        over = threading.Event()
        left = threading.Thread(target=over.wait)

        class Leaking(SlowModel):
            def probabilities(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
                kept.append(mmap.mmap(-1, 16 * window.nbytes))
                kept[-1].write(16 * window.tobytes())
                if len(kept) == 1:
                    left.start()
                return super().probabilities(window)

        monkeypatch.setattr("tools.soak.virtual.SlowModel", Leaking)
        report = soaked(model, 120.0)
        over.set()
        left.join()
        size_mib = sum(len(memory) for memory in kept) / 2**20
        assert size_mib > 16
        assert report["growth"] > size_mib / 4
        assert {"growth", "threads before, after"} <= set(missed(report))


class TestTrend:
    def test_is_the_line_of_least_squares(self) -> None:
        rng = np.random.default_rng(0)
        x = np.sort(rng.uniform(0, 24, 5000))
        y = 1e6 + 0.002 * x + rng.normal(0, 0.1, 5000)
        trend = Trend()
        for count, point in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
            assert (trend.slope is None) == (count < 2)
            trend.add(*point)
        assert trend.slope == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-6)


@linux
class TestUsage:
    @integration
    def test_children_are_counted_while_they_live_and_when_they_have_ended(self) -> None:
        before = children_processor_seconds()
        burn = "import time; t = time.process_time()\nwhile time.process_time() < t + 1.0: pass\n"
        command = [sys.executable, "-c", burn + "print(flush=True); input()"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            alive = children_processor_seconds()
        assert alive - before > 0.9
        assert children_processor_seconds() >= alive - 0.05


class TestCommand:
    def test_prints_and_writes_its_report(
        self, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = tmp_path / "soak.md"
        options = ["--virtual", "--minutes", "0.4", "--model", str(tiny_model)]
        assert main([*options, "--report", str(page)]) == 1  # half a minute is no slope
        out = capsys.readouterr().out
        assert page.read_text(encoding="utf-8") == out
        record = json.loads((tmp_path / "soak.json").read_text(encoding="utf-8"))
        figures = {figure["name"]: figure for figure in record["figures"]}
        assert figures["frames unaccounted, at any moment"]["value"] == 0
        assert {"growth", "losses, recoveries", SLOPE} <= set(figures)
        for words in ("| frames unaccounted, at any moment | 0 | 0 | met |", "| Unplug |", "tiny"):
            assert words in out

    @integration
    def test_ctrl_c_prints_the_report_so_far(
        self, tiny_model: Path, tmp_path: Path, environment: dict[str, str]
    ) -> None:
        page = tmp_path / "soak.md"
        command = [sys.executable, str(SOAK), "--virtual", "--hours", "100"]
        command += ["--model", str(tiny_model), "--report", str(page)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
        try:
            soak = psutil.Process(process.pid)
            while process.poll() is None and soak.cpu_times().user < 4.0:  # it never waits
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()  # a shell that runs the tests in the background has SIGINT ignored
        assert process.returncode == 130, err
        assert err == ""
        assert "| stream | " in out
        assert page.read_text(encoding="utf-8") == out


@integration
def test_a_real_microphone_is_soaked_too(
    speaker: SoundServer, tiny_model: Path, environment: dict[str, str]
) -> None:
    command = [sys.executable, str(SOAK), "--minutes", "0.1", "--device", "pulse"]
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
    found = {f["name"]: f["value"] for f in json.loads(done.stdout)["figures"]}
    assert found["device"] == "pulse"
    assert found["frames unaccounted, at any moment"] == 0
    assert found["wall time"] == pytest.approx(6.0, abs=2.0)
    assert found["stream"] == pytest.approx(6.0, abs=2.0)
    assert found["predictions"] > 14
    assert abs(found["timeline ahead of the host's clock"]) < 500.0
    assert 0.0 < found["processor, this process"] < 0.5
    assert 0.0 < found["processor, capture process"] < 0.5
    assert all(found[stage]["count"] > 0 for stage in ("callback", "queue", "total", "lag"))
    before, after = found["threads before, after"]
    assert before == after


@integration
def test_a_real_soak_reports_what_happened(model: OnnxClassifier) -> None:
    """On a fake microphone in real time: the real one is not always there."""
    faults = [Overrun(0.5, 0.3), Unplug(1.5, 0.2)]
    microphone = FakeMicrophone(demo_voice(), faults, clock=SystemClock())
    options = argparse.Namespace(seconds=4.0, device=None)
    soak = RealSoak(options, model, microphone._capture_of)
    assert not soak.has_begun
    passed = list(soak.steps())
    assert passed == sorted(passed)
    assert 4.0 <= passed[-1] < 6.0
    report = soak.report()
    assert missed(report) == []
    assert soak.events == {"device_lost": 1, "device_restored": 1, "gap": 2}
    assert (report["restarts"], report["overruns that the device reported"]) == (1, 1)
    processed_seconds = (report["frames captured"] - report["frames dropped, with a count"]) / 16000
    missing_seconds = report["missing on the timeline"]
    assert missing_seconds == pytest.approx(report["stream"] - processed_seconds, abs=0.2)
    assert report["predictions"] >= 12
    assert abs(report["timeline ahead of the host's clock"]) < 500.0
    assert 0.0 < report["processor, this process"] < 1.0
    page = report.as_markdown("soak")
    for words in ("| restarts | 1 |", "ppm |", "| device_lost | 1 |", "% of a core"):
        assert words in page
