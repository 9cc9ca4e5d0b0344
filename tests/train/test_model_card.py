"""Figures of a cross-validation on their way into a model's card."""

from pathlib import Path

import numpy as np
import pytest

from helpers.measured import LABELS, write_report
from ser_live import SerError
from ser_train.reports.model_card import cross_validated_metrics


def test_pooled_figures_with_their_spread_over_folds_and_protocol(tmp_path: Path) -> None:
    folder = write_report(tmp_path, {(3, 0): 4, (3, 1): 2})
    uar, wa, ece, debiased, *recalls = cross_validated_metrics(folder, "tiny")
    assert [(m.name, m.value) for m in recalls] == [
        (f"recall of {label}", 0.75) for label in LABELS[1:3]
    ]
    assert (uar.name, uar.value, uar.spread_over) == ("UAR", 0.75, "folds")
    assert uar.spread == pytest.approx(np.std([1.0, 0.5], ddof=1), abs=1e-4)
    assert (wa.name, wa.value, wa.count) == ("WA", 0.75, 8)
    assert (ece.name, ece.spread, ece.spread_over) == ("ECE", None, "")
    # Each fold has the other's temperature: where all is right it says 0.543, where half is 0.996.
    assert ece.value == pytest.approx((1 - 0.543 + 0.996 - 0.5) / 2, abs=0.001)
    assert (debiased.name, debiased.spread_over) == ("debiased ECE", "")
    squares = (1 - 0.543) ** 2, (0.996 - 0.5) ** 2 - 0.5 * 0.5 / 3
    assert debiased.value == pytest.approx(np.sqrt(np.mean(squares)), abs=0.001)
    assert not uar.speaker_independent
    for words in ("speaker-dependent", "2 folds", "2 epochs", "seed 3", "not these very weights"):
        assert words in uar.protocol


def test_with_several_seeds_the_spread_is_over_them(tmp_path: Path) -> None:
    folder = write_report(tmp_path, {(0, 0): 4, (0, 1): 2, (1, 0): 2, (1, 1): 2, (2, 0): 4})
    uar, _, ece, *_ = cross_validated_metrics(folder, "tiny")
    assert (uar.value, uar.spread_over) == (0.625, "seeds")
    assert uar.spread == pytest.approx(np.std([0.75, 0.5], ddof=1), abs=1e-4)
    assert ece.spread is not None
    assert "mean of the seeds 0, 1;" in uar.protocol


def test_another_network_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SerError, match="holds no finished fold; run ser-train cross-validate"):
        cross_validated_metrics(tmp_path, "tiny")
    with pytest.raises(SerError, match="measured tiny, wanted emotion-tcn"):
        cross_validated_metrics(write_report(tmp_path, {(0, 0): 4}), "emotion-tcn")
