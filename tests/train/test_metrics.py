"""Figures of merit of known predictions, and the part of chance in them."""

import numpy as np
import pytest
from numpy.typing import NDArray

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


def overconfident(
    clips: int, temperature: float, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    honest, truth = answers(clips, seed)
    return metrics.with_temperature(honest, temperature), truth


@pytest.mark.parametrize(
    ("temperature", "true_error", "most_off"),
    [
        (1.0, 0.0, 0.006),
        (0.825, 0.044, 0.007),
        (0.677, 0.086, 0.007),
        (1.22, 0.044, 0.006),
        (1.471, 0.086, 0.007),
    ],
)
def test_the_debiased_error_is_the_true_one_on_average(
    temperature: float, true_error: float, most_off: float
) -> None:
    """Simulated: 400 sets of few answers of a network whose true calibration error is known."""
    many = overconfident(400_000, temperature, 1000)
    assert metrics.calibration_error(*many) == pytest.approx(true_error, abs=0.002)
    sets = [overconfident(788, temperature, seed) for seed in range(400)]
    errors = [metrics.debiased_calibration_error(*one) for one in sets]
    assert np.mean(errors) == pytest.approx(true_error, abs=most_off)


def test_bins_of_one_clip_say_nothing() -> None:
    probabilities = np.array([[0.95, 0.05], [0.7, 0.3], [0.7, 0.3]])
    error = metrics.debiased_calibration_error(probabilities, np.array([0, 1, 0]))
    assert error == pytest.approx(-np.sqrt(0.25 - 0.2**2))
    assert metrics.debiased_calibration_error(probabilities[:1], np.array([1])) == 0.0


def test_the_interval_of_equal_speakers_is_a_point() -> None:
    clips = np.full((6, 2), 10)
    right = np.tile([5.0, 8.0], (6, 1))
    uar, wa = metrics.speaker_intervals(right, clips)
    assert (uar.low, uar.high, wa.low, wa.high) == pytest.approx((0.65, 0.65, 0.65, 0.65))


def test_the_interval_is_as_wide_as_the_theory_says() -> None:
    """The mean over n speakers has the standard error sd / sqrt(n)."""
    random = np.random.default_rng(5)
    accuracy = random.uniform(0.4, 0.8, 6)
    clips = np.full((6, 1), 50)
    _, wa = metrics.speaker_intervals(accuracy[:, None] * 50, clips)
    error = accuracy.std(ddof=1) / np.sqrt(6)
    assert wa.high - wa.low == pytest.approx(2 * 2.5706 * error, rel=1e-4)  # t of 5 degrees
    assert (wa.high + wa.low) / 2 == pytest.approx(accuracy.mean())


@pytest.mark.parametrize("speakers", [3, 6, 10, 24])
def test_the_interval_covers_the_recall_of_all_speakers(speakers: int) -> None:
    """Simulated: voices and labels differ, and some speakers have five times as many clips."""
    random, covered = np.random.default_rng(speakers), []
    labels = np.array([-0.2, -0.4, 1.1, 1.7, 1.4, 2.2, 0.2])
    spread = (0.45, 0.7)

    def recalls(count: int) -> NDArray[np.float64]:
        of_voice = random.normal(0, spread[0], (count, 1))
        of_label = random.normal(0, spread[1], (count, len(labels)))
        found: NDArray[np.float64] = 1 / (1 + np.exp(-labels - of_voice - of_label))
        return found

    true_uar = recalls(200_000).mean()
    for _ in range(400):
        clips = random.integers(4, 12, (speakers, 7)) * random.integers(1, 6, (speakers, 1))
        right = random.binomial(clips, recalls(speakers)).astype(float)
        uar, _ = metrics.speaker_intervals(right, clips)
        covered.append(uar.low <= true_uar <= uar.high)
    assert 0.91 <= np.mean(covered) <= 0.98


def test_a_label_that_one_speaker_has_is_left_out_without_them() -> None:
    clips = np.array([[10, 1], [10, 0], [10, 0]])
    right = np.array([[10.0, 0.0], [10.0, 0.0], [10.0, 0.0]])
    uar, wa = metrics.speaker_intervals(right, clips)
    assert (uar.low, uar.high) == (0.0, 1.0)
    assert wa.low < wa.high == 1.0


def test_risk_coverage_of_known_answers() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    curve = metrics.risk_coverage(probabilities, np.array([1, 0, 1, 0]))
    assert curve.tolist() == pytest.approx([1.0, 1.0, 2 / 3, 0.5])


def test_enough_answers_at_the_threshold_are_right() -> None:
    """Of two speakers alike: the second has twice as many clips, which count half each."""
    confidence = np.array([0.9, 0.5, 0.4, 0.3])
    shares = np.stack([confidence, *[(1 - confidence) / 3] * 3], axis=1)
    parts = [(shares, np.array([0, 1, 1, 1])), (shares.repeat(2, 0), np.zeros(8, int))]
    assert metrics.threshold_of_accuracy(parts, 0.65) == 0.4
    assert metrics.threshold_of_accuracy(parts, 0.7) == 0.5
    assert metrics.threshold_of_accuracy(parts, 0.1) == 0.3
    assert metrics.threshold_of_accuracy([(shares, np.ones(4, int))], 0.5) == 0.6
