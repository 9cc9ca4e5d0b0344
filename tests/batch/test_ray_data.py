"""An archive on Ray Data: the sample of docs/scale-out.md on this machine, with an actor killed."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import soundfile

from ser_live.batch import TableWorker, find_files
from ser_live.testing import demo_voice

pytestmark = pytest.mark.long
SAMPLE = Path(__file__).parents[2] / "docs" / "deploy" / "ray_data.py"
START_SECONDS = 300.0


def kill_an_actor_at_work(driver: "subprocess.Popen[bytes]") -> int:
    """Kill a process that has one of the recordings open, and return its id."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and driver.poll() is None:
        for process in psutil.Process(driver.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any(file.path.endswith(".wav") for file in process.open_files()):
                    process.kill()
                    return int(process.pid)
        time.sleep(0.02)
    pytest.fail("no recording was opened")


@pytest.mark.parametrize("source", ["folder", "parquet"])
def test_all_rows_are_those_of_a_plain_loop_though_an_actor_was_killed(
    source: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    pytest.importorskip("ray.data")
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    calls, table = tmp_path / "calls", tmp_path / "table"
    calls.mkdir()
    for number in range(20):
        soundfile.write(calls / f"{number:02}.wav", demo_voice()[number * 9000 :][:128000], 16000)
    (calls / "bad.mp3").write_bytes(b"no audio")
    paths, given = find_files(calls), calls
    if source == "parquet":
        paths, given = [*paths, "no/such.wav"], tmp_path / "paths.parquet"
        parquet.write_table(pyarrow.table({"number": range(len(paths)), "path": paths}), given)
    with subprocess.Popen(
        [sys.executable, SAMPLE, given, table],
        # Ray's workers step back for whatever else this machine does, its other tests too.
        env=environment | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"},
    ) as driver:
        killed = kill_an_actor_at_work(driver)
        assert driver.wait(START_SECONDS) == 0
    assert not psutil.pid_exists(killed)
    rows = parquet.read_table(table).sort_by("path")
    assert rows.equals(TableWorker()({"path": paths}).sort_by("path"))
    errors = [Path(row["path"]).name for row in rows.to_pylist() if row["error"]]
    assert errors == ["bad.mp3", "such.wav"][: 1 + (source == "parquet")]
