"""Kill the sound server under a running microphone, again and again, and measure what comes back.

``python tests/tools/recovery.py --kills 20 --report docs/measurements/recovery.md``

A private PulseAudio server plays a voice into its own microphone; a `Microphone` hears it at
48 kHz through the whole live loop. At random moments the server is killed with SIGKILL, stays
away for a random while, and is started again.
"""

import argparse
import contextlib
import dataclasses
import io
import logging
import os
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
from typing import Self

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

import numpy as np
import soundfile

from helpers import processes
from helpers.sound_server import SoundServer
from ser_live import Event, listen
from ser_live.latency import StageLatency
from ser_live.model.catalog import DEFAULT_MODEL
from ser_live.sources import Block, Microphone, Notice
from ser_live.testing import demo_voice
from tools.machine import usage
from tools.report import Figure, Report, Table, check_report_path

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
    error_seconds: float
    """Move of the timeline against the host's clock."""


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
        """Wait for an event or a prediction after a moment; return when it came."""
        return self._wait(lambda: (at for at, what in self.items if at > since and what == kind))

    def first_block(self, since: float) -> float:
        """Wait for a block after a gap after a moment; return when it came."""
        heard = self.microphone.heard
        return self._wait(
            lambda: (h.arrived_at for h in heard if h.arrived_at > since and h.missing_seconds)
        )

    def gap_seconds(self, since: float) -> float:
        """Return all that is missing on the timeline after a moment."""
        return sum(h.missing_seconds for h in self.microphone.heard if h.arrived_at > since)

    def offset_seconds(self, since: float) -> float:
        """Return the timeline less the host's clock, by the blocks after a moment."""
        heard = [block for block in self.microphone.heard if block.arrived_at > since]
        return statistics.median(block.end_seconds - block.captured_at for block in heard)

    def _wait(self, found: Callable[[], Iterator[float]]) -> float:
        with self._news:
            self._news.wait_for(lambda: self.failure is not None or any(found()), PATIENCE_SECONDS)
            if (at := next(found(), None)) is None:
                raise TimeoutError(f"it did not come back ({self.failure or 'in time'})")
            return at

    def _run(self) -> None:
        try:
            for item in self._listener:
                kind = item.kind if isinstance(item, Event) else "prediction"
                with self._news:
                    self.items.append((time.monotonic(), kind))
                    self._news.notify_all()
        except Exception as error:
            with self._news:
                self.failure = error
                self._news.notify_all()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--report", type=Path, help="write it, and a .json beside it")
    arguments = parser.parse_args(argv)
    check_report_path(arguments.report)
    with tempfile.TemporaryDirectory() as folder:
        server = SoundServer(Path(folder))
        os.environ.update(server.environment)
        voice = written_voice(Path(folder) / "voice.wav")
        report = measured(server, voice, arguments.kills, random.Random(arguments.seed))
    command = f"python tests/tools/recovery.py --kills {arguments.kills}"
    return report.publish(command, arguments.report, prints_json=False)


def measured(server: SoundServer, voice: Path, kills: int, rng: random.Random) -> Report:
    """Kill the server so many times, and report everything that was seen."""
    log, outages, failure = io.StringIO(), list[Outage](), "none"
    logger = logging.getLogger("ser_live")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler(log))
    held = {"before opening": holdings()}
    with server, stderr_bytes() as written, Session() as session:
        server.play(voice)
        time.sleep(UP_SECONDS[0])
        held["before the first kill"] = holdings()
        try:
            for _ in range(kills):
                outages.append(outage(session, server, voice, rng))
                print(f"{len(outages)} of {kills}: {outages[-1]}", flush=True)
        except TimeoutError as error:
            failure = str(error)
            if server.exit_code is not None:
                failure += f"; the new server ended by itself ({server.exit_code})"
            print(log.getvalue())
        held["after the last recovery"] = holdings()
        counters = dataclasses.asdict(session.microphone.counters)
        printed = written()
    held["after closing"] = holdings()
    sound_server = subprocess.check_output(["pulseaudio", "--version"], text=True).strip()
    callback = counters.pop("callback")
    return Report(
        title="Recovery from a sound server that is killed",
        model=DEFAULT_MODEL,
        figures=[
            Figure("recovered", len(outages), "times", f"{kills} times", len(outages) == kills),
            Figure("failure", failure),
            Figure("frames", {name: count for name, count in counters.items() if count}),
            Figure("audio callback", callback and StageLatency(**callback)),
            Figure("written to stderr", printed, "bytes"),
            Figure("logged at level info", len(log.getvalue()), "bytes"),
            Figure("sound server", f"{sound_server}, sounddevice {version('sounddevice')}"),
        ],
        tables={
            "Outages": Table(
                ("", "median", "p95", "max"),
                [
                    _row("SIGKILL to `device_lost`, s", outages, "detection_seconds"),
                    _row("new server to the first block, s", outages, "first_block_seconds"),
                    _row("to the first prediction, s", outages, "first_prediction_seconds"),
                    _row("error of the gap against the host's clock, s", outages, "error_seconds"),
                    _row("length of the gap, s", outages, "gap_seconds"),
                ],
            ),
            "Held by the process": Table(
                ("when", "capture processes", "threads", "descriptors", "MiB resident"),
                [(when, *counts) for when, counts in held.items()],
            ),
        },
        note="The server is killed with SIGKILL at random moments while a microphone hears a voice "
        f"at 48 kHz, stays away for up to {DOWN_SECONDS[1]:g} s, and is started again. The error "
        "of a gap is how much the timeline has moved against the host's monotonic clock from the "
        "second before the kill to the sixth second after the first block, by the capture times "
        "of the blocks.",
    )


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
        error_seconds=session.offset_seconds(settled_at) - before,
    )


def written_voice(path: Path, seconds: float = 20.0) -> Path:
    """Write the demo at the speaker's rate, so that the server has nothing to resample."""
    voice = demo_voice(RATE_HZ)[: round(seconds * RATE_HZ)]
    soundfile.write(path, np.stack((voice, voice), axis=1), RATE_HZ, subtype="PCM_16")
    return path


def holdings() -> tuple[int, int | None, int | None, float | None]:
    """Count what this process holds: capture processes, threads, descriptors, MiB of memory."""
    held = usage(os.getpid())
    return len(processes.captures()), held.threads, held.handles, held.resident_mib


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


def _row(title: str, outages: list[Outage], field: str) -> tuple[str | float, ...]:
    values = [abs(getattr(each, field)) for each in outages] or [float("nan")]
    return title, *(float(np.quantile(values, share)) for share in (0.5, 0.95, 1.0))


if __name__ == "__main__":
    sys.exit(main())
