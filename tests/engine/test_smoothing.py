"""The smoother behaves the same in seconds whatever the hop."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from ser_live.engine.smoothing import Smoothed, Smoother
from ser_live.model.card import SAMPLE_RATE_HZ, SmoothingSpec

A, B, C = np.eye(3, dtype=np.float32)


def play(
    spec: SmoothingSpec, hop_seconds: float, script: list[tuple[float, NDArray[np.float32]]]
) -> list[tuple[float, Smoothed]]:
    """Feed a script of (until_seconds, probabilities) hop by hop."""
    smoother, given = Smoother(spec), []
    hops = round(script[-1][0] / hop_seconds)
    for k in range(1, hops + 1):
        at = k * hop_seconds
        row = next(row for until, row in script if at <= until + 1e-9)
        given.append((at, smoother.process(row, round(at * SAMPLE_RATE_HZ))))
    return given


@pytest.mark.parametrize("hop_seconds", [0.1, 0.25, 0.5])
def test_the_exponential_is_in_seconds(hop_seconds: float) -> None:
    spec = SmoothingSpec(seconds=2.0)
    for at, smoothed in play(spec, hop_seconds, [(2.0, A), (8.0, B)]):
        expected = 1.0 if at <= 2.0 else np.exp(-(at - 2.0) / 2.0)
        assert smoothed.probabilities[0] == pytest.approx(expected, abs=1e-12)
        assert smoothed.probabilities.sum() == pytest.approx(1.0, abs=1e-12)
        assert smoothed.confidence == smoothed.probabilities[smoothed.label_index]


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5])
def test_the_switch_comes_at_the_same_time_at_any_hop(margin: float) -> None:
    spec = SmoothingSpec(seconds=2.0, switch_margin=margin, minimum_dwell_seconds=0.0)
    expected = 2.0 + 2.0 * np.log(2.0 / (1.0 - margin))
    for hop_seconds in (0.1, 0.5):
        steps = play(spec, hop_seconds, [(2.0, A), (10.0, B)])
        switched = next(at for at, smoothed in steps if smoothed.label_index == 1)
        assert expected - 1e-9 <= switched < expected + hop_seconds + 1e-9


@pytest.mark.parametrize("hop_seconds", [0.1, 0.5])
def test_a_label_dwells(hop_seconds: float) -> None:
    spec = SmoothingSpec(seconds=0.2, switch_margin=0.0, minimum_dwell_seconds=2.0)
    script = [(k / 2 + 0.5, (A, B, C)[k % 3]) for k in range(40)]
    steps = play(spec, hop_seconds, script)
    switches = [
        at
        for (_, before), (at, after) in itertools.pairwise(steps)
        if before.label_index != after.label_index
    ]
    assert len(switches) >= 5
    assert min(np.diff(switches)) >= 2.0 - 1e-9


def test_hysteresis_holds_against_a_small_lead() -> None:
    spec = SmoothingSpec(seconds=0.01, switch_margin=0.2, minimum_dwell_seconds=0.0)
    slight = np.array([0.45, 0.55, 0.0], np.float32)
    clear = np.array([0.35, 0.65, 0.0], np.float32)
    labels = [s.label_index for _, s in play(spec, 0.1, [(1.0, A), (3.0, slight), (5.0, clear)])]
    assert labels == [0] * 30 + [1] * 20
