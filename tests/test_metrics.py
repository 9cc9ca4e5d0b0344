"""Figures of merit of known predictions."""

import numpy as np
import pytest
from numpy.typing import NDArray

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


def honest_answers(
    random: np.random.Generator, clips: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Probabilities of four labels, and truth that is drawn from them."""
    logits = random.normal(0, 1.5, (clips, 4))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return honest, np.array([random.choice(4, p=row) for row in honest])


def test_the_temperature_undoes_overconfidence() -> None:
    honest, truth = honest_answers(np.random.default_rng(0), 4000)
    loud = metrics.with_temperature(honest, 1 / 2.5)
    temperature = metrics.fit_temperature([(loud, truth)])
    assert temperature == pytest.approx(2.5, rel=0.08)
    calmed = metrics.with_temperature(loud, temperature)
    assert metrics.calibration_error(calmed, truth) < 0.03
    assert metrics.calibration_error(loud, truth) > 0.1
    threshold = metrics.uncertain_threshold([calmed])
    assert np.mean(calmed.max(axis=1) >= threshold) == pytest.approx(0.8, abs=0.01)


def test_a_speaker_with_many_recordings_decides_no_more_than_one_with_few() -> None:
    random = np.random.default_rng(0)
    parts = []
    for clips, temperature in ((2000, 2.0), (200, 0.5)):
        honest, truth = honest_answers(random, clips)
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
