"""Models, speech gate, recognition of the demo voice, and how much room there is."""

import hashlib
import itertools
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser_live.doctor.finding import Finding, Verdict, judged
from ser_live.engine.recognizer import StreamRecognizer
from ser_live.engine.speech_gate import SpeechGate
from ser_live.hardware import usable_processors
from ser_live.model.card import SAMPLE_RATE_HZ, GateSpec
from ser_live.model.classifier import OnnxClassifier
from ser_live.sources import DEMO_PATH, demo_voice

_HEADROOM_SECONDS = 1.0
_LONGEST_SECONDS = 5.0
_FEWEST_HOPS = 10


def check_model(name: str, path: Path) -> Iterator[Finding]:
    """Load a model, which runs its golden self-test."""
    started = time.perf_counter()
    card = OnnxClassifier.load(path).card
    load_seconds = time.perf_counter() - started
    figures = {
        "load_seconds": load_seconds,
        "labels": list(card.labels),
        "network": card.network,
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    sentence = (
        f"{len(card.labels)} labels, loads in {load_seconds * 1e3:.0f} ms, golden self-test passes"
    )
    yield Finding(name, "ok", sentence, None, figures)


def check_gate() -> Iterator[Finding]:
    """Run the speech gate over the demo voice."""
    gate, steps, blocks = SpeechGate(GateSpec()), [], _demo_blocks(SAMPLE_RATE_HZ // 4)
    started = time.perf_counter()
    for block in blocks:
        gate.process(block)
        steps += gate.decide()
    step_seconds = (time.perf_counter() - started) / len(steps)
    share = sum(step.is_speech for step in steps) / len(steps)
    sentence = f"speech in {share:.0%} of the demo voice, {step_seconds * 1e6:.0f} us a step"
    remedy = None if share else "reinstall onnxruntime and ser-live: one of them is damaged"
    figures = {"speech_share": share, "step_seconds": step_seconds}
    yield judged("speech gate", sentence, remedy, figures)


def check_recognition(model: Path) -> Iterator[Finding]:
    """Recognize the demo voice with the whole engine."""
    recognizer, states = StreamRecognizer(model), Counter[str]()
    started = time.monotonic()
    for block in _demo_blocks(SAMPLE_RATE_HZ):
        states.update(prediction.state for prediction in recognizer.process(block))
        if time.monotonic() - started > _LONGEST_SECONDS:
            break
    counts = f"{states['speech']} predictions with an emotion and {states['silence']} of silence"
    remedy = None
    if not states["speech"] and states["uncertain"]:
        counts = f"{states['uncertain']} predictions, all of them uncertain"
        remedy = "try it on a real voice; if it stays so, lower the threshold in the model's card"
    elif not states["speech"]:
        remedy = "reinstall ser-live: the model, the gate or the demo voice is damaged"
    severity: Verdict = "warning" if states["uncertain"] else "problem"
    figures = {"states": dict(states), "clip": DEMO_PATH.name}
    yield judged("engine", f"the demo voice gives {counts}", remedy, figures, severity)


def check_headroom(model: Path) -> Iterator[Finding]:
    """Recognize as fast as possible for a second, and compare with the time there is."""
    recognizer = StreamRecognizer(model)
    costs: list[float] = []
    started = time.monotonic()
    for cost_seconds in _costs(recognizer):
        costs += [cost_seconds] if cost_seconds > 0.0 else []
        passed = time.monotonic() - started
        is_enough = passed >= _HEADROOM_SECONDS and len(costs) >= _FEWEST_HOPS
        if is_enough or passed >= _LONGEST_SECONDS:
            break
    yield judge_headroom(costs, recognizer.hop_seconds, usable_processors())


def judge_headroom(costs: Sequence[float], hop_seconds: float, processors: int) -> Finding:
    """Compare the cost of predictions with the time between two of them.

    Parameters
    ----------
    costs : sequence of float
        Seconds per prediction with inference.
    hop_seconds : float
        From one prediction to the next.
    processors : int
        How many work at the same time, each of them for streams during half of its time.
    """
    if not costs:
        remedy = "take a smaller model with --model, or a longer hop with --hop or --cpu-budget"
        sentence = f"no prediction in {_LONGEST_SECONDS:g} s of recognition"
        return Finding("headroom", "problem", sentence, remedy)
    p50_seconds, p95_seconds = (float(value) for value in np.quantile(costs, (0.5, 0.95)))
    streams = int(processors * hop_seconds / 2.0 / p50_seconds)
    figures = {
        "hop_seconds": hop_seconds,
        "p50_seconds": p50_seconds,
        "p95_seconds": p95_seconds,
        "predictions": len(costs),
        "processors": processors,
        "streams": streams,
    }
    sentence = (
        f"a prediction takes {p50_seconds * 1e3:.1f} ms (p50), {p95_seconds * 1e3:.1f} ms (p95) "
        f"of {hop_seconds * 1e3:g} ms: this machine runs about {streams} "
        f"{'stream' if streams == 1 else 'streams'}"
    )
    # Half of the time is for everything else that the machine does.
    longer_seconds = math.ceil(p95_seconds / 0.125) * 0.25
    remedy = f"take a longer hop (--hop {longer_seconds:g}), or let --cpu-budget choose it"
    is_enough = p95_seconds <= hop_seconds / 2.0
    return judged("headroom", sentence, None if is_enough else remedy, figures)


def _costs(recognizer: StreamRecognizer) -> Iterator[float]:
    """Yield seconds per prediction, hop after hop without an end; 0 for one without inference."""
    *blocks, _ = _demo_blocks(round(recognizer.hop_seconds * SAMPLE_RATE_HZ))  # the last is short
    for block in itertools.cycle(blocks):
        for prediction in recognizer.process(block):
            timing = prediction.timing
            is_full = timing is not None and timing.inference_seconds > 0.0
            yield timing.total_seconds if timing is not None and is_full else 0.0


def _demo_blocks(block_samples: int) -> list[NDArray[np.float32]]:
    """Return the demo voice at the engine's rate in blocks; the last one may be shorter."""
    voice = demo_voice()
    return np.split(voice, range(block_samples, voice.size, block_samples))
