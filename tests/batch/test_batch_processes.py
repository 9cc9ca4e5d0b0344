"""Several processes at work on many recordings, and every way in which a run can end early."""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import soundfile

from helpers.batch_workers import DyingWorker
from helpers.processes import children, have_ended, interrupted, resident_bytes
from ser_live import SerError, recognize_files
from ser_live.batch import FileResult, Worker, run
from ser_live.testing import demo_voice

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calls")
    for number in range(24):
        soundfile.write(folder / f"{number:02}.wav", demo_voice()[number * 8000 :][:80000], 16000)
    (folder / "07.wav").write_bytes(b"no audio")
    return folder


def by_path(results: list[FileResult]) -> list[FileResult]:
    return sorted(results, key=lambda result: result.path)


def test_processes_give_the_same_bits_as_this_one(calls: Path, tiny_model: Path) -> None:
    here = [*recognize_files(calls, model=tiny_model, jobs=1, utterances=True)]
    there = [*recognize_files(calls, model=tiny_model, jobs=3, utterances=True)]
    assert by_path(there) == by_path(here)
    assert [Path(one.path).name for one in here if one.error] == ["07.wav"]
    assert not children()


def test_a_reader_who_stops_early_leaves_no_process(calls: Path, tiny_model: Path) -> None:
    results = recognize_files(calls, model=tiny_model, jobs=2)
    next(results)
    started = children()
    assert len(started) == 2
    results.close()
    assert have_ended(started)


def test_a_process_that_dies_is_a_row_and_another_takes_its_place(
    calls: Path, tmp_path: Path, tiny_model: Path
) -> None:
    files = []
    for name in ("0.wav", "1-deadly.wav", "2.wav", "3-leaving.wav", "4.wav", "5-deadly.wav"):
        (tmp_path / name).write_bytes((calls / "20.wav").read_bytes())
        files.append(str(tmp_path / name))
    results = by_path([*run(DyingWorker(model=tiny_model), files, jobs=2)])
    assert [result.path for result in results] == files
    assert [result.error for result in results] == [
        None, "its process ended (Killed)", None, "its process ended (exit code 3)", None,
        "its process ended (Killed)",
    ]  # fmt: skip


def test_a_process_that_cannot_start_ends_the_run(calls: Path, tiny_model: Path) -> None:
    worker = Worker(model=tiny_model)
    assert worker.classifier
    worker.options["window_seconds"] = 0.5  # after it has been checked here
    with pytest.raises(SerError, match="window_seconds"):
        next(run(worker, [str(calls / "00.wav")] * 2, jobs=2))


def test_a_program_without_a_guard_for_its_main_module(
    calls: Path, tiny_model: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    program = tmp_path / "mine.py"
    program.write_text(
        "from ser_live import recognize_files\n"
        f"for done in recognize_files({str(calls)!r}, jobs=2, model={str(tiny_model)!r}):\n"
        "    print(done.path, done.error)\n"
    )
    command = [sys.executable, str(program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert len({*done.stdout.splitlines()}) == 24


def command(calls: Path, model: Path, out: Path, *words: str) -> list[str]:
    words = ("--model", str(model), "--predictions", "--jobs", "2", *words)
    return [sys.executable, "-m", "ser_live", "batch", str(calls), "-o", str(out), *words]


def finished(out: Path) -> list[str]:
    """Return the paths in a journal, whose last line may be half."""
    journal = Path(f"{out}.journal.jsonl")
    lines = journal.read_bytes().splitlines(True) if journal.exists() else []
    return [json.loads(line)["path"] for line in lines[1:] if line.endswith(b"\n")]


@pytest.fixture(scope="module")
def whole(calls: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The table of a run that was not interrupted, in one process."""
    out = tmp_path_factory.mktemp("whole") / "out.csv"
    words = ("batch", str(calls), "-o", str(out), "--model", str(tiny_model), "--predictions")
    subprocess.run([sys.executable, "-m", "ser_live", *words, "--jobs", "1"], check=False)
    return out.read_bytes()


def go_on(
    calls: Path, tiny_model: Path, out: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    words = command(calls, tiny_model, out, "--resume")
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def test_kill_9_loses_nothing_and_repeats_nothing(
    calls: Path, tiny_model: Path, tmp_path: Path, environment: dict[str, str], whole: bytes
) -> None:
    out = tmp_path / "out.csv"
    with subprocess.Popen(command(calls, tiny_model, out), env=environment) as process:
        while len(finished(out)) < 3:
            assert process.poll() is None
            time.sleep(0.01)
        workers = children(process.pid)
        process.kill()
    assert len(workers) == 2
    assert have_ended(workers)
    before = {*finished(out)}
    assert out.read_bytes().endswith(b"\r\n")
    with Path(f"{out}.journal.jsonl").open("ab") as journal:
        journal.write(b'{"type": "file", "path": "')  # as if it had been in the middle of a line
    done = go_on(calls, tiny_model, out, environment)
    assert done.returncode == 1
    failed_before = str(calls / "07.wav") in before
    left = 24 - len(before) + failed_before
    assert f"{left} of {left} files done, 1 failed" in done.stderr
    journal_lines = Path(f"{out}.journal.jsonl").read_bytes().splitlines()[1:-1]
    times = Counter(json.loads(line)["path"] for line in journal_lines)
    assert {path for path, count in times.items() if count > 1} <= {str(calls / "07.wav")}
    assert len(times) == 24
    assert out.read_bytes() == whole


def test_ctrl_c_ends_it_quickly_and_it_goes_on(
    calls: Path, tiny_model: Path, tmp_path: Path, environment: dict[str, str], whole: bytes
) -> None:
    out = tmp_path / "out.csv"
    workers: set[int] = set()

    def is_ready(process: psutil.Process) -> bool:
        workers.update(children(process.pid))
        return len(finished(out)) >= 2

    code, _, err = interrupted(command(calls, tiny_model, out), environment, is_ready)
    assert code == 130
    assert err.splitlines()[-1].endswith("--resume goes on with the rest")
    assert have_ended(workers)
    journal = Path(f"{out}.journal.jsonl").read_bytes()
    assert journal.endswith(b"\n")
    assert go_on(calls, tiny_model, out, environment).returncode == 1
    assert Path(f"{out}.journal.jsonl").read_bytes().startswith(journal)
    assert out.read_bytes() == whole


@pytest.mark.long
def test_memory_is_flat_over_ten_thousand_files(tmp_path: Path, tiny_model: Path) -> None:
    soundfile.write(tmp_path / "a.wav", demo_voice()[20000:24000], 16000)
    for number in range(10_000):
        (tmp_path / f"{number:05}.wav").hardlink_to(tmp_path / "a.wav")
    sizes = [
        resident_bytes()
        for number, _ in enumerate(recognize_files(tmp_path, model=tiny_model, jobs=1))
        if number in (1000, 9999)
    ]
    assert sizes[1] - sizes[0] < 8e6
