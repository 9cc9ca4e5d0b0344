"""Refusals of ``ser-bench``, before it measures anything; its figures are in the snapshot."""

import pytest

from helpers.in_process import call, error_of
from ser_live.bench import baselines
from ser_live.bench.command import main


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--hop 0", "hop_seconds is 0.0, wanted a whole multiple of 0.01"),
        ("--hop nan", "hop_seconds is nan, wanted a whole multiple of 0.01"),
        ("--seconds 0", "--seconds is 0 and --paced-seconds 20, wanted 1 to 36000"),
        ("--model nothing", "nothing"),
        ("--compare", "--compare needs keras, which is not installed; pip install"),
    ],
)
def test_mistakes_take_one_line(monkeypatch: pytest.MonkeyPatch, words: str, wanted: str) -> None:
    monkeypatch.setattr(baselines, "find_spec", lambda name: None)
    assert wanted in error_of(call(*words.split(), main=main), "ser-bench")
