"""The ser-live command: results or one clear line, and the exit code it promises."""

import contextlib
import csv
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.in_process import call, error_of
from helpers.processes import files_no_larger_than, imported
from helpers.readers import READERS
from helpers.streams import GivenSource
from helpers.terminal import ESCAPE, terminal
from ser_live import listen, sources
from ser_live.cli.progress import FileProgress
from ser_live.cli.stderr import Stderr
from ser_live.command_line import Signals, Stopped, exit_code_of
from ser_live.output import json_record
from ser_live.recording import Recorder, ReplaySource
from ser_live.sources import DEMO_NOTICE, Block, Notice
from ser_live.testing import speech_like, write_tiny_model

COMMAND = [sys.executable, "-m", "ser_live"]
MAIN = "from ser_live.cli.main import main\n"
INTERRUPTED = """
import importlib, signal, sys
moment, module, *words = sys.argv[1:]
main = importlib.import_module(module).main
sys.addaudithook(lambda event, given: given[:1] == (moment,) and signal.raise_signal(signal.SIGINT))
sys.exit(main(words))
"""


@pytest.fixture(autouse=True)
def surroundings(half_demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes find the package without an installation, and terminals be able."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "realtime"))
    # rich keeps the codes of a style as the first terminal of the process wanted them.
    terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "100", "LINES": "30"}
    for name, value in terminal.items():
        monkeypatch.setenv(name, value)


def done_well(
    *arguments: object, stdin: bytes = b"", is_terminal: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Run a command that must succeed."""
    done = call(*arguments, stdin=stdin, is_terminal=is_terminal)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """Three seconds at 48 kHz in stereo."""
    path = tmp_path / "voice.wav"
    samples = speech_like(3.0, 48000)
    soundfile.write(path, np.stack((samples, 0.5 * samples), axis=1), 48000)
    return path


class TestResults:
    def test_a_file_gives_json_lines_and_a_summary(self, voice: Path, tiny_model: Path) -> None:
        done = done_well("--model", tiny_model, voice, "-v")
        lines = lines_of(done.stdout)
        with listen(voice, model=tiny_model) as predictions:
            assert lines == lines_of("\n".join(json.dumps(json_record(p)) for p in predictions))
        assert len(lines) == 12
        account = "captured 144000 frames = processed 144000 + dropped 0 + buffered 0"
        for words in ("processed 3.0 s: 12 predictions", "gate", "p95", "algorithmic", account):
            assert words in done.stderr
        assert max(map(len, done.stderr.splitlines())) < 100

    @pytest.mark.parametrize(("sample_format", "dtype"), [("s16le", "int16"), ("f32le", "float32")])
    def test_stdin_gives_what_the_file_gives(
        self, voice: Path, tiny_model: Path, sample_format: str, dtype: str
    ) -> None:
        samples, rate = soundfile.read(voice, dtype=dtype)
        mono = samples[:, 0]
        soundfile.write(voice, mono, rate)
        options = ["--rate", rate, "--format", sample_format, "--model", tiny_model]
        piped = done_well("--stdin", *options, stdin=mono.tobytes() + b"\0")
        assert "1 of its" in piped.stderr
        filed = done_well("--file", voice, "--model", tiny_model)
        assert lines_of(piped.stdout) == lines_of(filed.stdout)

    def test_a_file_on_stdin_gives_what_the_file_gives(self, voice: Path, tiny_model: Path) -> None:
        options = ["--rate", 8000, "--model", tiny_model]
        piped = done_well("--stdin", *options, stdin=voice.read_bytes())
        assert re.search("note: stdin: is WAV .*left aside", piped.stderr)
        filed = done_well("--file", voice, "--model", tiny_model)
        assert lines_of(piped.stdout) == lines_of(filed.stdout)

    def test_stdin_that_ends_early_gives_what_came_and_nothing_is_kept(
        self, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        done = done_well("--stdin", "--model", tiny_model, stdin=bytes(2 * 9000))
        assert len(done.stdout.splitlines()) == 2
        assert list(tmp_path.iterdir()) == []
        assert "recording" not in done.stderr

    def test_options_are_heard(self, voice: Path, tiny_model: Path) -> None:
        options = ["--hop", "0.5", "--smoothing", "0", "--no-vad", "-v", "--model", tiny_model]
        done = call("--file", voice, *options)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(lines) == 6
        assert all(line["state"] in ("warming_up", "speech", "uncertain") for line in lines)
        assert "smoothing 0.000" in done.stderr
        last = lines[-1]
        assert last["probabilities"] == pytest.approx(last["raw_probabilities"], abs=1e-6)

    def test_channels_are_recognized_apart_and_replayed(
        self, voice: Path, tiny_model: Path, tmp_path: Path
    ) -> None:
        table, record = tmp_path / "a.csv", tmp_path / "a.wav"
        options = ["--use-channels", "split", "--output", table, "--record", record]
        done = done_well(voice, "--model", tiny_model, *options)
        samples, rate = soundfile.read(voice, always_2d=True)
        told = lines_of(done.stdout)
        for index, name in enumerate(("left", "right")):
            soundfile.write(tmp_path / "one.wav", samples[:, index], rate)
            alone = lines_of(done_well(tmp_path / "one.wav", "--model", tiny_model).stdout)
            mine = [line for line in told if line["channel"] == name]
            assert mine == [{**line, "channel": name} for line in alone]
        assert lines_of(done_well("replay", record).stdout) == told
        rows = list(csv.DictReader(table.read_text().splitlines()))
        assert [row["channel"] for row in rows] == ["left", "right"] * 12


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--demo", "--model", "no-such-name"], "no-such-name"),
            (["--demo", "--hop", "0.123"], "whole multiple"),
            (["--demo", "--hop", "soon"], "--hop"),
            (["--demo", "--smoothing", "-1"], "smoothing_seconds is -1"),
            (["--file", "a.wav", "--demo"], "not allowed with"),
            (["--stdin", "--device", "1"], "not allowed with"),
            (["--pace", "fast"], "--pace belongs to"),
            (["--demo", "--rate", "8000"], "--rate belongs to --stdin"),
            (["--demo", "--js"], "unrecognized arguments: --js"),
            (["--stdin", "--rate", "12"], "rate"),
            (["--stdin", "--format", "mp3"], "--format"),
            (["--demo", "--no-reconnect"], "--no-reconnect belongs to a microphone"),
            (["--stdin", "--policy", "error"], "--policy belongs to a microphone"),
            (["--demo", "--cpu-budget", "0"], "--cpu-budget is 0, wanted percent"),
            (["--demo", "--output", "a.mp3"], "a.mp3: the ending is .mp3, wanted .jsonl"),
            (["--demo", "--output", "a.csv", "--output", "./a.csv"], "named twice"),
            (["--demo", "--record", "a.wav", "--output", "a.wav.jsonl"], "in use as something"),
            (["--demo", "--record", "a.flac"], "ends in .wav"),
            (["--file", "a.wav", "--file", "b.wav"], "--file is given twice"),
            (["--device", "a", "--device", "b"], "--device is given twice"),
            (["a.wav", "--demo"], "argument --demo: not allowed with argument PATH"),
            (["--file", "a.wav", "b.wav"], "argument PATH: not allowed with argument --file"),
            (["a.wav", "b.wav"], "arguments: b.wav; several recordings are for 'ser-live batch'"),
            (["."], ".: is a folder, for 'ser-live batch .'"),
            (["--demo", "--quiet", "-v"], "not allowed with argument --quiet"),
            (["missing.wav"], "missing.wav: cannot read it"),
            (["/dev/stdin"], "/dev/stdin: is stdin; give --stdin instead"),
            (["--file", ""], "argument --file: is empty"),
            (["--demo", "--model", ""], "argument --model: is empty"),
            (["replay", ""], "argument FILE: is empty"),
            (["doctor", "--device", ""], "argument --device: is empty"),
            (["--list-models", "--demo"], "stand alone"),
            (["--json", "--list-devices"], "stand alone"),
            (["--file", "a.txt", "--output", "a.txt"], "in use as something else"),
            (["replay", "a.wav", "--output", "a.wav.jsonl"], "in use as something else"),
            (["replay", "missing.wav"], "missing.wav.jsonl: cannot read it"),
            (["replay"], "required: FILE"),
            (["replay", "a.wav", "--demo"], "unrecognized arguments: --demo"),
        ],
    )
    def test_options(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert words in error_of(call(*arguments))
        assert list(tmp_path.iterdir()) == []

    def test_an_output_that_is_also_redirected_to(self, tmp_path: Path, tiny_model: Path) -> None:
        path, link = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
        path.touch()
        link.hardlink_to(path)
        before = os.dup(1)
        with path.open("w") as file:
            os.dup2(file.fileno(), 1)
        try:
            done = call("--demo", "--json", "--model", tiny_model, "--output", link)
        finally:
            os.dup2(before, 1)
            os.close(before)
        assert "b.jsonl: is also stdin, stdout or stderr" in error_of(done)

    @pytest.mark.integration
    def test_a_file_that_is_also_stdin(self, voice: Path, tiny_model: Path) -> None:
        with voice.open() as stdin:
            subprocess.run([*COMMAND, voice, "--model", tiny_model], stdin=stdin, check=True)

    def test_a_name_with_a_dash(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("-a.wav").touch()
        monkeypatch.setattr(sys, "argv", ["ser-live", "-a.wav"])
        assert "if you mean the file, name it './-a.wav'" in error_of(call("-a.wav"))

    def test_stdin_that_is_closed(self, tiny_model: Path) -> None:
        assert "stdin: is closed" in error_of(call("--stdin", "--model", tiny_model, stdin=None))

    def test_floats_in_the_wrong_format(self, tiny_model: Path) -> None:
        data = np.random.default_rng(0).bytes(64000)
        done = call("--stdin", "--format", "f32le", "--model", tiny_model, stdin=data)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


ENDINGS = tuple(READERS)


def lines_of(text: str) -> list[dict[str, object]]:
    """JSON lines without what differs from run to run."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        line.pop("lag_seconds", None)
        line.pop("timing", None)
    return lines


def outputs_in(folder: Path) -> list[str]:
    return [word for ending in ENDINGS for word in ("--output", str(folder / f"out{ending}"))]


def files_in(folder: Path) -> dict[str, str]:
    """Contents of the output files, each read by its strict reader first."""
    texts = {ending: (folder / f"out{ending}").read_bytes().decode() for ending in ENDINGS}
    for ending, text in texts.items():
        READERS[ending](text)
    return texts


def with_a_hole(path: Path, model: Path) -> None:
    """Record a device that was away for a while."""
    samples, rate = soundfile.read(sources.DEMO_PATH, dtype="float32", always_2d=True)
    items: list[Block | Notice] = [
        Block(samples[:80000]),
        Notice("device_lost", "unplugged"),
        Notice("device_restored", "plugged in"),
        Block(samples[80000:], None, 44100),
    ]
    with Recorder(GivenSource(items, rate), path, model) as recorder:
        list(recorder)


class TestOutput:
    def test_all_formats_at_once(self, tmp_path: Path, tiny_model: Path) -> None:
        (tmp_path / "out.csv").write_text("old\n" * 10000)
        done = done_well("--demo", "--model", tiny_model, *outputs_in(tmp_path))
        assert DEMO_NOTICE in done.stderr
        texts = files_in(tmp_path)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        kept = [json.loads(line) for line in texts[".jsonl"].splitlines()]
        assert [line for line in kept if line["type"] == "prediction"] == lines
        rows = list(csv.DictReader(texts[".csv"].splitlines()))
        assert [int(row["index"]) for row in rows] == [line["index"] for line in lines]
        counts = {len(READERS[e](texts[e])) for e in (".srt", ".vtt", ".rttm", ".txt")}
        assert counts == {len(kept) - len(lines)}
        assert counts.pop() >= 3
        assert "SPEAKER demo.ogg 1 " in texts[".rttm"]

    def test_utterances_are_told_where_they_are_asked_for(
        self, tmp_path: Path, tiny_model: Path
    ) -> None:
        path = tmp_path / "out.jsonl"
        command = ["--demo", "--pace", "fast", "--model", tiny_model, "--output", path]
        for options, count in ([], 0), (["--utterances"], 2):
            lines = [
                lines_of(done_well(*command, *options).stdout),
                [json.loads(line) for line in path.read_text().splitlines()],
            ]
            printed, kept = ([x for x in told if x["type"] == "utterance"] for told in lines)
            assert len(printed) == count
            assert kept == printed

    def test_events_are_told_where_they_belong(self, tmp_path: Path, tiny_model: Path) -> None:
        path = tmp_path / "a.wav"
        with_a_hole(path, tiny_model)
        kinds = ["device_lost", "device_restored", "gap"]
        command = ["replay", path, "--output", tmp_path / "out.jsonl"]
        for options, on_stdout in ([], []), (["--events"], kinds):
            done = done_well(*command, *options)
            events = [line["event"] for line in lines_of(done.stdout) if "event" in line]
            assert events == on_stdout
            assert ("ser-live: 3.63 s: device_lost: unplugged" in done.stderr) == (not on_stdout)
            kept = [json.loads(x) for x in (tmp_path / "out.jsonl").read_text().splitlines()]
            assert [x["event"] for x in kept if x["type"] == "event"] == kinds

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_full_disk_is_one_line_and_the_rest_goes_on(
        self, tmp_path: Path, tiny_model: Path
    ) -> None:
        (tmp_path / "full.jsonl").symlink_to("/dev/full")
        options = ["--output", tmp_path / "full.jsonl", "--output", tmp_path / "out.csv"]
        done = call("--demo", "--model", tiny_model, *options)
        assert done.returncode == 2
        errors = [x for x in done.stderr.splitlines() if x.startswith("ser-live: error: ")]
        assert len(errors) == 1
        assert "full.jsonl: cannot write on (No space left on device)" in errors[0]
        assert len(done.stdout.splitlines()) == 39
        assert len((tmp_path / "out.csv").read_bytes().splitlines()) == 40
        assert "9.8 s of demo.ogg, in " in done.stderr
        assert done.stderr.endswith(f"JSON lines on stdout, {tmp_path / 'out.csv'}\n")

    def test_verbose_says_what_goes_on(self, tmp_path: Path, voice: Path, tiny_model: Path) -> None:
        command = ["--file", voice, "--model", tiny_model, "--output", tmp_path / "a.csv"]
        assert " writing " not in call(*command).stderr
        done = call(*command, "-v")
        assert "ser-live: info: " in done.stderr
        assert "ser_live.output.files: writing " in done.stderr


CLOSING = ("heard", "labels", "silence", "length", "lost", "written")


class TestClosingWords:
    def test_six_lines_say_what_was_heard(
        self, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        done = done_well("--demo", "--model", tiny_model, "--output", "a.csv")
        words = dict(line.split(maxsplit=1) for line in done.stderr.splitlines()[-6:])
        assert tuple(words) == CLOSING
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        seconds: Counter[str] = Counter()
        for before, line in zip([{"end_seconds": 0.0}, *lines], lines, strict=False):
            name = line["label"] if line["state"] == "speech" else line["state"]
            seconds[name] += line["end_seconds"] - before["end_seconds"]
        assert words["silence"].startswith(f"{seconds.pop('silence'):.1f} s (")
        del seconds["warming_up"]
        total = sum(seconds.values())
        wanted = {name: f"{100 * part / total:.0f}" for name, part in seconds.items()}
        told = dict(re.findall(r"(\w+) (\d+) %", words["labels"]))
        assert told == wanted
        seconds.pop("uncertain", None)
        assert max(seconds, key=lambda name: seconds[name]) in words["heard"]
        assert words["length"].startswith("9.8 s of demo.ogg, in ")
        assert words["lost"] == "nothing"
        assert words["written"] == "JSON lines on stdout, a.csv"

    def test_each_channel_has_its_words(self, voice: Path, tiny_model: Path) -> None:
        done = done_well(voice, "--model", tiny_model, "--use-channels", "split")
        words = dict(line.split(maxsplit=1) for line in done.stderr.splitlines()[-6:])
        for name in CLOSING[:3]:
            assert re.fullmatch("left: .+; right: .+", words[name])

    def test_what_was_lost_is_told(self, tmp_path: Path, tiny_model: Path) -> None:
        with_a_hole(tmp_path / "a.wav", tiny_model)
        lost = re.search("^lost +(.*)$", call("replay", tmp_path / "a.wav").stderr, re.MULTILINE)
        assert lost
        assert re.fullmatch(r"2\.0 s of audio(, \d+ predictions degraded)?", lost[1])

    def test_quiet_leaves_warnings_alone(
        self, tmp_path: Path, voice: Path, tiny_model: Path
    ) -> None:
        options = ["--model", tiny_model, "--quiet"]
        done = done_well(voice, *options)
        assert (len(done.stdout.splitlines()), done.stderr) == (12, "")
        cut = tmp_path / "cut.wav"
        cut.write_bytes(voice.read_bytes()[:-100_000])
        done = done_well(cut, *options)
        assert re.fullmatch(r"ser-live: note: \S+cut\.wav: .*cut short.*\n", done.stderr)
        done = done_well(voice, *options, "--output", tmp_path / "a.csv", is_terminal=True)
        assert (done.stdout, done.stderr) == ("", "")
        assert len((tmp_path / "a.csv").read_bytes().splitlines()) == 13
        done = call(voice, *options, is_terminal=True)
        assert "--quiet says nothing on a terminal; add --json, --output or --record" in done.stdout


class TestBar:
    def test_output_alone_is_fast_and_has_a_bar(self, tmp_path: Path, tiny_model: Path) -> None:
        options = ["--demo", "--model", tiny_model, *outputs_in(tmp_path)]
        shown = done_well(*options, is_terminal=True).stdout
        assert "\x1b[?1049h" not in shown  # the screen of the view
        bar, _, words = shown.rpartition("100%")
        assert "demo.ogg" in bar
        assert DEMO_NOTICE in bar
        assert re.findall(r"^(\w+) ", ESCAPE.sub("", words).replace("\r", "\n"), re.MULTILINE)[
            -6:
        ] == [*CLOSING]
        on_terminal = files_in(tmp_path)
        kept = [json.loads(line) for line in on_terminal[".jsonl"].splitlines()]
        assert {line["lag_seconds"] for line in kept if line["type"] == "prediction"} == {None}
        done_well(*options)
        assert files_in(tmp_path)[".csv"] == on_terminal[".csv"]

    @pytest.mark.parametrize("width", [30, 40, 80])
    def test_it_fits(self, tiny_model: Path, tmp_path: Path, width: int) -> None:
        path = tmp_path / f"{'long name ' * 9}.wav"
        path.write_bytes(Path(sources.DEMO_PATH).read_bytes())
        console = terminal(width, 10)
        with listen(path, model=tiny_model) as listener:
            steps = listener.steps()
            with FileProgress(listener, console) as bar:
                for step in itertools.islice(steps, 9):
                    bar.update(step)
        file = console.file
        assert isinstance(file, io.TextIOWrapper)
        file.seek(0)
        rows = [row for row in re.split("[\r\n]+", ESCAPE.sub("", file.read())) if row.strip()]
        assert max(map(len, rows)) <= width
        assert re.search(r"^long.*\d+% (\d\d|--):(\d\d|--)$", rows[-1].rstrip())


class TestRecording:
    def test_replay_gives_the_lines_of_the_session(self, tmp_path: Path, tiny_model: Path) -> None:
        path = tmp_path / "a.wav"
        options = ["--model", tiny_model, "--hop", "0.5", "--smoothing", "0.1", "--no-vad"]
        session = done_well("--demo", "--json", "--record", path, *options)
        assert f"recording to {path}" in session.stderr
        replay = done_well("replay", path, "--json")
        assert lines_of(replay.stdout) == lines_of(session.stdout)
        assert "replay of demo.ogg, recorded by ser-live" in replay.stderr
        samples = soundfile.read(path, dtype="float32")[0]
        np.testing.assert_array_equal(
            samples, soundfile.read(sources.DEMO_PATH, dtype="float32")[0]
        )

    def test_replay_can_be_told_otherwise(self, tmp_path: Path, tiny_model: Path) -> None:
        path = tmp_path / "a.wav"
        call("--demo", "--record", path, "--model", tiny_model, "--hop", "1", "--no-vad")
        other = write_tiny_model(tmp_path / "other.onnx", seed=7)
        options = ["--hop", "0.5", "--vad", "--smoothing", "0", "--model", other]
        replay = call("replay", path, *options)
        options.remove("--vad")
        assert lines_of(replay.stdout) == lines_of(call("--demo", *options).stdout)
        assert "has changed" not in replay.stderr

    def test_the_prior_is_heard_kept_and_replaced(
        self, tmp_path: Path, everyday_model: Path
    ) -> None:
        usual, even = tmp_path / "a.wav", tmp_path / "b.wav"
        options = ["--demo", "--model", everyday_model]
        everyday = lines_of(done_well(*options, "--record", usual).stdout)
        acted = lines_of(done_well(*options, "--record", even, "--prior", "even").stdout)
        assert everyday == lines_of(done_well(*options, "--prior", "everyday").stdout)
        assert everyday != acted
        with listen(sources.DEMO_PATH, model=everyday_model, prior="even") as predictions:
            assert acted == lines_of("\n".join(json.dumps(json_record(p)) for p in predictions))
        for path, then, other in ((usual, everyday, acted), (even, acted, everyday)):
            assert lines_of(done_well("replay", path).stdout) == then
            prior = "even" if other is acted else "everyday"
            assert lines_of(done_well("replay", path, "--prior", prior).stdout) == other

    def test_a_changed_model_is_told(self, tmp_path: Path, voice: Path) -> None:
        path, model = tmp_path / "a.wav", tmp_path / "m.onnx"
        write_tiny_model(model)
        call(voice, "--record", path, "--model", model)
        assert "has changed" not in call("replay", path).stderr
        write_tiny_model(model, seed=7)
        done = done_well("replay", path)
        assert f"warning: model {model} has changed since the recording" in done.stderr
        model.unlink()
        assert f"no model '{model}'" in error_of(call("replay", path))

    @pytest.mark.parametrize(
        ("option", "name"),
        [("--model", "no.onnx"), ("--model", "bad.onnx"), ("--output", "missing/a.csv")],
    )
    def test_a_bad_start_leaves_no_recording(
        self, tmp_path: Path, tiny_model: Path, option: str, name: str
    ) -> None:
        (tmp_path / "bad.onnx").write_bytes(b"nothing")
        options = ["--model", tiny_model, "--record", tmp_path / "a.wav", option, tmp_path / name]
        assert str(tmp_path / name) in error_of(call("--demo", *options))
        assert [path.name for path in tmp_path.iterdir()] == ["bad.onnx"]

    def test_a_full_disk_ends_the_recording_alone(self, tmp_path: Path, tiny_model: Path) -> None:
        path = tmp_path / "a.wav"
        with files_no_larger_than(200_000):
            done = call("--demo", "--model", tiny_model, "--record", path)
        assert done.returncode == 2
        assert len(done.stdout.splitlines()) == 39
        words = f"{path}: cannot write on (File too large); the recording ends at 2.25 s"
        assert f"ser-live: warning: {words}" in done.stderr
        assert path.stat().st_size == 94 + 4 * 49608
        kept = lines_of(call("replay", path).stdout)
        assert kept == lines_of(done.stdout)[: len(kept)]
        assert len(kept) == 8


@pytest.mark.integration
class TestEndings:
    def started(self, *arguments: object) -> "subprocess.Popen[str]":
        command = [*COMMAND, "--demo", "--pace", "realtime", *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
    )
    def test_files_are_whole_after_signals(
        self, tmp_path: Path, tiny_model: Path, number: signal.Signals, code: int
    ) -> None:
        path = tmp_path / "a.wav"
        options = ["--model", tiny_model, "--record", path, "--hop", "0.05", "-v"]
        options += [*outputs_in(tmp_path), "--output", tmp_path / "whole.json"]
        with self.started(*options) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(50)]
            process.send_signal(number)
            out, err = process.communicate(timeout=5)
        assert process.returncode == code
        assert "Traceback" not in err
        texts = files_in(tmp_path)
        kept = [json.loads(line) for line in texts[".jsonl"].splitlines()]
        predictions = [line for line in kept if line["type"] == "prediction"]
        told = lines_of("".join(lines) + out.rpartition("\n")[0])
        kept_lines = lines_of("\n".join(map(json.dumps, predictions)))
        assert kept_lines[: len(told)] == told
        assert len(kept_lines) - len(told) < 10
        rows = list(csv.DictReader(texts[".csv"].splitlines()))
        if number != signal.SIGKILL:
            assert "measured lag, capture to prediction: 0." in err
            assert len(rows) == len(kept_lines)
            assert len(json.loads((tmp_path / "whole.json").read_bytes())["predictions"]) == len(
                rows
            )
            assert {p["state"] for p in predictions} >= {"speech"}
            assert "SPEAKER" in texts[".rttm"]
        assert (tmp_path / "whole.json").exists() == (number != signal.SIGKILL)
        assert abs(len(rows) - len(kept_lines)) <= 1
        assert "should be" not in soundfile.info(path).extra_info  # the header tells the length
        replay = done_well("replay", path)
        assert lines_of(replay.stdout)[: len(kept_lines)] == kept_lines
        with ReplaySource(path) as source:
            assert sum(len(b.samples) for b in source if isinstance(b, Block)) > 22050 * 2

    def test_a_reader_that_has_enough_ends_it_in_silence(self, tiny_model: Path) -> None:
        started = time.monotonic()
        with self.started("--model", tiny_model) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert json.loads(process.stdout.readline())["index"] == 0
            assert time.monotonic() - started < 5.0  # lines come when they are due
            for _ in range(9):
                process.stdout.readline()
            process.stdout.close()
            assert process.wait(timeout=5) == 0
            err = process.stderr.read()
        for word in ("Traceback", "Broken", "heard"):
            assert word not in err

    @pytest.mark.parametrize("moment", ["datetime", "onnxruntime", "soxr"])  # one by NumPy's C
    @pytest.mark.parametrize(
        "command", ["live.cli.main", "live.bench.command --model", "train.commands.cli predict x"]
    )
    def test_ctrl_c_while_it_imports(self, command: str, moment: str, voice: Path) -> None:
        words = [sys.executable, "-c", INTERRUPTED, moment, *f"ser_{command}".split(), str(voice)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (130, "")
        assert done.stderr in ("", "ser-train: interrupted\n")


def test_a_signal_waits_for_what_must_happen_whole() -> None:
    done = []

    def work() -> None:
        with Signals() as signals, signals.postponed():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            done.append("whole")

    with pytest.raises(Stopped) as stopped:
        work()
    assert done == ["whole"]
    assert stopped.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_one_whatever_becomes_of_its_exception(
    number: signal.Signals, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> int:
        raise ImportError("initialization failed")

    def work(change: Callable[[], int] = lambda: 0) -> int:
        with contextlib.suppress(Stopped):
            signal.raise_signal(number)
        return change()

    assert exit_code_of("ser-live", work) == code
    assert exit_code_of("ser-live", lambda: work(broken)) == code
    assert capsys.readouterr().err == ""
    with pytest.raises(ImportError, match="initialization failed"):
        exit_code_of("ser-live", broken)


class TestView:
    def test_what_is_logged_and_events_wait_for_the_screen(
        self, tmp_path: Path, tiny_model: Path
    ) -> None:
        with_a_hole(tmp_path / "a.wav", tiny_model)
        options = ["--pace", "fast", "-v", "--output", tmp_path / "a.srt"]
        text = call("replay", tmp_path / "a.wav", *options, is_terminal=True).stdout
        view, _, after = text.partition("\x1b[?1049l")
        assert "replay of" in view
        told = ("ser_live.output.files: writing", "ser-live: 3.63 s: device_lost: unplugged")
        for words in told:
            assert words not in view
            assert words in after
        assert "length   9.8 s" in after

    def test_what_waits_is_bounded(self, capsys: pytest.CaptureFixture[str]) -> None:
        with Stderr("ser-live", is_held=True) as stderr:
            for number in range(5000):
                stderr.print(f"line {number}")
            assert capsys.readouterr().err == ""
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1001
        assert lines[0] == "ser-live: 4000 lines before these are left out"
        assert (lines[1], lines[-1]) == ("ser-live: line 4000", "ser-live: line 4999")

    def test_event_lines_need_lines(self) -> None:
        done = call("--demo", "--events", is_terminal=True)
        assert "--events belongs to JSON lines; add --json" in done.stderr


class TestWords:
    @pytest.mark.integration
    @pytest.mark.parametrize("words", [["--help"], ["replay", "--help"], ["doctor", "--help"]])
    def test_help_loads_nothing_heavy(self, words: list[str], environment: dict[str, str]) -> None:
        heavy = ("numpy", "onnxruntime", "sounddevice", "soundfile", "soxr", "rich")
        assert imported(f"{MAIN}assert main({words}) == 0", heavy, environment) == "[]"

    @pytest.mark.integration
    def test_a_file_needs_neither_portaudio_nor_rich(
        self, voice: Path, tiny_model: Path, environment: dict[str, str]
    ) -> None:
        words = ["--file", str(voice), "--model", str(tiny_model)]
        needless = ("sounddevice", "rich", "tensorflow")
        assert imported(f"{MAIN}assert main({words}) == 0", needless, environment) == "[]"

    def test_models_are_listed(self) -> None:
        done = done_well("--list-models")
        assert "emotion  (default)\n  labels:  " in done.stdout
        assert "\n  licence: " in done.stdout
        assert re.search(r"\n  price:   \d+\.\d ms a window here, \d+\.\d MB\n", done.stdout)
