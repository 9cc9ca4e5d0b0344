"""Figures of merit of known predictions, and the part of chance in them."""

import numpy as np
import pytest

from helpers.measured import answers
from ser_train import metrics


def test_scores_of_known_predictions() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.2, 0.8, 0.0], [0.7, 0.3, 0.0]])
    scores = metrics.score(probabilities, np.array([0, 0, 1, 1]))
    assert scores.recalls == (1.0, 0.5, None)
    assert (scores.uar, scores.wa, scores.count) == (0.75, 0.75, 4)
    expected = (abs(1 - 0.9) + abs(1 - 0.6) + abs(1 - 0.8) + abs(0 - 0.7)) / 4
    assert scores.ece == pytest.approx(expected)
    assert scores.nll == pytest.approx(-np.log([0.9, 0.6, 0.8, 0.3]).mean())
    assert scores.wa_of_surest == pytest.approx(2 / 3)
    counts = metrics.confusion(probabilities, np.array([0, 0, 1, 1]))
    np.testing.assert_array_equal(counts, [[2, 0, 0], [1, 1, 0], [0, 0, 0]])


def test_the_temperature_undoes_overconfidence() -> None:
    honest, truth = answers(4000)
    loud = metrics.with_temperature(honest, 1 / 2.5)
    temperature = metrics.fit_temperature([(loud, truth)])
    assert temperature == pytest.approx(2.5, rel=0.08)
    calmed = metrics.with_temperature(loud, temperature)
    assert metrics.calibration_error(calmed, truth) < 0.03
    assert metrics.calibration_error(loud, truth) > 0.1
    threshold = metrics.uncertain_threshold([calmed])
    assert np.mean(calmed.max(axis=1) >= threshold) == pytest.approx(0.8, abs=0.01)


def test_a_speaker_with_many_recordings_decides_no_more_than_one_with_few() -> None:
    parts = []
    for clips, temperature in ((2000, 2.0), (200, 0.5)):
        honest, truth = answers(clips)
        parts.append((metrics.with_temperature(honest, 1 / temperature), truth))
    probabilities = np.concatenate([part for part, _ in parts])
    truth = np.concatenate([truth for _, truth in parts])
    pooled = metrics.fit_temperature(parts)
    assert pooled == pytest.approx(metrics.fit_temperature([(probabilities, truth)]))
    alike = metrics.fit_temperature(parts, each_alike=True)
    doubled = metrics.fit_temperature([parts[0], *[parts[1]] * 10])
    assert alike == pytest.approx(doubled, rel=1e-3)
    assert alike < pooled - 0.2

    calm = np.tile([0.4, 0.2, 0.2, 0.2], (90, 1))
    sure = np.tile([0.55, 0.15, 0.15, 0.15], (10, 1))
    assert metrics.uncertain_threshold([sure, calm]) == 0.4
    several = [sure, sure, sure, sure, sure, calm]
    assert metrics.uncertain_threshold(several) == 0.4
    assert metrics.uncertain_threshold(several, each_alike=True) == 0.55


@pytest.mark.parametrize("clips", [60, 500, 5000])
def test_a_perfectly_calibrated_model_has_no_excess(clips: int) -> None:
    errors, excess = [], []
    for seed in range(20):
        probabilities, truth = answers(clips, seed)
        errors.append(metrics.calibration_error(probabilities, truth))
        excess.append(metrics.excess_calibration_error(probabilities, truth))
    assert np.mean(errors) > 0.3 / np.sqrt(clips)
    assert abs(np.mean(excess)) < 0.15 * np.mean(errors)


def test_overconfidence_is_excess() -> None:
    probabilities, truth = answers(4000)
    loud = metrics.with_temperature(probabilities, 0.4)
    gap = metrics.calibration_error(loud, truth)
    assert gap > 0.08
    assert metrics.excess_calibration_error(loud, truth) == pytest.approx(gap, abs=0.015)


def test_the_interval_of_equal_speakers_is_a_point() -> None:
    clips = np.full((6, 2), 10)
    right = np.tile([5.0, 8.0], (6, 1))
    uar, wa = metrics.speaker_intervals(right, clips)
    assert (uar.low, uar.high, wa.low, wa.high) == pytest.approx((0.65, 0.65, 0.65, 0.65))


def test_the_interval_is_as_wide_as_the_theory_says() -> None:
    """The mean over n speakers has the standard error sd / sqrt(n)."""
    random = np.random.default_rng(5)
    accuracy = random.uniform(0.3, 0.9, 40)
    clips = np.full((40, 1), 50)
    _, wa = metrics.speaker_intervals(accuracy[:, None] * 50, clips)
    error = accuracy.std() / np.sqrt(40)
    assert wa.high - wa.low == pytest.approx(2 * 1.96 * error, rel=0.06)
    assert (wa.high + wa.low) / 2 == pytest.approx(accuracy.mean(), abs=0.3 * error)
    assert metrics.speaker_intervals(accuracy[:, None] * 50, clips)[1] == wa


def test_a_label_that_few_speakers_have_is_left_out_where_none_is_drawn() -> None:
    clips = np.array([[10, 1], [10, 0], [10, 0]])
    right = np.array([[10.0, 0.0], [10.0, 0.0], [10.0, 0.0]])
    uar, wa = metrics.speaker_intervals(right, clips)
    assert (uar.low, uar.high) == (0.5, 1.0)
    assert wa.low < wa.high == 1.0


def test_risk_coverage_of_known_answers() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    curve = metrics.risk_coverage(probabilities, np.array([1, 0, 1, 0]))
    assert curve.tolist() == pytest.approx([1.0, 1.0, 2 / 3, 0.5])
