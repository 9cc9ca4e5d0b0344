"""The soak: it measures what is, and it notices what must not be."""

import argparse
import dataclasses
import json
import mmap
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnxruntime import RunOptions

from helpers import processes, sound_server
from helpers.in_process import call
from ser_live.model.classifier import OnnxClassifier
from ser_live.model.prior import Outputs
from ser_live.sources import SourceCounters
from ser_live.sources.microphone import SystemClock
from ser_live.testing import FakeMicrophone, Overrun, SlowModel, Unplug, demo_voice
from ser_live.testing import faults as faults_module
from tools.report import Report
from tools.session import RATE_HZ as SESSION_RATE_HZ
from tools.session import main as session
from tools.soak.real import RealSoak, Trend
from tools.soak.script import CHANNELS, RATE_HZ, script
from tools.soak.virtual import VirtualSoak

SOAK = Path(__file__).parent / "soak"
SLOPE = "lag at the usual rate, slope"
integration = pytest.mark.integration


def soaked(model: OnnxClassifier, seconds: float) -> Report:
    options = argparse.Namespace(seconds=seconds, faults_per_hour=240.0, seed=0)
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


def test_the_script_comes_from_the_seed_and_has_everything_in_its_first_half_minute() -> None:
    day = script(24 * 3600.0, 60.0, seed=3)
    assert day == script(24 * 3600.0, 60.0, seed=3)
    assert day.faults != script(24 * 3600.0, 60.0, seed=4).faults
    known = [k for k in vars(faults_module).values() if isinstance(k, type)]
    bases = (faults_module.Fault, faults_module.LastingFault)
    wanted = {k for k in known if issubclass(k, faults_module.Fault) and k not in bases}
    first = [fault for fault in day.faults if fault.at_seconds < 30.0]
    assert {type(fault) for fault in first} == {type(fault) for fault in day.faults} == wanted
    formats, all_formats = (
        {(f.sample_rate_hz, f.channels) for f in faults if isinstance(f, Unplug)}
        for faults in (first, day.faults)
    )
    assert formats == all_formats
    assert len(day.faults) == pytest.approx(24 * 60, rel=0.15)
    assert len(day.sleeps) == pytest.approx(24 * 6, rel=0.4)
    assert day.faults[-1] == Unplug(24 * 3600.0 - 60.0, 0.1, RATE_HZ, CHANNELS)


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

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
    def test_memory_that_is_never_given_back_and_a_thread_that_is_left(
        self, model: OnnxClassifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # From the system itself: the heap may have room left by the tests before.
        kept: list[mmap.mmap] = []
        over = threading.Event()
        left = threading.Thread(target=over.wait)

        class Leaking(SlowModel):
            def batch_outputs(
                self, windows: NDArray[np.float32], options: RunOptions | None = None
            ) -> Outputs:
                kept.append(mmap.mmap(-1, 16 * windows.nbytes))
                kept[-1].write(16 * windows.tobytes())
                if len(kept) == 2:  # the first is that of its golden test
                    left.start()
                return super().batch_outputs(windows, options)

        monkeypatch.setattr("tools.soak.virtual.SlowModel", Leaking)
        report = soaked(model, 120.0)
        over.set()
        left.join()
        size_mib = sum(len(memory) for memory in kept) / 2**20
        assert size_mib > 16
        assert report["growth"] > size_mib / 4
        assert {"growth", "threads before, after"} <= set(missed(report))


def test_a_trend_is_the_line_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0, 24, 5000))
    y = 1e6 + 0.002 * x + rng.normal(0, 0.1, 5000)
    trend = Trend()
    for count, point in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        assert (trend.slope is None) == (count < 2)
        trend.add(*point)
    assert trend.slope == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-6)


@integration
def test_ctrl_c_prints_and_writes_the_report_so_far(
    tiny_model: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    page = tmp_path / "soak.md"
    command = [sys.executable, str(SOAK), "--virtual", "--hours", "100", "--seed", "1"]
    command += ["--model", str(tiny_model), "--report", str(page)]
    code, out, err = processes.interrupted(
        command, environment, lambda soak: soak.cpu_times().user > 4.0
    )
    assert (code, err) == (130, "")
    assert page.read_text(encoding="utf-8") == out
    for words in ("| frames unaccounted, at any moment | 0 | 0 | met |", "| Unplug |", "tiny"):
        assert words in out
    figures = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))["figures"]
    assert {"growth", "losses, recoveries", SLOPE} <= {figure["name"] for figure in figures}


@pytest.mark.parametrize(
    "minutes",
    [
        pytest.param(0.15, marks=integration, id="short"),
        pytest.param(3.0, marks=pytest.mark.long, id="long"),
    ],
)
def test_minutes_of_speech_cost_nothing_but_time(minutes: float) -> None:
    if not sound_server.is_installed():
        pytest.skip("pulseaudio is not installed")
    done = call("--minutes", minutes, "--json", main=session)
    found = {f["name"]: f["value"] for f in json.loads(done.stdout)["figures"]}
    # The memory of a process in which other tests ran before may still move.
    assert done.returncode == 0 or found["growth"] < 8.0
    assert found["frames unaccounted, at any moment"] == found["frames dropped, with a count"] == 0
    assert found["restarts"] == found["missing on the timeline"] == 0
    seconds = 60.0 * minutes
    assert found["wall time"] == pytest.approx(seconds, abs=2.0)
    assert found["stream"] == pytest.approx(seconds, abs=2.0)
    assert found["frames captured"] > (seconds - 2.0) * SESSION_RATE_HZ
    assert found["predictions"] > (seconds - 2.0) / 0.25
    assert found["of these with an emotion"] > found["predictions"] / 4
    assert abs(found["timeline ahead of the host's clock"]) < 500.0
    assert 0.0 < found["processor, this process"] < 0.5
    assert 0.0 < found["processor, capture process"] < 0.5
    assert found["memory, capture process"] < 200.0
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
    page = report.as_markdown("soak")
    for words in ("| restarts | 1 |", "ppm |", "| device_lost | 1 |", "% of a core"):
        assert words in page
