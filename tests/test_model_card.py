"""Figures of a cross-validation on their way into a model's card."""

import json
from pathlib import Path

import pytest

from ser_live import SerError
from ser_train.model_card import cross_validated_metrics


def write_summary(folder: Path, network: str = "issa-ravdess") -> Path:
    folds = [
        {"network": network, "epochs": 7, "seed": 3, "window": {"uar": u, "wa": u, "ece": 0.1}}
        for u in (0.6, 0.7, 0.8)
    ]
    summary = {
        "protocol": "speaker-dependent: made up",
        "speaker_independent": False,
        "window": {"uar": 0.71, "wa": 0.72, "ece": 0.05, "count": 300},
        "folds": folds,
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_pooled_figures_with_their_spread_and_protocol(tmp_path: Path) -> None:
    uar, wa, ece = cross_validated_metrics(write_summary(tmp_path), "issa-ravdess")
    assert (uar.name, uar.value, uar.spread, uar.spread_over) == ("UAR", 0.71, 0.1, "folds")
    assert (wa.name, wa.value, wa.count) == ("WA", 0.72, 300)
    assert (ece.name, ece.value, ece.spread) == ("ECE", 0.05, 0.0)
    assert not uar.speaker_independent
    for words in ("speaker-dependent", "3 folds", "7 epochs", "seed 3", "not these very weights"):
        assert words in uar.protocol


def test_another_network_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SerError, match="no finished cross-validation"):
        cross_validated_metrics(tmp_path, "issa-ravdess")
    with pytest.raises(SerError, match="measured issa-ravdess, wanted emotion-tcn"):
        cross_validated_metrics(write_summary(tmp_path), "emotion-tcn")
