"""A figure says which code made it."""

import subprocess
from pathlib import Path

import pytest

from ser_train.cross_validation.provenance import Provenance

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
def test_a_checkout_names_its_commit() -> None:
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    commit = Provenance.now().commit
    assert commit is not None
    assert commit.removesuffix("-dirty") == head.stdout.strip()


def test_the_libraries_are_named() -> None:
    assert {"keras", "tensorflow"} <= Provenance.now().versions.keys()
