"""Quantiles in constant memory agree with the exact ones."""

import numpy as np
import pytest

from ser_live.latency import LatencyHistogram, StageClock


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_quantiles_are_those_of_the_sorted_list(seed: int) -> None:
    seconds = np.random.default_rng(seed).lognormal(-6, 2, 5000)
    histogram = LatencyHistogram()
    for value in seconds:
        histogram.add(float(value))
    summary = histogram.summary("stage")
    for share, got in ((50, summary.p50_seconds), (95, summary.p95_seconds)):
        exact = np.percentile(seconds, share, method="inverted_cdf")
        assert got == pytest.approx(exact, rel=0.024)
    assert summary.max_seconds == seconds.max()
    assert summary.count == 5000


def test_extremes_and_emptiness() -> None:
    histogram = LatencyHistogram()
    assert histogram.summary("empty").p99_seconds == 0.0
    for value in (-1.0, 0.0, 1e-30, 1e30):
        histogram.add(value)
    assert histogram.summary("odd").count == 4
    histogram.reset()
    assert histogram.summary("new").max_seconds == 0.0


def test_a_clock_counts_the_stages_that_ran() -> None:
    clock = StageClock()
    for _ in range(3):
        with clock.stage("gate"), clock.stage("spectrum"):
            pass
    with pytest.raises(ValueError, match="boom"), clock.stage("inference"):
        raise ValueError("boom")
    timing = clock.close()
    assert timing.gate_seconds >= timing.spectrum_seconds > 0.0 == timing.smoothing_seconds
    counts = {stage.name: stage.count for stage in clock.summaries()}
    assert counts == {
        "resample": 0, "gate": 1, "spectrum": 1, "inference": 1, "smoothing": 0, "total": 1,
    }  # fmt: skip
