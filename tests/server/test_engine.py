"""Many streams at once, of one model or engine, give what each gives alone."""

import functools
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from helpers.streams import offline
from ser_live import Prediction, SerError, StreamRecognizer
from ser_live.engine.inference import MOST_WINDOWS_TOGETHER
from ser_live.live.listener import Listener
from ser_live.model.catalog import find_model
from ser_live.model.classifier import OnnxClassifier
from ser_live.model.prior import Outputs
from ser_live.server import engine as engines
from ser_live.server.engine import Engine
from ser_live.testing import Crash, FakeMicrophone, Overrun, SlowModel, demo_voice, tiny_card
from ser_live.testing.models import tiny_graph, with_golden, write_graph

VOICE = demo_voice()
RATES = (16000, 48000, 8000, 44100)
VOICES = {rate: demo_voice(rate) for rate in RATES}
SECONDS = 3


@pytest.fixture(scope="module")
def model() -> OnnxClassifier:
    """The shipped one: its bits are those that must not depend on the company."""
    return OnnxClassifier.load(find_model(None))


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> OnnxClassifier:
    return OnnxClassifier.load(tiny_model)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


def voice_of(stream: int) -> tuple[int, NDArray[np.float32]]:
    """Return a rate and some seconds of the voice, another stretch for each stream."""
    rate = RATES[stream % len(RATES)]
    start = round(0.7 * stream * rate) % (14 * rate)
    return rate, VOICES[rate][start : start + SECONDS * rate]


@functools.cache
def alone(model: OnnxClassifier, stream: int) -> list[Prediction]:
    rate, voice = voice_of(stream)
    return offline(model, voice, sample_rate_hz=rate)


def gathered(futures: list[Future[list[Prediction]]]) -> list[Prediction]:
    return [prediction for future in futures for prediction in future.result(60.0)]


def test_streams_in_company_are_bitwise_as_alone(model: OnnxClassifier) -> None:
    sizes: dict[str, list[int]] = {"gate": [], "network": []}
    streams = [*range(8)] * 2  # pairs make full runs of the network likely
    voices = [voice_of(stream) for stream in streams]
    recognizers = [StreamRecognizer(model, rate) for rate, _ in voices]
    futures: list[list[Future[list[Prediction]]]] = [[] for _ in streams]
    engine = Engine(lambda kind, size, _: sizes[kind].append(size))
    for block in range(SECONDS * 5):
        for (rate, voice), recognizer, own in zip(voices, recognizers, futures, strict=True):
            part = voice[block * rate // 5 : (block + 1) * rate // 5]
            own.append(engine.process(recognizer, part))
    for recognizer, own in zip(recognizers, futures, strict=True):
        own.append(engine.flush(recognizer))
    with engine:  # all are there when it starts: they share runs
        got = [gathered(of_stream) for of_stream in futures]
    assert got == [alone(model, stream) for stream in streams]
    assert max(sizes["gate"]) > 4
    assert 2 < max(sizes["network"]) <= MOST_WINDOWS_TOGETHER


def test_skips_and_wider_hops_take_their_turn(model: OnnxClassifier, engine: Engine) -> None:
    recognizer, other = StreamRecognizer(model), StreamRecognizer(model)
    first, second = VOICE[: 3 * 16000], VOICE[3 * 16000 : 8 * 16000]
    futures = [
        engine.process(recognizer, first),
        engine.skip(recognizer, 8000),
        engine.widen(recognizer, 2),
        engine.process(recognizer, second),
        engine.flush(recognizer),
    ]
    wanted = other.process(first) + other.skip(8000)
    other.hops_per_prediction = 2
    wanted += other.process(second) + other.flush()
    assert gathered(futures) == wanted


def test_a_mistake_in_one_stream_is_its_own(model: OnnxClassifier, engine: Engine) -> None:
    good, bad = StreamRecognizer(model), StreamRecognizer(model)
    fine = engine.process(good, VOICE[: 4 * 16000])
    with pytest.raises(SerError, match="NaN"):
        engine.process(bad, np.full(100, np.nan, np.float32)).result(60.0)
    assert fine.result(60.0) == StreamRecognizer(model).process(VOICE[: 4 * 16000])
    assert engine.process(bad, VOICE[:16000]).result(60.0)


def write_choosy_model(path: Path) -> Path:
    """Write the default model so that it looks silent windows up behind the end of a table."""
    graph = onnx.load(find_model(None))
    for node in graph.graph.node:
        node.input[:] = ["checked" if name == "spectrum" else name for name in node.input]
    for name, value in {
        "quiet": np.array(1e-12, np.float32),
        "table": np.zeros(1, np.float32),
    }.items():
        graph.graph.initializer.append(numpy_helper.from_array(value, name))
    nodes = [
        helper.make_node("ReduceMax", ["spectrum"], ["level"], axes=[1, 2]),
        helper.make_node("Less", ["level", "quiet"], ["is_silent"]),
        helper.make_node("Cast", ["is_silent"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "place"], ["nothing"]),
        helper.make_node("Add", ["spectrum", "nothing"], ["checked"]),
    ]
    for at, node in enumerate(nodes):
        graph.graph.node.insert(at, node)
    return write_graph(path, graph, None)


def test_a_window_that_the_network_cannot_take_ends_its_own_stream_alone(tmp_path: Path) -> None:
    """A real network that fails on one input, asked for four streams in one run."""
    model = OnnxClassifier.load(write_choosy_model(tmp_path / "choosy.onnx"))
    assert model.batch_is_bitwise
    sizes: list[int] = []
    voices = [VOICE[: 2 * 16000]] * 4
    voices[2] = np.zeros(2 * 16000, np.float32)  # no level at all: what this network cannot take
    engine = Engine(lambda _, size, __: sizes.append(size))
    recognizers = [StreamRecognizer(model, vad=False) for _ in voices]
    futures = list(map(engine.process, recognizers, voices))
    with engine:  # all four are there when it starts: they share the first run
        assert [p.state for p in futures[2].result(60.0)] == ["warming_up"] * 3
        with pytest.raises(SerError, match="the network fails"):
            engine.flush(recognizers[2]).result(60.0)
        for k in (0, 1, 3):
            assert futures[k].result(60.0) == StreamRecognizer(model, vad=False).process(voices[k])
    assert sizes == [1, 1, 1, 3, 3, 3, 3]


def test_a_model_whose_bits_depend_on_the_batch_is_asked_singly(tmp_path: Path) -> None:
    """A network that looks at its whole batch: no stream may hear of the others."""
    card = tiny_card()
    graph = tiny_graph(card)
    softmax = graph.graph.node[-1]
    mean = helper.make_node("ReduceMean", ["logits"], ["of_all"], keepdims=1)
    graph.graph.node.insert(len(graph.graph.node) - 1, mean)
    graph.graph.node.insert(
        len(graph.graph.node) - 1, helper.make_node("Mul", ["logits", "of_all"], ["mixed"])
    )
    softmax.input[0] = "mixed"
    path = write_graph(tmp_path / "mixing.onnx", graph, with_golden(card, graph).to_json())
    model = OnnxClassifier.load(path)
    assert not model.batch_is_bitwise
    voices = [VOICE[16000 * k : 16000 * (k + 3)] for k in range(6)]
    sizes: dict[str, list[int]] = {"gate": [], "network": []}
    with Engine(lambda kind, size, _: sizes[kind].append(size)) as engine:
        recognizers = [StreamRecognizer(model, vad=False) for _ in voices]
        futures = list(map(engine.process, recognizers, voices))
        got = [future.result(60.0) for future in futures]
    assert got == [StreamRecognizer(model, vad=False).process(voice) for voice in voices]
    assert set(sizes["network"]) == {1}


def test_a_stage_does_not_contain_the_wait_for_others(tiny: OnnxClassifier) -> None:
    slow = [StreamRecognizer(SlowModel(tiny, 0.03), vad=False) for _ in range(4)]
    runs: list[float] = []
    with Engine(lambda _, __, seconds: runs.append(seconds)) as engine:
        wait([engine.process(one, VOICE[: 2 * 16000]) for one in slow], 60.0)
    stages = [{stage.name: stage for stage in one.stats.stages} for one in slow]
    assert all(0.03 <= one["inference"].p50_seconds <= 1.1 * max(runs) for one in stages)
    assert max(one["queue"].p50_seconds for one in stages) > 0.05
    alone = StreamRecognizer(tiny, vad=False)
    alone.process(VOICE[:16000])
    assert "queue" not in {stage.name for stage in alone.stats.stages}


def test_what_was_submitted_is_finished_when_it_closes(tiny: OnnxClassifier) -> None:
    engine = Engine()
    engine.start()
    futures = [engine.process(StreamRecognizer(tiny), VOICE) for _ in range(4)]
    engine.close()
    engine.close()
    assert all(future.done() for future in futures)
    with pytest.raises(SerError, match="closed"):
        engine.flush(StreamRecognizer(tiny))


def test_it_tells_how_busy_it_is(tiny: OnnxClassifier, engine: Engine) -> None:
    assert engine.busy_share == 0.0
    assert engine.queue_seconds == 0.0
    slow = StreamRecognizer(SlowModel(tiny, 0.06), vad=False)
    first = engine.process(slow, VOICE[: 4 * 16000])
    second = engine.process(slow, VOICE[: 4 * 16000])
    wait([first], 60.0)
    assert engine.queue_seconds >= 0.0
    wait([second], 60.0)
    assert 0.5 < engine.busy_share <= 1.0


def test_a_cancelled_piece_is_left_out(tiny: OnnxClassifier, engine: Engine) -> None:
    slow = StreamRecognizer(SlowModel(tiny, 0.1), vad=False)
    running = engine.process(slow, VOICE[: 2 * 16000])
    waiting = engine.process(slow, VOICE[: 2 * 16000])
    assert waiting.cancel()
    running.result(60.0)
    assert slow.stats.seconds == 2.0


class NotedModel(OnnxClassifier):
    """A model that notes when it is asked; its first run waits until it may go on."""

    def __init__(self, model: OnnxClassifier, name: str, notes: list[str]) -> None:
        self._name, self._notes = name, notes
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()
        self.may_go_on.set()
        super().__init__(model._session, model.card, model.where)
        self._notes.clear()  # the golden test

    def batch_outputs(self, windows: NDArray[np.float32], options: Any = None) -> Outputs:
        self._notes.append(self._name)
        self.has_begun.set()
        assert self.may_go_on.wait(60.0)
        return super().batch_outputs(windows, options)


def test_live_pieces_go_before_patient_ones(
    tiny: OnnxClassifier, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_PATIENCE_SECONDS", 1e9)  # however slow the machine is
    notes: list[str] = []
    patient = [NotedModel(tiny, name, notes) for name in ("first", "second", "third")]
    live = NotedModel(tiny, "live", notes)
    speakers = [StreamRecognizer(own, vad=False) for own in (*patient, live)]
    begun = engine.process(speakers[3], VOICE[:16000])  # from now on live ones may come
    begun.result(60.0)
    notes.clear()
    patient[0].may_go_on.clear()
    patient[0].has_begun.clear()
    piece = VOICE[: 2 * 16000]
    slow = [engine.process(one, piece, is_patient=True) for one in speakers[:3]]
    assert patient[0].has_begun.wait(60.0)
    quick = engine.process(speakers[3], VOICE[16000 : 3 * 16000])
    patient[0].may_go_on.set()
    assert len(quick.result(60.0)) == 8
    # One run was under way; the others of its piece come next, and then the other pieces in turn.
    wait(slow, 60.0)
    assert notes == ["first", *["live"] * 8, *["first"] * 4, *["second"] * 5, *["third"] * 5]
    for future in slow:
        assert future.result() == StreamRecognizer(tiny, vad=False).process(piece)


def test_a_live_piece_behind_a_patient_one_of_its_stream_is_done(
    tiny: OnnxClassifier, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_PATIENCE_SECONDS", 0.1)
    recognizer = StreamRecognizer(tiny, vad=False)
    futures = [engine.process(recognizer, VOICE[:32000], is_patient=True)]
    futures.append(engine.process(recognizer, VOICE[32000:64000]))
    assert gathered(futures) == StreamRecognizer(tiny, vad=False).process(VOICE[:64000])


@pytest.mark.parametrize("has_engine", [False, True], ids=["model", "engine"])
def test_threads_share(model: OnnxClassifier, engine: Engine, has_engine: bool) -> None:
    streams, barrier = range(8), threading.Barrier(8)

    def in_blocks(stream: int) -> list[Prediction]:
        rate, voice = voice_of(stream)
        recognizer = StreamRecognizer(model, rate)
        barrier.wait(30.0)
        parts = np.array_split(voice, 20)
        if has_engine:
            futures = [engine.process(recognizer, part) for part in parts]
            return gathered([*futures, engine.flush(recognizer)])
        return [p for part in parts for p in recognizer.process(part)] + recognizer.flush()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as threads:
            got = list(threads.map(in_blocks, streams))
    finally:
        sys.setswitchinterval(interval)
    assert got == [alone(model, stream) for stream in streams]


def test_microphones_in_threads_share_a_model(tiny: OnnxClassifier) -> None:
    """Each in its own virtual time, with its own faults."""

    def hear(stream: int) -> list[Prediction]:
        faults = [Overrun(1.0 + 0.1 * stream, 0.3), Crash(3.0)]
        microphone = FakeMicrophone(VOICE, faults, seconds=5.0, seed=stream)
        clock = microphone.clock.monotonic
        with Listener[Prediction](microphone, model=tiny, clock=clock) as predictions:
            return list(predictions)

    wanted = [hear(stream) for stream in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(hear, range(4))) == wanted
    assert threading.active_count() == 1
