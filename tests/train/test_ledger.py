"""A ledger loses no finished fold, whatever kills the process that writes it."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from helpers.measured import CONFIGURATION, make_posteriors, make_row
from ser_live import SerError
from ser_train.cross_validation.ledger import LEDGER, Configuration, Ledger

WRITE_FOR_EVER = """
import dataclasses, itertools, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from helpers.measured import make_posteriors, make_row
from ser_train.cross_validation.ledger import Ledger

ledger = Ledger(Path({folder!r}))
for seed in itertools.count(len(ledger.rows())):
    row = make_row(seed=seed)
    ledger.append(dataclasses.replace(row, history=row.history * 500), make_posteriors(seed))
"""


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "new" / "folder")
    assert ledger.rows() == ()
    rows = [make_row(1, 0), make_row(0, 3), make_row(0, 1)]
    for row in rows:
        ledger.append(row, make_posteriors(row.seed))
    assert ledger.rows() == (rows[2], rows[1], rows[0])
    lines = (ledger.folder / LEDGER).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["fold"] for line in lines] == [0, 3, 1]
    loaded, saved = ledger.posteriors(rows[0]), make_posteriors(1)
    np.testing.assert_allclose(loaded.probabilities, saved.probabilities, rtol=0.01, atol=1e-11)
    np.testing.assert_array_equal(loaded.names, saved.names)
    np.testing.assert_array_equal(loaded.truth, saved.truth)
    assert (loaded.labels, loaded.heard) == (saved.labels, saved.heard)


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_torn_line_is_ignored_and_repaired(share: float, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(make_row(0), make_posteriors())
    whole = make_row(1).to_line()
    torn = whole[: max(1, int(share * (len(whole) - 1)))]
    with (tmp_path / LEDGER).open("ab") as stream:
        stream.write(torn)
    assert ledger.rows() == (make_row(0),)
    ledger.append(make_row(2), make_posteriors())
    assert ledger.rows() == (make_row(0), make_row(2))
    assert len((tmp_path / LEDGER).read_bytes().splitlines()) == 2


def test_a_line_in_the_middle_that_is_no_row_is_refused(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(make_row(0), make_posteriors())
    for nonsense in (b"{}\n", b"[1]\n", b"\n", b"<<<<<<< HEAD\n"):
        (tmp_path / LEDGER).write_bytes(nonsense + make_row(0).to_line())
        with pytest.raises(SerError, match=r"ledger.jsonl, line 1: not a row of a ledger"):
            ledger.rows()


def test_a_row_without_its_posteriors_does_not_count(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for seed in (0, 1):
        ledger.append(make_row(seed), make_posteriors(seed))
    ledger.posteriors_file(make_row(0)).unlink()
    assert ledger.rows() == (make_row(1),)
    ledger.append(make_row(0), make_posteriors())
    assert ledger.rows() == (make_row(0), make_row(1))


def test_damaged_posteriors_are_named(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(make_row(), make_posteriors())
    file = ledger.posteriors_file(make_row())
    whole = file.read_bytes()
    for damaged in (b"", whole[:100], b"\0" * 50, whole[:-200] + b"\0" * 200):
        file.write_bytes(damaged)
        with pytest.raises(SerError, match=r"seed0-fold0.npz: .*remove it, and"):
            ledger.posteriors(make_row())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": "issa-ravdess"}, "network tiny, wanted issa-ravdess"),
        ({"also": ()}, r"also \('nemo',\), wanted None"),
        (
            {"recipe": {**CONFIGURATION.recipe, "windows": {"speeds": [1.0]}}},
            r"rows with speeds \[1.0, 1.1\], wanted \[1.0\]; give another --report-dir",
        ),
        ({"recipe": {**CONFIGURATION.recipe, "teacher": "x"}}, "teacher None, wanted x"),
    ],
)
def test_rows_of_other_settings_are_refused(
    change: dict[str, object], words: str, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path)
    ledger.require(CONFIGURATION)
    ledger.append(make_row(), make_posteriors())
    ledger.require(CONFIGURATION)
    other: Configuration = dataclasses.replace(CONFIGURATION, **change)  # type: ignore[arg-type]
    with pytest.raises(SerError, match=words):
        ledger.require(other)


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_writer_that_is_killed_at_any_moment_loses_nothing(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Rows of 50 kB: their lines take long enough to be torn."""
    code = WRITE_FOR_EVER.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path))
    ledger, file, chance, before = Ledger(tmp_path), tmp_path / LEDGER, random.Random(0), 0
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", code], env=environment) as writer:
            while not file.is_file() or file.read_bytes().count(b"\n") < before + 3:
                assert writer.poll() is None
                time.sleep(0.01)
            time.sleep(chance.uniform(0.0, 0.1))
            os.kill(writer.pid, signal.SIGKILL)
        rows = ledger.rows()
        assert [row.seed for row in rows] == list(range(len(rows)))
        assert len(rows) == file.read_bytes().count(b"\n") >= before + 3
        for row in rows:
            assert len(row.history) == 1000
            np.testing.assert_array_equal(ledger.posteriors(row).truth, [0, 1, 1])
        before = len(rows)
