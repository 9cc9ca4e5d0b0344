"""The page about what goes wrong names tests that exist."""

import re
from pathlib import Path

import pytest

from ser_live.events import EventKind

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reliability.md"
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| `(test_\w+\.py)`: `(test_\w+)` \|$", re.M)


def test_every_pain_has_its_row() -> None:
    rows = ROW.findall(PAGE.read_text())
    assert [int(row[0]) for row in rows] == list(range(1, 34))
    verdicts = {row[2].partition(":")[0] for row in rows}
    assert verdicts <= {"cannot happen", "answered", "answered in part", "out of scope"}


@pytest.mark.parametrize(("file", "test"), [row[3:] for row in ROW.findall(PAGE.read_text())])
def test_its_test_exists(file: str, test: str) -> None:
    assert f"def {test}(" in (TESTS / file).read_text()


def test_every_event_is_explained() -> None:
    explained = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.M))
    assert explained == set(EventKind.__args__)  # type: ignore[attr-defined]
