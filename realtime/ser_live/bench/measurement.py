"""Runs of ``ser-bench``: the cost of recognition on this machine."""

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
import soxr
from numpy.typing import NDArray

from ser_live import __version__
from ser_live.bench.baselines import Baseline, baselines
from ser_live.engine.recognizer import StreamRecognizer
from ser_live.errors import SerError
from ser_live.latency import StageClock, StageLatency
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_live.model.catalog import find_model
from ser_live.model.classifier import OnnxClassifier

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_WARM_UP_HOPS = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """Choice of measurements, and their lengths."""

    model: str | None = None
    """Name or path; None: the default model."""
    hop_seconds: float = 0.25
    seconds: float = 60.0
    """Audio per free-running figure."""
    paced_seconds: float = 20.0
    """Real time per paced figure; 0 leaves them out."""
    compare: bool = False
    """Also time the baselines."""

    def __post_init__(self) -> None:
        if not (1.0 <= self.seconds <= 36000.0 and 0.0 <= self.paced_seconds <= 36000.0):
            raise SerError(
                f"--seconds is {self.seconds:g} and --paced-seconds {self.paced_seconds:g}, "
                "wanted 1 to 36000 and 0 to 36000"
            )


@dataclass(frozen=True, slots=True)
class Conditions:
    """Machine, versions and settings of a run."""

    ser_live: str
    machine: str
    processor: str
    cores: int
    python: str
    numpy: str
    onnxruntime: str
    model: str
    model_bytes: int
    network: str
    window_seconds: float
    hop_seconds: float
    threads: int
    audio: str


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

    conditions: Conditions
    hops: tuple[HopCost, ...]
    live: LiveCost | None
    rivals: tuple[BaselineCost, ...]


def measure(plan: Plan) -> Report:
    """Run all measurements of a plan."""
    path = find_model(plan.model)
    model = OnnxClassifier.load(path)
    speech = continuous_speech()
    hops = [
        _run_hops("free-running, gate on", plan, model, speech),
        _run_hops("free-running, gate off", plan, model, speech, vad=False),
    ]
    live = None
    if plan.paced_seconds:
        hops.append(_run_hops("paced, gate on", plan, model, speech, paced=True))
        live = _run_process(plan, path, speech)
    compared = baselines(model) if plan.compare else ()
    rivals = tuple(_compare(baseline, plan, model, speech) for baseline in compared)
    return Report(_conditions(plan, path, model), tuple(hops), live, rivals)


def _conditions(plan: Plan, path: Path, model: OnnxClassifier) -> Conditions:
    return Conditions(
        ser_live=__version__,
        machine=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=processor_name(),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        numpy=np.__version__,
        onnxruntime=onnxruntime.__version__,
        model=model.card.name,
        model_bytes=path.stat().st_size,
        network=model.card.network,
        window_seconds=model.card.window.seconds,
        hop_seconds=plan.hop_seconds,
        threads=1,
        audio="the utterances of the demo voice without their pauses, 16 kHz mono",
    )


def processor_name() -> str:
    """Return the name of the processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def continuous_speech() -> NDArray[np.float32]:
    """Return the demo voice without its pauses at 16 kHz, shape (n,)."""
    data = Path(__file__).parent.parent / "data"
    samples, rate = soundfile.read(data / "demo.ogg", dtype="float32")
    timeline = json.loads((data / "demo.json").read_text(encoding="utf-8"))["timeline"]
    spoken = [
        samples[round(part["start_seconds"] * rate) : round(part["end_seconds"] * rate)]
        for part in timeline
        if part["kind"] == "utterance"
    ]
    speech: NDArray[np.float32] = soxr.resample(np.concatenate(spoken), rate, SAMPLE_RATE_HZ)
    return speech


def _blocks(
    speech: NDArray[np.float32], hop_seconds: float, seconds: float
) -> list[NDArray[np.float32]]:
    """Repeat the speech and cut it into blocks of one hop, with more in front to warm up."""
    hop = max(1, round(hop_seconds * SAMPLE_RATE_HZ))
    count = _WARM_UP_HOPS + max(1, round(seconds / hop_seconds))
    endless = np.resize(speech, count * hop)
    return [endless[k * hop : (k + 1) * hop] for k in range(count)]


def _run_hops(
    name: str,
    plan: Plan,
    model: OnnxClassifier,
    speech: NDArray[np.float32],
    *,
    vad: bool = True,
    paced: bool = False,
) -> HopCost:
    """Run hop after hop, without waiting or (paced) one each hop, its caches cold."""
    recognizer = StreamRecognizer(model, hop_seconds=plan.hop_seconds, vad=vad)
    seconds = plan.paced_seconds if paced else plan.seconds
    blocks = _blocks(speech, plan.hop_seconds, seconds)
    for block in blocks[:_WARM_UP_HOPS]:
        recognizer.process(block)
    clock, used, due = StageClock(), time.process_time(), time.monotonic()
    for block in blocks[_WARM_UP_HOPS:]:
        if paced:
            due += plan.hop_seconds
            time.sleep(max(0.0, due - time.monotonic()))
        for prediction in recognizer.process(block):
            if prediction.timing is not None:
                clock.count(prediction.timing)
    used = time.process_time() - used
    hops = len(blocks) - _WARM_UP_HOPS
    return HopCost(name, hops, clock.summaries(), used / (hops * plan.hop_seconds))


def _run_process(plan: Plan, model: Path, speech: NDArray[np.float32]) -> LiveCost | None:
    """Measure a real ``ser-live`` process; None where the system cannot account for one."""
    if resource is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        samples = np.concatenate(_blocks(speech, plan.hop_seconds, plan.paced_seconds))
        soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="FLOAT")
        command = [
            sys.executable, "-m", "ser_live", "--json", "--model", str(model),
            "--file", str(path), "--hop", str(plan.hop_seconds), "--pace",
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


def _compare(
    baseline: Baseline, plan: Plan, model: OnnxClassifier, speech: NDArray[np.float32]
) -> BaselineCost:
    """Time our hop and a baseline in turn, so that a drift of the machine meets both."""
    window = speech[: round(model.card.window.seconds * SAMPLE_RATE_HZ)]
    recognizer = StreamRecognizer(model, hop_seconds=plan.hop_seconds)
    blocks = _blocks(speech, plan.hop_seconds, baseline.runs * plan.hop_seconds)
    for block in blocks[:_WARM_UP_HOPS]:
        recognizer.process(block)
    baseline.recognize(window)
    ours, theirs = [], []
    for block in blocks[_WARM_UP_HOPS:]:
        started = time.perf_counter()
        recognizer.process(block)
        between = time.perf_counter()
        baseline.recognize(window)
        ours.append(between - started)
        theirs.append(time.perf_counter() - between)
    our_p50 = float(np.median(ours))
    p50, p95 = (float(value) for value in np.quantile(theirs, (0.5, 0.95)))
    return BaselineCost(baseline.name, baseline.runs, p50, p95, our_p50, p50 / our_p50)
