"""The microphone checks of ser-live doctor: a real sound server, and sources that misbehave."""

import json
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from helpers.doctor_process import COMMAND, PACKAGE, Findings, found, run
from helpers.processes import interrupted
from helpers.sound_server import SoundServer
from helpers.streams import GivenSource
from ser_live.doctor.level import Capture, Recording, judge_capture, judge_level, record
from ser_live.errors import SerError
from ser_live.sources import Block
from ser_live.testing import FakeMicrophone, Fault, Stall, Unplug, demo_voice


def sine(seconds: float) -> NDArray[np.float64]:
    return np.sin(2 * np.pi * 440 * np.arange(round(seconds * 48000)) / 48000)


@pytest.mark.integration
class TestMicrophone:
    def level(self, speaker: SoundServer, device: str | None = None) -> Findings:
        """Return the findings of the level check, in a process that the sound server knows."""
        code = (
            "import contextlib, dataclasses, json\n"
            "from ser_live.doctor.finding import Check, examine\n"
            "from ser_live.doctor.level import check_level\n"
            f"check = Check('level', lambda: check_level({device!r}))\n"
            "findings = examine([check], lambda hint: contextlib.nullcontext())\n"
            "print(json.dumps([dataclasses.asdict(finding) for finding in findings]))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=known(speaker),
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return {finding["name"]: finding for finding in json.loads(done.stdout)}

    def test_digital_silence(self, speaker: SoundServer) -> None:
        findings = self.level(speaker)
        assert findings["level"]["verdict"] == "problem"
        assert "digital silence" in findings["level"]["finding"]
        assert findings["level"]["remedy"]
        assert findings["capture"]["verdict"] == "ok"

    def test_the_whole_report_of_a_sine(self, speaker: SoundServer) -> None:
        path = speaker.folder / "played.wav"
        samples = 0.1 * sine(60.0)  # a busy machine takes long until it listens
        soundfile.write(path, np.stack((samples, samples), axis=1), 48000)
        player = speaker.play(path)
        done = run(known(speaker), "--json", "--device", "pulse")
        player.kill()
        player.wait(timeout=10)
        findings = found(done)
        problems = {name for name, finding in findings.items() if finding["verdict"] == "problem"}
        assert problems <= {"headroom"}, done.stdout  # which a busy machine may lack
        assert str(speaker.folder) not in done.stdout
        assert findings["sound system"]["figures"]["listening"] == ["PulseAudio"]
        devices = [
            finding["figures"] for name, finding in findings.items() if name[:7] == "device "
        ]
        assert {"pulse", "default"} == {device["name"] for device in devices}
        assert sum(device["is_default"] for device in devices) == 1
        assert all({16000, 48000} <= set(device["rates_hz"]) for device in devices)
        level, capture = findings["level"], findings["capture"]
        assert "'pulse'" in level["finding"]
        assert level["figures"]["peak_dbfs"] == pytest.approx(-20.0, abs=0.5)
        assert level["figures"]["rms_dbfs"] == pytest.approx(-23.0, abs=0.5)
        assert capture["verdict"] == "ok", capture
        rate_hz = capture["figures"]["rate_hz"]
        assert capture["figures"]["measured_rate_hz"] == pytest.approx(rate_hz, rel=0.03)

    def test_an_unknown_device(self, speaker: SoundServer) -> None:
        findings = self.level(speaker, "gramophone")
        assert "gramophone" in findings["level"]["finding"]
        assert "pulse" in findings["level"]["remedy"]

    def test_ctrl_c_while_it_listens_ends_the_capture(self, speaker: SoundServer) -> None:
        command = [*COMMAND, "--device", "pulse"]
        for _ in range(3):  # PortAudio seldom hangs while it connects; the doctor then ends
            code, out, err = interrupted(
                command, known(speaker), lambda _: speaker.recorders() == 1
            )
            if code == 130:
                break
        assert code == 130
        assert "level" not in out
        assert err == ""
        deadline = time.monotonic() + 5.0
        while speaker.recorders() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not speaker.recorders()

    def test_a_server_that_hangs_from_the_beginning(self, speaker: SoundServer) -> None:
        speaker.signal(signal.SIGSTOP)
        try:
            findings = found(run(known(speaker), "--json"))
        finally:
            speaker.signal(signal.SIGCONT)
        assert findings["portaudio"]["verdict"] == "problem"
        assert "restart the sound server" in findings["portaudio"]["remedy"]
        assert findings["engine"]["verdict"] == "ok"

    def test_a_server_that_hangs_while_it_records(self, speaker: SoundServer) -> None:
        stopper = threading.Timer(1.5, speaker.signal, (signal.SIGSTOP,))
        stopper.start()
        started = time.monotonic()
        try:
            findings = self.level(speaker)
        finally:
            stopper.join()
            speaker.signal(signal.SIGCONT)
        assert time.monotonic() - started < 15.0
        verdicts = {finding["verdict"] for finding in findings.values()}
        assert verdicts & {"problem", "warning"}


def known(speaker: SoundServer) -> dict[str, str]:
    """The environment of a process that finds the sound server and the package."""
    return {**speaker.environment, "PYTHONPATH": str(PACKAGE.parent)}


def blocks(rate_hz: float, seconds: float = 3.0, **changes: Any) -> list[Block]:
    """Noise at a level of -26 dBFS, captured at some rate."""
    rng = np.random.default_rng(0)
    count = round(seconds / 0.1)
    sounds = rng.normal(scale=0.05, size=(count, 1600, 1)).astype(np.float32)
    return [
        Block(sound, 100.0 + (index + 1) * 1600 / rate_hz, **changes)
        for index, sound in enumerate(sounds)
    ]


def recording_of(samples: NDArray[np.float32]) -> Recording:
    """A stereo recording without a fault of capture."""
    return Recording("x", samples, Capture(48000, 48000.0, 2, 0, 0, 0, 0, ()))


class TestRecording:
    @pytest.mark.parametrize("fault", [Unplug(1.0, 60.0), Stall(1.0, 60.0)])
    def test_a_device_that_is_lost_gives_what_came(self, fault: Fault) -> None:
        recording = record(FakeMicrophone(demo_voice(), [fault]))
        assert len(recording.samples) / recording.capture.rate_hz == pytest.approx(0.75, abs=0.2)
        capture = judge_capture(recording)
        assert capture.verdict == "warning"
        assert "only" in capture.finding
        assert "trying to open it again" in capture.finding

    def test_a_source_that_gives_nothing(self) -> None:
        with pytest.raises(SerError, match="gives no sound"):
            record(GivenSource([]))

    @pytest.mark.parametrize("rate_hz", [16000, 8000, 14500])
    def test_the_rate_is_measured(self, rate_hz: int) -> None:
        recording = record(GivenSource(blocks(rate_hz)))
        assert recording.capture.measured_rate_hz == pytest.approx(rate_hz, rel=1e-3)
        assert (judge_capture(recording).verdict == "ok") == (rate_hz == 16000)

    def test_what_was_lost_is_told(self) -> None:
        recording = record(GivenSource(blocks(16000, missing_frames=7, overruns=1)))
        finding = judge_capture(recording)
        assert finding.verdict == "warning"
        assert "overrun" in finding.finding
        assert finding.figures["missing_frames"] == 7 * recording.capture.overruns

    def test_numbers_that_are_none(self) -> None:
        poisoned = blocks(16000)
        poisoned[9].samples[3] = np.nan
        recording = record(GivenSource(poisoned))
        assert recording.capture.broken_samples == 1
        assert judge_level(recording)[0].verdict == "ok"
        assert judge_capture(recording).verdict == "warning"

    def test_integers(self) -> None:
        integers = [Block((b.samples * 32768).astype(np.int16)) for b in blocks(16000)]
        finding = judge_level(record(GivenSource(integers)))[0]
        assert finding.figures["rms_dbfs"] == pytest.approx(-26.0, abs=0.2)

    @pytest.mark.parametrize(
        ("amplitude", "offset", "right", "words"),
        [
            (0.0002, 0.0, 1, "very quiet"),
            (2.0, 0.0, 1, "clipped"),
            (0.1, 0.1, 1, "constant +0.1"),
            (0.1, 0.0, -1, "cancel each other"),
        ],
    )
    def test_a_bad_level_has_a_remedy(
        self, amplitude: float, offset: float, right: int, words: str
    ) -> None:
        samples = amplitude * sine(2.0)
        stereo = np.stack((samples + offset, right * samples + offset), axis=1)
        clipped = np.clip(stereo, -1, 1 - 2**-15).astype(np.float32)
        (level,) = judge_level(recording_of(clipped))
        assert level.verdict == "warning"
        assert words in level.finding
        assert level.remedy

    @pytest.mark.parametrize("amplitude", [0.5, 0.1, 0.001])
    def test_the_level_of_a_sine(self, amplitude: float) -> None:
        samples = np.tile((amplitude * sine(2.0)).astype(np.float32)[:, None], 2)
        (level,) = judge_level(recording_of(samples))
        assert level.verdict == "ok"
        wanted_dbfs = 20.0 * np.log10(amplitude)
        assert level.figures["peak_dbfs"] == pytest.approx(wanted_dbfs, abs=0.1)
        assert level.figures["rms_dbfs"] == pytest.approx(wanted_dbfs - 3.01, abs=0.1)

    def test_a_constant_is_silence(self) -> None:
        samples = np.full((32000, 2), 0.01, np.float32)
        assert [f.verdict for f in judge_level(recording_of(samples))] == ["problem"]
