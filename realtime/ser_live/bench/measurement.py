"""Runs of ``ser-bench``: the cost of recognition on this machine."""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
from numpy.typing import NDArray

from ser_live import __version__
from ser_live.bench.baselines import Recognize, baselines, require_packages
from ser_live.engine.recognizer import StreamRecognizer
from ser_live.errors import SerError
from ser_live.hardware import processor_name
from ser_live.interpreter import interpreter
from ser_live.latency import StageClock, StageLatency
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_live.model.catalog import find_model
from ser_live.model.classifier import OnnxClassifier
from ser_live.sources import DEMO_PATH, demo_voice

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_WARM_UP_HOPS = 20

Blocks = NDArray[np.float32]
"""Shape (hops, samples per hop)."""


@dataclass(frozen=True, slots=True)
class HopCost:
    """Percentiles of one way of running hops over continuous speech."""

    name: str
    hops: int
    stages: tuple[StageLatency, ...]
    core_share: float
    """Processor time of the whole process per second of audio; 0.01 is one per cent of a core."""


@dataclass(frozen=True, slots=True)
class BaselineCost:
    """Cost of a baseline, timed in turn with our hop in the same run."""

    name: str
    runs: int
    p50_seconds: float
    p95_seconds: float
    our_p50_seconds: float
    ratio: float
    """Cost of one of its answers in hops of ours, by medians."""


@dataclass(frozen=True, slots=True)
class LiveCost:
    """A whole ``ser-live --json`` process, paced as a microphone paces it."""

    seconds: float
    core_share: float
    """Processor time of all its threads from start to end, by seconds of audio."""
    resident_bytes: int
    import_seconds: float
    first_prediction_seconds: float
    """Process start to the first prediction with state speech, file as fast as it goes."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one run measured."""

    conditions: Mapping[str, object]
    """Machine, versions and settings: plain JSON."""
    hops: tuple[HopCost, ...]
    live: LiveCost | None
    rivals: tuple[BaselineCost, ...]


class Bench:
    """Measurements of one model, over continuous speech.

    Parameters
    ----------
    model : str or None
        Name or path; None: the default model.
    hop_seconds : float
        From one prediction to the next.
    begin : callable, optional
        Told the name of each measurement before it starts.
    """

    def __init__(
        self,
        model: str | None,
        hop_seconds: float,
        begin: Callable[[str], object] = lambda name: None,
    ) -> None:
        self._begin = begin
        self._path = find_model(model)
        self._model = OnnxClassifier.load(self._path)
        StreamRecognizer(self._model, hop_seconds=hop_seconds)  # refuses a hop that cannot be
        self._hop_seconds = hop_seconds
        self._speech = continuous_speech()

    def measure(self, seconds: float, paced_seconds: float, *, compare: bool) -> Report:
        """Run all measurements.

        Parameters
        ----------
        seconds : float
            Audio per free-running figure.
        paced_seconds : float
            Real time per paced figure; 0 leaves them out.
        compare : bool
            Also time the baselines.

        Raises
        ------
        SerError
            If a length is out of range, or a package that the baselines need is not installed.
        """
        if not (1.0 <= seconds <= 36000.0 and 0.0 <= paced_seconds <= 36000.0):
            raise SerError(
                f"--seconds is {seconds:g} and --paced-seconds {paced_seconds:g}, "
                "wanted 1 to 36000 and 0 to 36000"
            )
        if compare:
            require_packages()
        hops = [
            self._run_hops("free-running, gate on", seconds),
            self._run_hops("free-running, gate off", seconds, vad=False),
        ]
        live = None
        if paced_seconds:
            hops.append(self._run_hops("paced, gate on", paced_seconds, is_paced=True))
            live = self._run_process(paced_seconds)
        compared = baselines(self._model) if compare else ()
        rivals = tuple(self._compare(*baseline) for baseline in compared)
        return Report(self._conditions(), tuple(hops), live, rivals)

    def _conditions(self) -> dict[str, object]:
        card = self._model.card
        return {
            "ser_live": __version__,
            "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
            "processor": processor_name(),
            "cores": os.cpu_count() or 1,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "onnxruntime": onnxruntime.__version__,
            "model": card.name,
            "model_bytes": self._path.stat().st_size,
            "network": card.network,
            "window_seconds": card.window.seconds,
            "hop_seconds": self._hop_seconds,
            "threads": 1,
            "audio": "the utterances of the demo voice without their pauses, 16 kHz mono",
        }

    def _blocks(self, count: int) -> Blocks:
        """Repeat the speech and cut it into blocks of one hop, shape (count, samples)."""
        samples = max(1, round(self._hop_seconds * SAMPLE_RATE_HZ))
        return np.resize(self._speech, (count, samples))

    def _hops_in(self, seconds: float) -> int:
        return max(1, round(seconds / self._hop_seconds))

    def _warm(self, hops: int, *, vad: bool = True) -> tuple[StreamRecognizer, Blocks]:
        """Return a recognizer that has run for a while, and the blocks that come next."""
        recognizer = StreamRecognizer(self._model, hop_seconds=self._hop_seconds, vad=vad)
        blocks = self._blocks(_WARM_UP_HOPS + hops)
        for block in blocks[:_WARM_UP_HOPS]:
            recognizer.process(block)
        return recognizer, blocks[_WARM_UP_HOPS:]

    def _run_hops(
        self, name: str, seconds: float, *, vad: bool = True, is_paced: bool = False
    ) -> HopCost:
        """Run hop after hop, without waiting or (paced) one each hop, its caches cold."""
        self._begin(name)
        recognizer, blocks = self._warm(self._hops_in(seconds), vad=vad)
        clock, used, due = StageClock(), time.process_time(), time.monotonic()
        for block in blocks:
            if is_paced:
                due += self._hop_seconds
                time.sleep(max(0.0, due - time.monotonic()))
            for prediction in recognizer.process(block):
                if prediction.timing is not None:
                    clock.count(prediction.timing)
        used = time.process_time() - used
        core_share = used / (len(blocks) * self._hop_seconds)
        return HopCost(name, len(blocks), clock.summaries(), core_share)

    def _run_process(self, seconds: float) -> LiveCost | None:
        """Measure a real ``ser-live`` process; None where the system cannot account for one."""
        if resource is None or interpreter() is None:
            return None
        self._begin("ser-live as a process")
        samples = self._blocks(_WARM_UP_HOPS + self._hops_in(seconds)).ravel()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="FLOAT")
            command = [
                sys.executable, "-m", "ser_live", "--json", "--model", str(self._path),
                "--file", str(path), "--hop", str(self._hop_seconds), "--pace",
            ]  # fmt: skip
            first_seconds = _first_speech_seconds([*command, "fast"])
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            child = subprocess.run([*command, "realtime"], capture_output=True, check=False)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if child.returncode:
            raise SerError(f"ser-live failed: {child.stderr.decode(errors='replace').strip()}")
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        seconds = samples.size / SAMPLE_RATE_HZ
        resident_bytes = after.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return LiveCost(seconds, used / seconds, resident_bytes, _import_seconds(), first_seconds)

    def _compare(self, name: str, runs: int, recognize: Recognize) -> BaselineCost:
        """Time our hop and a baseline in turn, so that a drift of the machine meets both."""
        self._begin(name)
        window = self._speech[: round(self._model.card.window.seconds * SAMPLE_RATE_HZ)]
        recognizer, blocks = self._warm(runs)
        recognize(window)
        ours, theirs = [], []
        for block in blocks:
            started = time.perf_counter()
            recognizer.process(block)
            between = time.perf_counter()
            recognize(window)
            ours.append(between - started)
            theirs.append(time.perf_counter() - between)
        our_p50 = float(np.median(ours))
        p50, p95 = (float(value) for value in np.quantile(theirs, (0.5, 0.95)))
        return BaselineCost(name, runs, p50, p95, our_p50, p50 / our_p50)


def continuous_speech() -> NDArray[np.float32]:
    """Return the demo voice without its pauses at 16 kHz, shape (n,)."""
    voice, rate = demo_voice(), SAMPLE_RATE_HZ
    timeline = json.loads(DEMO_PATH.with_suffix(".json").read_text("utf-8"))["timeline"]
    spoken = [
        voice[round(part["start_seconds"] * rate) : round(part["end_seconds"] * rate)]
        for part in timeline
        if part["kind"] == "utterance"
    ]
    return np.concatenate(spoken)


def _first_speech_seconds(command: list[str]) -> float:
    """Median of five starts, until the first line that names an emotion stands on stdout."""
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as child:
            for line in child.stdout or ():
                if json.loads(line)["state"] in ("speech", "uncertain"):
                    taken.append(time.perf_counter() - started)
                    break
            child.kill()
    return statistics.median(taken) if taken else float("nan")


def _import_seconds() -> float:
    """Median of five fresh interpreters that import everything a stream needs."""
    code = (
        "import time; t = time.perf_counter(); from ser_live import StreamRecognizer; "
        "print(time.perf_counter() - t)"
    )
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(5)
    ]
    return statistics.median(runs)
