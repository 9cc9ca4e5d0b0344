"""A figure says which code made it."""

import subprocess
from pathlib import Path

import pytest

from ser_train.cross_validation.plan import commit, versions

ROOT = Path(__file__).parent.parent


@pytest.mark.integration
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
def test_a_checkout_names_its_commit() -> None:
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = commit()
    assert found is not None
    assert found.removesuffix("-dirty") == head.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small project with one commit."""
    for name in ("train/code.py", "docs/ledger.jsonl"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1\n")
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "is_code"),
    [("docs/ledger.jsonl", False), ("train/code.py", True), ("train/new.py", True)],
)
def test_only_code_makes_a_commit_dirty(checkout: Path, name: str, is_code: bool) -> None:
    (checkout / name).write_text("2\n")
    found = commit(checkout)
    assert found is not None
    assert found.endswith("-dirty") is is_code


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path) -> None:
    assert commit(tmp_path) is None


def test_the_libraries_are_named() -> None:
    assert {"keras", "tensorflow"} <= versions().keys()
