"""A figure says which code made it."""

import subprocess
from pathlib import Path

import pytest

from ser_train.cross_validation import plan
from ser_train.cross_validation.plan import commit, conditions


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
    command = ["git", "rev-parse", "HEAD"]
    head = subprocess.check_output(command, cwd=checkout, text=True).strip()
    assert commit(checkout) == head + ("-dirty" if is_code else "")


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path) -> None:
    assert commit(tmp_path) is None


@pytest.mark.integration
@pytest.mark.skipif(not (plan._ROOT / ".git").exists(), reason="this is no checkout")
def test_this_checkout_has_a_commit() -> None:
    assert commit() is not None


def test_the_libraries_are_named() -> None:
    assert {"keras", "tensorflow"} <= conditions("")["versions"].keys()
