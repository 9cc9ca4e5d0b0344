"""Refusals and progress of ``ser-bench``; its figures are in the snapshot."""

import io
import sys
from pathlib import Path

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


@pytest.mark.parametrize("is_terminal", [True, False])
def test_only_a_terminal_is_shown_progress(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path, is_terminal: bool
) -> None:
    shown = io.StringIO()
    shown.isatty = lambda: is_terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    assert main(["--model", str(tiny_model), "--seconds", "1", "--paced-seconds", "0"]) == 0
    text = shown.getvalue()
    for wanted in ("0/2", "free-running, gate on", "1/2", "free-running, gate off"):
        assert (wanted in text) is is_terminal
    assert bool(text) is is_terminal
