"""The fault kit itself: time, devices, slow models, tiny models."""

import doctest
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ser_live import SerError, StreamRecognizer, testing
from ser_live.model.classifier import OnnxClassifier
from ser_live.sources import Block, Microphone, Notice
from ser_live.sources.microphone import SystemClock
from ser_live.testing import (
    Backlog,
    Clipping,
    FakeMicrophone,
    Fault,
    HangOnOpen,
    Jitter,
    LastingFault,
    NotANumber,
    Offset,
    Overrun,
    SlowModel,
    Stall,
    Unplug,
    VirtualClock,
    WrongRate,
    Zeros,
    demo_voice,
    write_tiny_model,
)

RATE = 16000


def ramp(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a signal that tells its own time: 1 for 1000 s."""
    return times / 1000.0


def collected(microphone: FakeMicrophone) -> list[Block | Notice]:
    with microphone:
        return list(microphone)


def blocks_of(items: list[Block | Notice]) -> list[Block]:
    return [item for item in items if isinstance(item, Block)]


def samples_of(items: list[Block | Notice]) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = np.concatenate([b.samples for b in blocks_of(items)])
    return samples


def timeline_errors_seconds(blocks: list[Block], rate: int = RATE) -> NDArray[np.float64]:
    """Return how far samples of `ramp` are from where the blocks put them, at most per block."""
    frames, errors = 0, []
    for block in blocks:
        frames += block.missing_frames
        wanted = (frames + np.arange(len(block.samples))) / rate
        errors.append(np.abs(block.samples[:, 0] * 1000.0 - wanted).max(initial=0.0))
        frames += len(block.samples)
    return np.array(errors)


def test_the_example_works() -> None:
    done = doctest.testmod(testing, verbose=False)
    assert done.attempted >= 4
    assert done.failed == 0


class TestClock:
    def test_calls_come_at_their_time_and_in_order(self) -> None:
        clock, seen = VirtualClock(5.0), []
        for name, at in (("late", 8.0), ("early", 6.0), ("as late", 8.0), ("never", 20.0)):
            clock.call_at(at, lambda name=name: seen.append((name, clock.monotonic())))  # type: ignore[misc]
        clock.advance(4.0)
        assert seen == [("early", 6.0), ("late", 8.0), ("as late", 8.0)]
        assert clock.monotonic() == 9.0

    def test_a_cancelled_call_never_comes(self) -> None:
        clock, seen = VirtualClock(0.0), []
        alarm = clock.call_at(1.0, lambda: seen.append(1))
        alarm.cancel()
        clock.advance(2.0)
        assert seen == []

    def test_waiting_ends_with_the_event_and_not_before_it(self) -> None:
        clock, event = VirtualClock(0.0), threading.Event()
        assert not clock.wait(event, 1.5)
        assert clock.monotonic() == 1.5
        clock.call_at(2.0, event.set)
        assert clock.wait(event, 10.0)
        assert clock.monotonic() == 2.0
        assert clock.wait(event, 10.0)
        assert clock.monotonic() == 2.0

    def test_a_call_may_let_time_pass_and_time_never_goes_back(self) -> None:
        clock, seen = VirtualClock(0.0), []
        clock.call_at(1.0, lambda: clock.advance(5.0))
        clock.call_at(3.0, lambda: seen.append(clock.monotonic()))
        clock.advance(2.0)
        assert seen == [3.0]
        assert clock.monotonic() == 6.0


class TestMicrophone:
    def test_is_a_microphone_and_gives_the_signal(self) -> None:
        microphone = FakeMicrophone(ramp, seconds=3.0, channels=2)
        assert isinstance(microphone, Microphone)
        items = collected(microphone)
        samples = samples_of(items)
        assert samples.shape == (3 * RATE, 2)
        wanted = (np.arange(3 * RATE) / RATE / 1000.0).astype(np.float32)
        np.testing.assert_array_equal(samples, np.stack((wanted, wanted), axis=1))
        assert not any(isinstance(item, Notice) for item in items)

    def test_samples_are_repeated_for_ever(self) -> None:
        loop = np.random.default_rng(0).uniform(-1, 1, (700, 2)).astype(np.float32)
        samples = samples_of(collected(FakeMicrophone(loop, seconds=0.5, channels=2)))
        np.testing.assert_array_equal(samples, np.resize(loop, (8000, 2)))

    def test_the_same_script_runs_in_real_time(self) -> None:
        faults = [Overrun(0.2, 0.1), Unplug(0.5, 0.2)]
        microphone = FakeMicrophone(ramp, faults, seconds=1.5, clock=SystemClock())
        started_at = time.monotonic()
        items = collected(microphone)
        assert 1.0 < time.monotonic() - started_at < 10.0
        assert [item.kind for item in items if isinstance(item, Notice)] == [
            "device_lost",
            "device_restored",
        ]
        blocks = blocks_of(items)
        assert any(block.missing_frames == 1600 for block in blocks)
        # The device's blocks begin on its own grid of 20 ms, the second capture at any time.
        assert timeline_errors_seconds(blocks).max() < 0.3
        assert threading.active_count() == 1

    @pytest.mark.parametrize(
        ("signal", "faults", "words"),
        [
            (ramp, [Overrun(-1.0, 0.2)], "below 0"),
            (ramp, [Unplug(1.0, -0.2)], "below 0"),
            (ramp, [SerError("unplug")], "is no fault"),
            (np.zeros(0), [], "n > 0"),
        ],
    )
    def test_impossible_scripts_are_refused(
        self, signal: Any, faults: Sequence[Fault], words: str
    ) -> None:
        with pytest.raises(SerError, match=words):
            FakeMicrophone(signal, faults)


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "most_seconds"), [(Jitter(1.0, 3.0, 0.4), 0.4), (Stall(2.0, 0.6), 0.6)], ids=str
    )
    def test_blocks_that_come_late_lose_nothing(self, fault: Fault, most_seconds: float) -> None:
        microphone = FakeMicrophone(ramp, [fault], seconds=6.0)
        late, blocks = [], []
        with microphone:
            for item in microphone:
                assert isinstance(item, Block)
                assert item.end_captured_at is not None
                late.append(microphone.clock.monotonic() - item.end_captured_at)
                blocks.append(item)
        assert most_seconds / 2 < max(late) <= most_seconds + 0.02
        assert min(late) >= -1e-9
        assert timeline_errors_seconds(blocks).max() < 1e-3
        assert microphone.counters.captured == 6 * RATE

    @pytest.mark.parametrize(
        ("fault", "missing", "overruns", "dropped_frames", "untold_seconds"),
        [
            (Overrun(1.013, 0.5), [8000], [1], 0, 0.0),
            (Overrun(1.013, 0.5, is_known=False), [], [1], 0, 0.5),
            (Backlog(1.0, 0.25), [4000], [], 4000, 0.0),
        ],
        ids=str,
    )
    def test_a_loss_is_told_as_far_as_it_is_known(
        self,
        fault: LastingFault,
        missing: list[int],
        overruns: list[int],
        dropped_frames: int,
        untold_seconds: float,
    ) -> None:
        microphone = FakeMicrophone(ramp, [fault], seconds=3.0)
        blocks, hardware = blocks_of(collected(microphone)), microphone.hardware
        assert [b.missing_frames for b in blocks if b.missing_frames] == missing
        assert [b.overruns for b in blocks if b.overruns] == overruns
        counters = microphone.counters
        assert (counters.overruns, counters.dropped_capture) == (sum(overruns), dropped_frames)
        assert counters.processed == 3 * RATE - round(fault.duration_seconds * RATE)
        assert counters.captured == counters.processed + dropped_frames == hardware.captured_frames
        assert hardware.untold_seconds == pytest.approx(untold_seconds)
        error_seconds = timeline_errors_seconds(blocks).max()
        assert error_seconds == pytest.approx(untold_seconds, abs=1e-4)

    def test_opening_may_hang(self) -> None:
        microphone = FakeMicrophone(ramp, [HangOnOpen(0.0, 3.0)], seconds=1.0)
        with microphone:
            assert microphone.clock.monotonic() == 1003.0
        with (
            pytest.raises(SerError, match="did not open within 5 s"),
            FakeMicrophone(ramp, [HangOnOpen(0.0)], seconds=1.0),
        ):
            pass

    def test_samples_are_spoilt_where_and_only_where_it_says(self) -> None:
        faults = [
            NotANumber(0.5, 0.25),
            NotANumber(1.0, 0.1, value=float("inf")),
            Zeros(1.5, 0.25),
            Clipping(2.0, 0.25, gain=100.0),
            Offset(2.5, 0.25, level=0.5),
        ]
        clean = 0.3 * np.sin(np.arange(3 * RATE) / 50.0).astype(np.float32)
        wanted = clean.copy()
        wanted[8000:12000] = np.nan
        wanted[16000:17600] = np.inf
        wanted[24000:28000] = 0.0
        wanted[32000:36000] = np.clip(100.0 * clean[32000:36000], -1.0, 1.0)
        wanted[40000:44000] += np.float32(0.5)
        got = samples_of(collected(FakeMicrophone(clean, faults, seconds=3.0)))
        np.testing.assert_array_equal(got[:, 0], wanted)

    @pytest.mark.parametrize("ratio", [0.5, 0.99, 1.01, 2.0])
    def test_a_wrong_rate_gives_other_frames_than_it_says(self, ratio: float) -> None:
        microphone = FakeMicrophone(ramp, [WrongRate(1.0, 4.0, ratio)], seconds=6.0)
        samples = samples_of(collected(microphone))
        assert len(samples) == pytest.approx((2.0 + 4.0 * ratio) * RATE, abs=1)
        behind = microphone.hardware.untold_seconds
        assert behind == pytest.approx(4.0 * (1.0 - ratio), abs=1e-3)
        assert (np.diff(samples[:, 0]) > 0).all()
        assert samples[-1, 0] * 1000 == pytest.approx(6.0, abs=0.01)


class TestModels:
    def test_a_slow_model_takes_its_time_on_the_clock(self, tiny_model: Path) -> None:
        clock = VirtualClock(0.0)
        quick = OnnxClassifier.load(tiny_model)
        slow = SlowModel(quick, 0.5, clock)
        assert isinstance(slow, OnnxClassifier)
        window = np.random.default_rng(0).uniform(size=(100, 257)).astype(np.float32)
        np.testing.assert_array_equal(slow.probabilities(window), quick.probabilities(window))
        assert clock.monotonic() == 0.5
        recognizer = StreamRecognizer(slow)
        predictions = recognizer.process(demo_voice()[: 3 * RATE])
        answers = sum(p.raw_probabilities is not None for p in predictions)
        assert answers > 0
        assert clock.monotonic() == pytest.approx(0.5 + 0.5 * answers)

    def test_a_slow_model_really_takes_its_time(self, tiny_model: Path) -> None:
        slow = SlowModel(OnnxClassifier.load(tiny_model), 0.3)
        started_at = time.monotonic()
        slow.probabilities(np.ones((10, 257), np.float32))
        assert time.monotonic() - started_at > 0.25

    def test_tiny_models_of_other_seeds_disagree(self, tmp_path: Path) -> None:
        window = np.random.default_rng(0).uniform(size=(100, 257)).astype(np.float32)
        answers = [
            OnnxClassifier.load(write_tiny_model(tmp_path / f"{seed}.onnx", seed=seed))
            for seed in (0, 1)
        ]
        one, other = (model.probabilities(window) for model in answers)
        assert np.abs(one - other).max() > 0.05

    def test_without_onnx_it_says_what_to_install(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "onnx", None)
        with pytest.raises(SerError, match="pip install onnx"):
            write_tiny_model(tmp_path / "a.onnx")
