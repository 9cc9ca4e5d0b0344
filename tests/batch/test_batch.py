"""Many recordings: each once, a row for a bad one, the same rows by every road, and on again."""

import csv
import io
import json
import math
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from helpers.in_process import call, error_of
from helpers.processes import files_no_larger_than
from ser_live import SerError, listen, recognize_file, recognize_files
from ser_live.batch import FileResult, TableWorker, Worker, find_files, run
from ser_live.batch.journal import Journal
from ser_live.batch.output import BatchOutput
from ser_live.batch.progress import BatchProgress
from ser_live.batch.table import RowKind, rows_of
from ser_live.engine.segments import Segmenter
from ser_live.prediction import Prediction
from ser_live.testing import demo_voice

KINDS: tuple[RowKind, ...] = ("summary", "segment", "prediction", "utterance")


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings, two of them of no use, and of other things."""
    folder = tmp_path_factory.mktemp("calls")
    voice = demo_voice()
    for name in (".cache", "more"):
        (folder / name).mkdir()
    soundfile.write(folder / "a.wav", voice[:80000], 16000)
    soundfile.write(folder / "b.flac", np.stack([voice, np.roll(voice, 50000)], 1)[:64000], 16000)
    soundfile.write(folder / "more" / "c \u00e9.OGG", voice[40000:120000], 16000, format="OGG")
    soundfile.write(folder / ".cache" / "hidden.wav", voice[:8000], 16000)
    whole = (folder / "a.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.wav").touch()
    (folder / "junk.mp3").write_bytes(bytes(range(256)) * 8)
    (folder / "notes.txt").write_text("no audio")
    (folder / "._a.wav").write_bytes(b"what macOS leaves on foreign disks")
    return folder


@pytest.fixture(scope="module")
def recognized(calls: Path, tiny_model: Path) -> tuple[Worker, list[FileResult]]:
    """A worker, and what it gives of each of them."""
    worker = Worker(model=tiny_model, utterances=True)
    return worker, [*run(worker, find_files(calls), 1)]


def written(out: Path, recognized: tuple[Worker, list[FileResult]], kind: RowKind) -> bytes:
    worker, results = recognized
    files = [result.path for result in results]
    with BatchOutput(out, kind, worker, files, is_resumed=False) as output:
        for result in results:
            output.add(result)
        output.finish()
    return out.read_bytes()


def names(files: list[str], folder: Path) -> list[str]:
    return [Path(file).relative_to(folder).as_posix() for file in files]


ALL = ["a.wav", "b.flac", "cut.wav", "empty.wav", "junk.mp3", "more/c \u00e9.OGG"]


class TestWalking:
    def test_folders_give_their_audio_once_and_in_order(self, calls: Path) -> None:
        given = [calls / "more", calls, calls / "more" / ".." / "a.wav"]
        assert names(find_files(given), calls) == [ALL[-1], *ALL[:-1]]
        assert names(find_files(str(calls)), calls) == ALL

    def test_patterns_hold_in_any_case_and_a_named_file_is_taken_as_it_is(
        self, calls: Path
    ) -> None:
        assert names(find_files([calls], ["*.ogg", "A*"]), calls) == ["a.wav", ALL[-1]]
        given = [calls / "notes.txt", calls / "nothing.wav", calls / ".cache"]
        assert names(find_files(given), calls) == [
            "notes.txt", "nothing.wav", ".cache/hidden.wav",
        ]  # fmt: skip

    def test_a_folder_that_cannot_be_read_is_a_row(
        self, calls: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path
    ) -> None:
        scan = __import__("os").scandir

        def guarded(path: Any) -> Any:
            if str(path).endswith("more"):
                raise PermissionError(13, "Permission denied", path)
            return scan(path)

        monkeypatch.setattr("os.scandir", guarded)
        (closed,) = (file for file in find_files(calls) if "more" in file)
        assert closed == str(calls / "more" / "*")
        assert Worker(model=tiny_model)(closed).error


class TestWorker:
    def test_it_can_be_sent_elsewhere_and_gives_the_same_there(
        self, calls: Path, tiny_model: Path
    ) -> None:
        worker = Worker(model=tiny_model, hop_seconds=0.5)
        here = worker(str(calls / "a.wav"))
        there = pickle.loads(pickle.dumps(worker))(str(calls / "a.wav"))
        assert pickle.loads(pickle.dumps(here)) == there
        assert here.recognition is not None
        assert here.error is None

    def test_the_model_is_loaded_once(self, calls: Path, tiny_model: Path, tmp_path: Path) -> None:
        model = tmp_path / "mine.onnx"
        model.write_bytes(tiny_model.read_bytes())
        worker = Worker(model=model)
        first = worker(str(calls / "a.wav"))
        model.unlink()
        assert worker(str(calls / "a.wav")) == first

    def test_whatever_a_file_does_is_its_row(self, calls: Path, tiny_model: Path) -> None:
        worker = Worker(model=tiny_model)
        assert worker(str(calls / "empty.wav")).error == "is empty, wanted audio"
        assert worker("no/such.wav").error == "cannot read it (No such file or directory)"
        assert worker("a\0b.wav").error is not None
        assert worker(str(calls)).error == "is a folder, wanted an audio file"

    @pytest.mark.parametrize(
        "options", [{"hop_seconds": 0.013}, {"model": "none"}, {"use_channels": "both"}]
    )
    def test_wrong_options_are_told_before_the_work(
        self, options: Any, tiny_model: Path, calls: Path
    ) -> None:
        with pytest.raises(SerError):
            recognize_files(calls, **{"model": tiny_model, **options})

    @pytest.mark.parametrize("paths", [None, 3, [3]])
    def test_what_is_no_path_is_told(self, paths: Any, tiny_model: Path) -> None:
        with pytest.raises(SerError, match=r"^paths is .*, wanted paths of files or folders$"):
            recognize_files(paths, model=tiny_model)

    @pytest.mark.parametrize("jobs", [0, -1, "2", 1.5])
    def test_wrong_jobs_are_told(self, jobs: Any, tiny_model: Path) -> None:
        with pytest.raises(SerError, match=r"jobs is .*, wanted 1 or more"):
            recognize_files([], model=tiny_model, jobs=jobs)

    def test_what_cannot_be_sent_is_told(self, model: Any, calls: Path) -> None:
        with pytest.raises(SerError, match="cannot go to other processes"):
            next(recognize_files(calls, model=model, jobs=2))
        assert next(recognize_files(calls, model=model, jobs=1)).recognition is not None


def timeless(prediction: Prediction) -> dict[str, Any]:
    return replace(prediction, timing=None, lag_seconds=None).to_dict()


def told(out: Path, calls: Path, model: Path, *options: str) -> list[Any]:
    """Run the command and return its JSON lines."""
    done = call("batch", calls, "-o", out, "--model", model, "--jobs", 1, *options)
    assert done.returncode == 1, done.stderr
    assert "6 of 6 files done, 2 failed" in done.stderr
    return [json.loads(line) for line in out.read_bytes().splitlines()]


class TestRows:
    def test_all_roads_give_the_same_bits(
        self, calls: Path, tiny_model: Path, tmp_path: Path
    ) -> None:
        rows: dict[str, list[Any]] = {}
        for row in told(tmp_path / "out.jsonl", calls, tiny_model, "--predictions"):
            rows.setdefault(row.pop("path"), []).append(row)
        head = {"type": "prediction", "channel": None, "error": None}
        assert names([*rows], calls) == ALL
        for result in recognize_files(calls, model=tiny_model, jobs=1):
            if result.recognition is None:
                assert rows[result.path] == [{**head, "error": result.error}]
                continue
            with listen(result.path, model=tiny_model) as predictions:
                live = [{**head, **timeless(one)} for one in predictions]
            assert rows[result.path] == live
            assert [{**head, **timeless(one)} for one in result.recognition.predictions] == live

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_table_holds_what_the_json_lines_do(
        self, recognized: tuple[Worker, list[FileResult]], tmp_path: Path, kind: RowKind
    ) -> None:
        text = written(tmp_path / "out.csv", recognized, kind).decode()
        lines = written(tmp_path / "out.jsonl", recognized, kind).splitlines()
        table = [*csv.DictReader(io.StringIO(text, newline=""))]
        assert len(table) == len(lines) > 2
        for row, line in zip(table, map(json.loads, lines), strict=True):
            assert row["path"] == line["path"]
            assert row["error"] == (line["error"] or "")
            for field, column in (("probabilities", "probability_sad"), ("seconds", "seconds_sad")):
                if line.get(field):
                    assert float(row[column]) == line[field]["sad"]
            for field in {*row} & {*line} - {"path", "error"}:
                value = "" if line[field] is None else line[field]
                assert row[field] == (str(value).lower() if isinstance(value, bool) else str(value))

    def test_channels_are_rows_of_their_own(
        self, calls: Path, tiny_model: Path, tmp_path: Path
    ) -> None:
        channels: dict[str, list[Any]] = {}
        for row in told(tmp_path / "out.jsonl", calls, tiny_model, "--use-channels", "split"):
            channels.setdefault(Path(row["path"]).name, []).append(row["channel"])
        assert channels["b.flac"] == ["left", "right"]
        assert channels["a.wav"] == ["1"]
        assert channels["empty.wav"] == [None]

    def test_parquet_is_read_back(
        self, recognized: tuple[Worker, list[FileResult]], tmp_path: Path
    ) -> None:
        parquet = pytest.importorskip("pyarrow.parquet")
        for kind in KINDS:
            written(tmp_path / f"{kind}.parquet", recognized, kind)
            lines = written(tmp_path / "out.jsonl", recognized, kind).splitlines()
            rows = parquet.read_table(tmp_path / f"{kind}.parquet").to_pylist()
            assert len(rows) == len(lines)
            for row, line in zip(rows, map(json.loads, lines), strict=True):
                assert {k: line.get(k) for k in {*row} & {*line}} == {
                    k: row[k] for k in {*row} & {*line}
                }

    def test_parquet_without_its_package_is_told_before_the_work(
        self, calls: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        out = tmp_path / "out.parquet"
        told = error_of(call("batch", calls, "-o", out, "--model", tiny_model))
        assert "pip install 'ser-live[parquet]'" in told
        assert [*tmp_path.iterdir()] == []

    def test_an_odd_name_is_text_in_every_format(self, tmp_path: Path, tiny_model: Path) -> None:
        pytest.importorskip("pyarrow")
        odd = 'a,"b"\n\udcff.wav'
        for ending in ("csv", "jsonl", "parquet"):
            out = tmp_path / f"out.{ending}"
            worker = Worker(model=tiny_model)
            with BatchOutput(out, "segment", worker, [odd], is_resumed=False) as output:
                output.add(FileResult(odd, error="odd"))
                output.finish()
        (row,) = csv.DictReader((tmp_path / "out.csv").open(newline="", encoding="utf-8"))
        assert row["path"] == 'a,"b"\n\\udcff.wav'
        assert json.loads((tmp_path / "out.jsonl").read_bytes())["path"] == odd


class TestTableWorker:
    @pytest.mark.parametrize("kind", KINDS)
    def test_tables_of_paths_become_the_table_of_the_command(
        self, calls: Path, tiny_model: Path, tmp_path: Path, kind: RowKind
    ) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        out = tmp_path / "out.parquet"
        words = ("-o", out, "--model", tiny_model, "--jobs", 1, "--use-channels", "split")
        flag = "--summary" if kind == "summary" else f"--{kind}s"
        assert call("batch", calls, *words, flag).returncode == 1
        worker = TableWorker(kind, model=tiny_model, use_channels="split")
        copies = [pickle.loads(pickle.dumps(worker)) for _ in range(2)]
        paths = sorted(find_files(calls))
        batches = [np.array(paths[:3], object), np.array(paths[3:4], str), paths[4:], []]
        tables = [copies[n % 2]({"path": batch, "id": batch}) for n, batch in enumerate(batches)]
        assert pyarrow.concat_tables(tables).equals(parquet.read_table(out))

    def test_what_is_no_path_is_a_row(self, tiny_model: Path) -> None:
        pytest.importorskip("pyarrow")
        nothing: list[Any] = [None]  # a null of Parquet
        (row,) = TableWorker(model=tiny_model)({"path": nothing}).to_pylist()
        assert row["error"] == "None is no path of an audio file"

    def test_pyarrows_table_and_numbers_among_its_paths(
        self, calls: Path, tiny_model: Path
    ) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        worker, path = TableWorker(model=tiny_model), calls / "a.wav"
        paths: list[Any] = [path, 5, math.nan]
        rows = worker({"path": paths}).to_pylist()
        assert [row["path"] for row in rows] == [str(path), "5", "nan"]
        assert [bool(row["error"]) for row in rows] == [False, True, True]
        assert worker(pyarrow.table({"path": [str(path)]})).to_pylist() == rows[:1]

    def test_mistakes_are_told(
        self, tiny_model: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(SerError, match=r"kind is 'rows', wanted one of summary, segment"):
            TableWorker("rows")  # type: ignore[arg-type]
        worker = TableWorker(model=tiny_model)
        with pytest.raises(SerError, match=r"^the columns are id, file, wanted one named path$"):
            worker({"id": [], "file": []})
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(SerError, match=r"pip install 'ser-live\[parquet\]'"):
            worker({"path": [str(calls / "a.wav")]})


class TestGoingOn:
    @pytest.mark.parametrize("ending", ["csv", "jsonl"])
    def test_a_run_that_ended_anywhere_goes_on_to_the_same_bytes(
        self, recognized: tuple[Worker, list[FileResult]], tmp_path: Path, ending: str
    ) -> None:
        worker, results = recognized
        files = [result.path for result in results]
        by_path = {result.path: result for result in results}
        out = tmp_path / f"out.{ending}"
        with BatchOutput(out, "summary", worker, files, is_resumed=False) as output:
            for result in reversed(results):  # as processes are ready, not by path
                output.add(result)
            output.finish()
        whole = out.read_bytes()
        journal = Path(f"{out}.journal.jsonl")
        lines = journal.read_bytes()
        ends = [i + 1 for i, byte in enumerate(lines) if byte == ord("\n")]
        for cut in sorted({*ends, *(end - 1 for end in ends), *range(ends[0], len(lines), 97)}):
            journal.write_bytes(lines[:cut])
            with BatchOutput(out, "summary", worker, files, is_resumed=True) as output:
                kept = sum(end <= cut for end in ends[1:-1])
                good = [r for r in [*reversed(results)][:kept] if r.error is None]
                assert [*output.left] == [f for f in files if by_path[f] not in good]
                assert out.read_bytes().count(b"\n") == kept + (ending == "csv")
                for path in output.left:
                    output.add(by_path[path])
                    assert out.read_bytes().endswith(b"\n")
                output.finish()
            assert out.read_bytes() == whole

    def test_another_file_is_no_journal_and_half_a_line_is_none_yet(self, tmp_path: Path) -> None:
        place = tmp_path / "journal"
        place.write_bytes(b'{"type": "bat')
        Journal(place, {"rows": "summary"}, is_resumed=True).close()
        assert place.read_bytes() == b'{"type": "batch", "rows": "summary"}\n'
        place.write_bytes(b"dear diary\n")
        for is_resumed in (True, False):
            with pytest.raises(SerError, match="is no journal of a batch"):
                Journal(place, {}, is_resumed)

    def test_two_runs_do_not_write_one_table(self, tmp_path: Path) -> None:
        place = tmp_path / "journal"
        first = Journal(place, {}, is_resumed=False)
        for is_resumed in (True, False):
            with pytest.raises(SerError, match="another run is writing it"):
                Journal(place, {}, is_resumed)
        first.add("a.wav", None, None, [{"path": "a.wav"}])
        first.close()
        second = Journal(place, {}, is_resumed=True)
        assert [*second.rows()] == [[{"path": "a.wav"}]]
        second.close()

    def test_a_file_by_another_of_its_names_is_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for is_resumed in (False, True):
            journal = Journal("journal", {}, is_resumed)
            journal.add("a.wav", (1, 2), None, [{"path": "a.wav"}])
            for name in ("a.wav", "./a.wav", str(tmp_path / "a.wav")):
                assert journal.state(name, (1, 2)) == "done"
            journal.add("./a.wav", (1, 3), None, [{"path": "./a.wav"}])
            assert [*journal.rows()] == [[{"path": "./a.wav"}]]
            journal.close()

    def test_what_changed_is_done_again_and_told_in_one_line(
        self, calls: Path, tiny_model: Path, tmp_path: Path
    ) -> None:
        mine = tmp_path / "calls"
        mine.mkdir()
        for name in "abc":
            (mine / f"{name}.wav").write_bytes((calls / "a.wav").read_bytes())
        words = ("batch", mine, "-o", tmp_path / "o.csv", "--model", tiny_model, "--jobs", 1)
        assert call(*words).returncode == 0
        first = (tmp_path / "o.csv").read_bytes()
        for name in "ab":
            (mine / f"{name}.wav").write_bytes((calls / "cut.wav").read_bytes())
        done = call(*words, "--resume")
        assert done.returncode == 0
        assert f"{mine / 'a.wav'} and 1 more: changed since, done again" in done.stderr
        assert "2 of 2 files done" in done.stderr
        rows = (tmp_path / "o.csv").read_bytes().splitlines()
        assert len(rows) == 4
        assert [rows[0], rows[3]] == [first.splitlines()[0], first.splitlines()[3]]
        assert rows[1] != first.splitlines()[1]
        assert "3 were finished before" in call(*words, "--resume").stderr

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--hop", "0.5"], "hop_seconds None then and 0.5 now"),
            (["--segments"], "rows summary then and segment now"),
            (["--use-channels", "split"], "use_channels None then and split now"),
        ],
    )
    def test_other_options_are_told(
        self, calls: Path, tiny_model: Path, tmp_path: Path, options: list[str], told: str
    ) -> None:
        words = ("batch", calls / "a.wav", "-o", tmp_path / "o.csv", "--model", tiny_model)
        assert call(*words).returncode == 0
        before = (tmp_path / "o.csv").read_bytes()
        assert told in error_of(call(*words, *options, "--resume"))
        assert (tmp_path / "o.csv").read_bytes() == before

    def test_another_model_of_the_same_name_is_told(
        self, calls: Path, tiny_model: Path, everyday_model: Path, tmp_path: Path
    ) -> None:
        model = tmp_path / "mine.onnx"
        words = ("batch", calls / "a.wav", "-o", tmp_path / "o.csv", "--model", model)
        model.write_bytes(tiny_model.read_bytes())
        assert call(*words).returncode == 0
        model.write_bytes(everyday_model.read_bytes())
        assert "model tiny" in error_of(call(*words, "--resume"))

    def test_an_unfinished_run_is_not_overwritten_by_mistake(
        self, calls: Path, tiny_model: Path, tmp_path: Path
    ) -> None:
        words = ("batch", calls / "a.wav", "-o", tmp_path / "o.csv", "--model", tiny_model)
        assert call(*words).returncode == 0
        assert call(*words).returncode == 0
        journal = tmp_path / "o.csv.journal.jsonl"
        journal.write_bytes(b"".join(journal.read_bytes().splitlines(True)[:2]))
        assert "go on with --resume" in error_of(call(*words))

    def test_a_full_disk_is_told_and_gone_on_from(
        self, calls: Path, tiny_model: Path, tmp_path: Path
    ) -> None:
        words = ("batch", calls, "--model", tiny_model, "--jobs", 1, "--predictions")
        out = tmp_path / "o.jsonl"
        with files_no_larger_than(20_000):
            assert "cannot write on" in call(*words, "-o", out).stderr.splitlines()[-1]
        assert all(map(json.loads, out.read_bytes().splitlines()))
        assert call(*words, "-o", out, "--resume").returncode == 1
        assert call(*words, "-o", tmp_path / "whole.jsonl").returncode == 1
        assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


class TestCommand:
    def test_json_lines_go_to_stdout(self, calls: Path, tiny_model: Path) -> None:
        done = call("batch", calls / "a.wav", "--model", tiny_model, "--segments")
        assert done.returncode == 0
        segmenter = Segmenter()
        recognition = recognize_file(calls / "a.wav", model=tiny_model)
        segments = [s for p in recognition.predictions for s in segmenter.process(p)]
        segments += segmenter.flush()
        head = {"type": "segment", "path": str(calls / "a.wav"), "channel": None, "error": None}
        assert [json.loads(line) for line in done.stdout.splitlines()] == [
            {**head, **segment.to_dict()} for segment in segments
        ]

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["{calls}", "--resume"], "--resume goes on with a table"),
            (["{calls}", "-o", "a.csv", "-o", "b.csv"], "--output is given twice, wanted one"),
            (["{calls}", "-o", "{tmp}/o.txt"], "the ending is .txt, wanted one of .csv, .jsonl"),
            (["{calls}/.cache", "--pattern", "*.mp3"], "no recordings in"),
            (["{calls}/a.csv", "-o", "{calls}/a.csv"], "is one of the recordings"),
            (["{calls}", "-o", "{tmp}/no/such/o.csv"], "No such file or directory"),
            (["{calls}", "-o", "{tmp}/o.csv", "--jobs", "0"], "jobs is 0, wanted 1 or more"),
            (["{calls}", "--segments", "--summary"], "not allowed with"),
        ],
    )
    def test_mistakes_take_one_line(
        self, calls: Path, tiny_model: Path, tmp_path: Path, words: list[str], told: str
    ) -> None:
        given = [word.format(calls=calls, tmp=tmp_path) for word in words]
        assert told in error_of(call("batch", *given, "--model", tiny_model))
        assert [*tmp_path.iterdir()] == []

    def test_a_pipe_gets_a_line_now_and_then(
        self, capsys: pytest.CaptureFixture[str], tiny_model: Path, calls: Path
    ) -> None:
        now = [0.0]
        files = [str(calls / "a.wav")] * 1 + [str(calls / "b.flac"), str(calls / "empty.wav")]
        worker = Worker(model=tiny_model)
        with BatchProgress("ser-live", files, lambda: now[0]) as progress:
            for file in files:
                now[0] += 20.0
                progress.add(worker(file))
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2
        assert lines[0].startswith("ser-live: 2 of 3 files, 0 s of audio per second, 0:00:")
        assert lines[1].endswith("empty.wav: is empty, wanted audio")
        assert progress.closing_line() == "3 of 3 files done, 1 failed; 9 s of audio in 60 s"


def test_rows_of_a_file_are_plain(calls: Path, tiny_model: Path) -> None:
    result = Worker(model=tiny_model)(str(calls / "cut.wav"))
    (row,) = rows_of(result, "summary")
    assert json.loads(json.dumps(row)) == row
    assert str(row["notes"]).startswith("the file is cut short")
