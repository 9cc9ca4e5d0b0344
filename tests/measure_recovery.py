"""Kill the sound server under a running microphone, again and again, and measure what comes back.

``python tests/measure_recovery.py --kills 20 --report docs/measurements/recovery``

A private PulseAudio server plays a voice into its own microphone; a `Microphone` hears it at
48 kHz through the whole live loop. At random moments the server is killed with SIGKILL, stays
away for a random while, and is started again.
"""

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
import soundfile
import soxr

import processes
from ser_live import Event, listen
from ser_live.sources import DEMO_PATH, Block, Microphone, Notice
from sound_server import SoundServer

RATE_HZ = 48000
UP_SECONDS = (5.0, 8.0)
DOWN_SECONDS = (0.0, 3.0)
SETTLED_SECONDS = 1.0
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Heard:
    """A block, and when it came."""

    arrived_at: float
    captured_at: float
    end_seconds: float
    """On the timeline."""
    missing_seconds: float


@dataclass(frozen=True, slots=True)
class Outage:
    """One death of the server; seconds."""

    down_seconds: float
    detection_seconds: float
    """From SIGKILL to device_lost."""
    first_block_seconds: float
    """From the start of the new server to the first block."""
    first_prediction_seconds: float
    """From the start of the new server to the first prediction."""
    gap_seconds: float
    gap_error_seconds: float
    """How much the timeline moved against the host's clock."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What this process holds."""

    capture_processes: int
    threads: int
    descriptors: int | None
    resident_mib: float


class Witness(Microphone):
    """A microphone that remembers when its blocks came."""

    def __init__(self, news: threading.Condition) -> None:
        super().__init__("pulse")
        self.heard: list[Heard] = []
        self._news = news

    def __iter__(self) -> Iterator[Block | Notice]:
        frames = 0
        for item in super().__iter__():
            if isinstance(item, Block):
                now, rate_hz = time.monotonic(), self.sample_rate_hz
                frames += item.missing_frames + len(item.samples)
                captured_at = item.end_captured_at or now
                missing_seconds = item.missing_frames / rate_hz
                with self._news:
                    self.heard.append(Heard(now, captured_at, frames / rate_hz, missing_seconds))
                    self._news.notify_all()
            yield item


class Session:
    """The live loop in a thread of its own, and all that it gave."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self.microphone = Witness(self._news)
        self.items: list[tuple[float, str]] = []
        self.failure: Exception | None = None
        self._listener = listen(self.microphone, events=True)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._listener.open()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join(PATIENCE_SECONDS)

    def first(self, kind: str, since: float) -> float:
        """Wait for an event or a prediction after a moment; give when it came."""
        return self._wait(lambda: (at for at, what in self.items if at > since and what == kind))

    def first_block(self, since: float) -> float:
        """Wait for a block after a gap after a moment; give when it came."""
        heard = self.microphone.heard
        return self._wait(
            lambda: (h.arrived_at for h in heard if h.arrived_at > since and h.missing_seconds)
        )

    def gap_seconds(self, since: float) -> float:
        """All that is missing on the timeline after a moment."""
        return sum(h.missing_seconds for h in self.microphone.heard if h.arrived_at > since)

    def offset_seconds(self, since: float) -> float:
        """How far the timeline is from the host's clock, by the blocks after a moment."""
        heard = [block for block in self.microphone.heard if block.arrived_at > since]
        return statistics.median(block.end_seconds - block.captured_at for block in heard)

    def _wait(self, found: Callable[[], Iterator[float]]) -> float:
        with self._news:
            if not self._news.wait_for(
                lambda: self.failure is not None or any(found()), PATIENCE_SECONDS
            ):
                raise TimeoutError("it did not come back")
            if (at := next(found(), None)) is None:
                raise TimeoutError(f"it did not come back ({self.failure})")
            return at

    def _run(self) -> None:
        failure = None
        try:
            for item in self._listener:
                kind = item.kind if isinstance(item, Event) else "prediction"
                with self._news:
                    self.items.append((time.monotonic(), kind))
                    self._news.notify_all()
        except Exception as error:
            failure = error
        with self._news:
            self.failure = failure
            self._news.notify_all()


class KeepingHandler(logging.Handler):
    """Keep what would be logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += self.format(record) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--report", type=Path, help="write REPORT.md and REPORT.json")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        server = SoundServer(Path(folder))
        os.environ.update(server.environment)
        voice = written_voice(Path(folder) / "voice.wav")
        result = measured(server, voice, arguments.kills, random.Random(arguments.seed))
    text = described(result)
    print(text)
    if arguments.report:
        arguments.report.parent.mkdir(parents=True, exist_ok=True)
        arguments.report.with_suffix(".md").write_text(text)
        arguments.report.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    return 0 if len(result["outages"]) == arguments.kills else 1


def measured(server: SoundServer, voice: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """Kill the server so many times; give everything that was seen."""
    log, outages, failure = KeepingHandler(), [], ""
    logger = logging.getLogger("ser_live")
    logger.setLevel(logging.INFO)
    logger.addHandler(log)
    bare = holdings()
    with server, stderr_bytes() as written, Session() as session:
        server.play(voice)
        time.sleep(UP_SECONDS[0])
        begun = holdings()
        try:
            for _ in range(kills):
                outages.append(dataclasses.asdict(outage(session, server, voice, rng)))
                print(f"{len(outages)} of {kills}: {outages[-1]}", flush=True)
        except TimeoutError as error:
            failure = str(error)
            if server.exit_code is not None:
                failure += f"; the new server ended by itself ({server.exit_code})"
            print(log.text)
        ended = holdings()
        counters = dataclasses.asdict(session.microphone.counters)
        printed = written()
    return {
        "kills": kills,
        "outages": outages,
        "failure": failure,
        "holdings": {
            name: dataclasses.asdict(held)
            for name, held in {
                "before opening": bare,
                "before the first kill": begun,
                "after the last recovery": ended,
                "after closing": holdings(),
            }.items()
        },
        "counters": counters,
        "log_bytes": len(log.text),
        "stderr_bytes": printed,
        "conditions": conditions(),
    }


def outage(
    session: Session,
    server: SoundServer,
    voice: Path,
    rng: random.Random,
    up_seconds: tuple[float, float] = UP_SECONDS,
    down_seconds: tuple[float, float] = DOWN_SECONDS,
) -> Outage:
    """Let it run, kill the server, start it again, and let it settle."""
    time.sleep(rng.uniform(*up_seconds) - SETTLED_SECONDS)
    settled_at = time.monotonic()
    time.sleep(SETTLED_SECONDS)
    before = session.offset_seconds(settled_at)
    killed_at = time.monotonic()
    server.kill()
    lost_at = session.first("device_lost", killed_at)
    time.sleep(rng.uniform(*down_seconds))
    started_at = time.monotonic()
    server.start()
    server.play(voice)
    block_at = session.first_block(started_at)
    prediction_at = session.first("prediction", block_at)
    time.sleep(up_seconds[0])
    settled_at = time.monotonic()
    time.sleep(SETTLED_SECONDS)
    return Outage(
        down_seconds=started_at - killed_at,
        detection_seconds=lost_at - killed_at,
        first_block_seconds=block_at - started_at,
        first_prediction_seconds=prediction_at - started_at,
        gap_seconds=session.gap_seconds(killed_at),
        gap_error_seconds=session.offset_seconds(settled_at) - before,
    )


def written_voice(path: Path) -> Path:
    """Write the demo at the speaker's rate, so that the server has nothing to resample."""
    samples, rate_hz = soundfile.read(DEMO_PATH, dtype="float32")
    resampled = soxr.resample(samples, rate_hz, RATE_HZ)
    soundfile.write(path, np.stack((resampled, resampled), axis=1), RATE_HZ, subtype="PCM_16")
    return path


def holdings() -> Holdings:
    return Holdings(
        capture_processes=len(processes.captures()),
        threads=threading.active_count(),
        descriptors=processes.handles(),
        resident_mib=processes.resident_bytes() / 2**20,
    )


@contextlib.contextmanager
def stderr_bytes() -> Iterator[Callable[[], int]]:
    """Count what this process and its children write to stderr."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lambda: os.fstat(file.fileno()).st_size
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def conditions() -> dict[str, str]:
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = [line.split(": ")[1] for line in cpuinfo.splitlines() if "model name" in line]
    return {
        "machine": f"{os.cpu_count()} cores of {models[0] if models else platform.machine()}",
        "system": platform.system(),
        "python": platform.python_version(),
        "sounddevice": version("sounddevice"),
        "numpy": version("numpy"),
        "sound server": subprocess.check_output(["pulseaudio", "--version"], text=True).strip(),
    }


def described(result: dict[str, Any]) -> str:
    """Give the report as Markdown."""
    outages, conditions = result["outages"], result["conditions"]
    lines = [
        "# Recovery from a sound server that is killed",
        "",
        f"`python tests/measure_recovery.py --kills {result['kills']}`: the server is killed with "
        "SIGKILL at random moments while a microphone hears a voice at 48 kHz, stays away for up "
        f"to {DOWN_SECONDS[1]:g} s, and is started again. "
        + "; ".join(f"{name}: {value}" for name, value in conditions.items())
        + ".",
        "",
        f"**Recovered: {len(outages)} of {result['kills']}.** {result['failure']}".strip(),
        "",
        "| | median | p95 | max |",
        "|---|---|---|---|",
        _row("SIGKILL to `device_lost`, s", outages, "detection_seconds"),
        _row("start of the new server to the first block, s", outages, "first_block_seconds"),
        _row("to the first prediction, s", outages, "first_prediction_seconds"),
        _row("gap against the host's clock, error in ms", outages, "gap_error_seconds", 1000),
        _row("length of the gap, s", outages, "gap_seconds"),
        "",
        "The error of a gap is how much the timeline has moved against the host's monotonic clock "
        "from the second before the kill to the sixth second after the first block, by the capture "
        "times of the blocks.",
        "",
        "| held by the process | capture processes | threads | descriptors | MiB resident |",
        "|---|---|---|---|---|",
        *(
            f"| {when} | {held['capture_processes']} | {held['threads']} | {held['descriptors']} | "
            f"{held['resident_mib']:.1f} |"
            for when, held in result["holdings"].items()
        ),
        "",
        f"Written: {result['stderr_bytes']} bytes to stderr, {result['log_bytes']} bytes to the "
        f"log at level info. Frames: {_frames(result['counters'])}.",
        "",
    ]
    return "\n".join(lines)


def _row(title: str, outages: list[dict[str, float]], name: str, factor: float = 1) -> str:
    values = [abs(outage[name]) * factor for outage in outages] or [float("nan")]
    quantiles = [f"{np.quantile(values, share):.3g}" for share in (0.5, 0.95, 1.0)]
    return f"| {title} | {' | '.join(quantiles)} |"


def _frames(counters: dict[str, Any]) -> str:
    names = ("captured", "processed", "dropped_overrun", "dropped_stale", "dropped_capture")
    return ", ".join(f"{counters[name]} {name}" for name in (*names, "overruns", "restarts"))


if __name__ == "__main__":
    sys.exit(main())
