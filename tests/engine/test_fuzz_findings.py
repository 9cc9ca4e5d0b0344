"""Findings of the fuzzing stay mended, and the inputs that it starts from are valid."""

import importlib
from pathlib import Path

import pytest

from fuzz import TARGETS

FINDINGS = sorted((Path(__file__).parents[1] / "fuzz" / "findings").glob("*/*"))


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: f"{path.parent.name}/{path.name[:16]}")
def test_a_finding_stays_mended(path: Path) -> None:
    importlib.import_module(f"fuzz.{path.parent.name}").check(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_are_harmless(target: str) -> None:
    module = importlib.import_module(f"fuzz.{target}")
    seeds = module.seeds()
    assert seeds
    for seed in seeds:
        module.check(seed)
