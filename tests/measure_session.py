"""Let the installed live command hear an hour of speech, and measure what that takes.

``python tests/measure_session.py --minutes 60 --report docs/measurements/session``

A private PulseAudio server plays a voice into its own microphone; ``ser-live --json`` hears it at
48 kHz, in processes of its own that are watched from outside through /proc.
"""

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ser_live.sources import DEMO_PATH
from sound_server import SoundServer

RATE_HZ = 48000
VOICE_SECONDS = 300.0
LOOK_SECONDS = 5.0
SETTLE_SECONDS = 60.0
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Look:
    """Both processes at one moment."""

    at: float
    engine_cpu_seconds: float
    capture_cpu_seconds: float
    engine_mib: float
    capture_mib: float
    threads: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What an hour amounts to."""

    minutes: float
    predictions: int
    with_speech: int
    captured_frames: int
    dropped_frames: int
    overruns: int
    restarts: int
    missing_seconds: float
    engine_cpu_percent: float
    capture_cpu_percent: float
    engine_growth_mib: float
    capture_growth_mib: float
    engine_mib: float
    capture_mib: float
    threads: tuple[int, int]
    lag_ms: tuple[float, float, float]
    """Median, 95th percentile, largest."""
    lag_slope_ms_per_hour: float
    clock_ppm: float
    """How much faster the timeline runs than the host's clock."""
    timeline_error_seconds: float
    """The last prediction's end against the samples that were heard: at most one hop."""


class Loudspeaker:
    """Play a voice again and again."""

    def __init__(self, server: SoundServer, file: Path) -> None:
        self._server, self._file = server, file
        self._is_over = threading.Event()
        self._player: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        if self._player is not None:
            self._player.terminate()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._is_over.is_set():
            self._player = self._server.play(self._file)
            self._player.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--report", type=Path, help="write PATH.md and PATH.json")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(Path(folder), arguments.minutes)
    text = page(figures)
    print(text)
    if arguments.report is not None:
        arguments.report.parent.mkdir(parents=True, exist_ok=True)
        arguments.report.with_suffix(".md").write_text(text)
        record = json.dumps(dataclasses.asdict(figures), indent=2)
        arguments.report.with_suffix(".json").write_text(record + "\n")
    return 0


def measured(folder: Path, minutes: float) -> Figures:
    """Run the command for so many minutes."""
    voice = write_voice(folder / "voice.wav")
    lines_file = folder / "lines.jsonl"
    with SoundServer(folder / "sound") as server, lines_file.open("wb") as lines:
        speaker = Loudspeaker(server, voice)
        speaker.start()
        command = [sys.executable, "-m", "ser_live", "--device", "pulse", "--json"]
        errors = (folder / "errors.txt").open("wb+")
        process = subprocess.Popen(command, env=server.environment, stdout=lines, stderr=errors)
        looks = watched(process, minutes * 60.0)
        process.terminate()  # SIGINT is ignored in what a script runs in the background
        process.wait(20.0)
        speaker.stop()
        errors.seek(0)
        summary = errors.read().decode()
        errors.close()
    predictions = [json.loads(line) for line in lines_file.read_text().splitlines()]
    return summed_up(predictions, looks, summary, minutes)


def write_voice(path: Path) -> Path:
    samples, rate_hz = soundfile.read(DEMO_PATH, dtype="float32")
    once = soxr.resample(samples, rate_hz, RATE_HZ)
    many = np.tile(once, round(VOICE_SECONDS * RATE_HZ / len(once)))
    soundfile.write(path, many, RATE_HZ, subtype="PCM_16")
    return path


def watched(process: "subprocess.Popen[bytes]", seconds: float) -> list[Look]:
    """Look at both processes every few seconds."""
    looks: list[Look] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(min(LOOK_SECONDS, max(0.1, until - time.monotonic())))
        if process.poll() is not None:
            raise RuntimeError(f"ser-live ended with {process.returncode}")
        tasks = Path(f"/proc/{process.pid}/task")
        children = [
            pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()
        ]
        if len(children) != 1:
            raise RuntimeError(f"ser-live has {len(children)} children, wanted 1")
        engine_seconds, engine_mib = usage(str(process.pid))
        capture_seconds, capture_mib = usage(children[0])
        threads = len(list(tasks.iterdir()))
        now = time.monotonic()
        looks.append(Look(now, engine_seconds, capture_seconds, engine_mib, capture_mib, threads))
    return looks


def usage(pid: str) -> tuple[float, float]:
    """Processor time in seconds and resident memory in MiB."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    resident = int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return ticks / _TICKS_PER_SECOND, resident


def summed_up(
    predictions: list[dict[str, object]], looks: list[Look], summary: str, minutes: float
) -> Figures:
    settled = [look for look in looks if look.at >= looks[0].at + SETTLE_SECONDS] or looks
    first, last = settled[0], settled[-1]
    span = last.at - first.at
    ends = np.array([prediction["end_seconds"] for prediction in predictions], float)
    lags = np.array([prediction["lag_seconds"] for prediction in predictions], float)
    calm = ends > 10.0
    slope = float(np.polyfit(ends[calm], lags[calm], 1)[0])
    numbers = [int(word) for word in line_of(summary, "captured ").split() if word.isdigit()]
    heard_seconds = float(line_of(summary, "heard ").split()[1])
    losses = line_of(summary, "device overruns").split()
    return Figures(
        minutes=minutes,
        predictions=len(predictions),
        with_speech=sum(p["state"] in ("speech", "uncertain") for p in predictions),
        captured_frames=numbers[0],
        dropped_frames=numbers[2],
        overruns=int(losses[0]),
        restarts=int(losses[3]),
        missing_seconds=float(losses[5]),
        engine_cpu_percent=100 * (last.engine_cpu_seconds - first.engine_cpu_seconds) / span,
        capture_cpu_percent=100 * (last.capture_cpu_seconds - first.capture_cpu_seconds) / span,
        engine_growth_mib=last.engine_mib - first.engine_mib,
        capture_growth_mib=last.capture_mib - first.capture_mib,
        engine_mib=last.engine_mib,
        capture_mib=last.capture_mib,
        threads=(first.threads, last.threads),
        lag_ms=tuple(1000 * np.quantile(lags[calm], (0.5, 0.95, 1.0))),
        lag_slope_ms_per_hour=1000 * 3600 * slope,
        clock_ppm=-1e6 * slope,
        timeline_error_seconds=heard_seconds - float(ends[-1]),
    )


def line_of(text: str, words: str) -> str:
    """Find the line of the summary that holds some words."""
    return next(line for line in text.splitlines() if words in line)


def page(f: Figures) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "onnxruntime"))
    p50, p95, largest = f.lag_ms
    return f"""# {f.minutes:g} minutes of a real microphone

`python tests/measure_session.py --minutes {f.minutes:g}` on {os.cpu_count()} cores,
{platform.system()}, Python {platform.python_version()}, {versions}: PulseAudio plays the demo
voice into its own microphone, `ser-live --device pulse --json` hears it at 48 kHz with the default
model. Processor time and memory are those after the first minute.

| | measured |
|---|---|
| predictions, of these with an emotion | {f.predictions}, {f.with_speech} |
| frames captured, dropped | {f.captured_frames}, {f.dropped_frames} |
| overruns of the device, restarts, seconds missing | {f.overruns}, {f.restarts}, \
{f.missing_seconds:g} |
| processor, engine | {f.engine_cpu_percent:.2f} % of a core |
| processor, capture | {f.capture_cpu_percent:.2f} % of a core |
| **processor, both** | **{f.engine_cpu_percent + f.capture_cpu_percent:.2f} % of a core** |
| memory, engine: at the end, growth | {f.engine_mib:.1f} MiB, {f.engine_growth_mib:+.2f} MiB |
| memory, capture: at the end, growth | {f.capture_mib:.1f} MiB, {f.capture_growth_mib:+.2f} MiB |
| threads of the engine, first and last | {f.threads[0]}, {f.threads[1]} |
| lag, capture to prediction: p50, p95, largest | {p50:.0f}, {p95:.0f}, {largest:.0f} ms |
| slope of the lag | {f.lag_slope_ms_per_hour:+.1f} ms an hour |
| timeline against the samples heard | {1000 * f.timeline_error_seconds:.0f} ms, \
less than a hop |
"""


if __name__ == "__main__":
    sys.exit(main())
