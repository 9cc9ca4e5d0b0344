"""The load tools: they measure what is, and notice what must not be."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import websockets
from websockets.asyncio.server import ServerConnection, serve

from helpers import processes, serving
from helpers.in_process import call
from ser_live.client.address import Address
from ser_live.model.catalog import find_model
from ser_live.model.classifier import OnnxClassifier
from ser_live.output import json_record
from tools.load.__main__ import main
from tools.load.attacks import ATTACKS, LET_IN, Attacker
from tools.load.churn import WAYS
from tools.load.client import (
    LiveClient,
    Recorder,
    Tally,
    Voice,
    differences,
    make_voice,
    next_due,
    spread_phase,
)
from tools.load.hostile import faults
from tools.load.server import Server
from tools.report import Report, Table, at_most, growth, no_more, none
from tools.soak.__main__ import main as soak

LOAD = Path(__file__).parent / "load"
integration = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[serving.ServerProcess]:
    with serving.process("--max-streams", "4", "--idle-seconds", "5", model="emotion") as running:
        yield running


@pytest.fixture(scope="module")
def voice() -> Voice:
    return make_voice()


def run_main(words: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Run a tool; return its exit code, its figures by name and its tables."""
    done = call(*words.split(), "--json", main=main)
    record = json.loads(done.stdout)
    figures = {figure["name"]: figure for figure in record["figures"]}
    return done.returncode, figures, record["tables"]


def attacker(address: str, voice: Voice, seed: int = 0) -> Attacker:
    return Attacker(Server(Address.parse(address), None, None), voice, np.random.default_rng(seed))


class TestReport:
    def test_a_page_and_the_same_for_programs(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        figures = [none("faults", Counter({"b": 2, "a": 1})), at_most("lag", -2.0, "ms", 3.0)]
        report = Report("Title", "tiny", figures, {"Table": Table(("x", "y"), [(1, 0.5)])})
        assert report.publish("command", tmp_path / "page.md", prints_json=False) == 1
        page = (tmp_path / "page.md").read_text("utf-8")
        assert capsys.readouterr().out == page
        assert "| faults | 1 x a, 2 x b | 0 | **missed** |" in page
        assert "| lag | -2 ms | at most 3 ms | met |" in page
        assert "## Table\n\n| x | y |\n| --- | --- |\n| 1 | 0.5 |" in page
        assert "| model | tiny |" in page
        record = json.loads((tmp_path / "page.json").read_text("utf-8"))
        assert [figure["value"] for figure in record["figures"]] == [{"a": 1, "b": 2}, -2.0]
        assert record["tables"]["Table"]["rows"] == [[1, 0.5]]

    def test_what_stays_behind_is_missed(self) -> None:
        assert [no_more("handles", 5, after, 2).is_met for after in (7, 8)] == [True, False]
        assert [growth("memory", 5.0, after, 2.0).is_met for after in (7.0, 7.1)] == [True, False]
        assert [at_most("slope", value, "", 1.0).is_met for value in (-2.0, None)] == [False, None]
        assert no_more("threads", None, 1).is_met is None


class TestStreams:
    @integration
    def test_a_short_ramp_up_to_the_breaking_point(
        self, server: serving.ServerProcess, tmp_path: Path
    ) -> None:
        page = tmp_path / "load.md"
        options = "streams --first 2 --step 3 --most 20 --seconds 1.5 --settle 0.5 --wanted 5"
        where = f"--server {server.url} --pid {server.pid} --beyond 1 --limit-ms 5000"
        code, figures, tables = run_main(f"{options} {where} --report {page}")
        assert code == 1
        steps = [
            dict(zip(tables["Step by step"]["columns"], row, strict=True))
            for row in tables["Step by step"]["rows"]
        ]
        assert [(s["asked"], s["open"]) for s in steps] == [(2, 2), (5, 4), (8, 4)]
        assert [s["refused"] for s in steps] == [{}, {"overloaded": 1}, {"overloaded": 3}]
        for step in steps:
            hops = step["open"] * 1.5 / 0.25
            assert step["latency"]["count"] == pytest.approx(hops, abs=0.5 * hops)
            assert 0.0 < step["latency"]["p50_seconds"] < 5.0
            assert step["lost"] == step["errors"] == {}
            assert step["hops left out"] == 0
            assert 0.0 < step["server, % of a core"] < 200.0
            assert 0.0 < step["tool"] < 100.0
        missed = [name for name, figure in figures.items() if figure["is_met"] is False]
        assert missed == ["streams with p95 of at most 5000 ms and nothing lost"]
        assert figures["samples sent"]["value"].endswith(" in 4 streams")
        assert int(figures["samples sent"]["value"].split()[0]) > 4 * 16000 * 1.5
        assert page.read_text("utf-8").startswith("# Streams at once")
        assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")

    def test_other_rates_and_dear_speech(self, voice: Voice) -> None:
        assert make_voice(48000, 20).samples.shape[1] == 960
        dear = make_voice(is_continuous=True)
        assert (np.abs(voice.samples).max(axis=1) < 100).mean() > 0.2
        assert (np.abs(dear.samples).max(axis=1) < 100).mean() < 0.1

    def test_clients_begin_at_moments_that_are_spread(self, voice: Voice) -> None:
        phases = [spread_phase(number) for number in range(20)]
        due = sorted(next_due(1000.0, phase, voice) for phase in phases)
        assert 1000.0 <= due[0] < due[-1] < 1000.5
        assert max(np.diff(due)) < 2 * 0.5 / 20
        assert next_due(1000.3, 0.0, voice) == pytest.approx(1000.5)


@integration
def test_live_streams_beside_uploads_and_a_drain() -> None:
    words = "beside --streams 2 --uploads 2 --rounds 1 --seconds 2 --settle 1"
    _, figures, tables = run_main(f"{words} --drain")
    missed = [name for name, figure in figures.items() if figure["is_met"] is False]
    assert all("to the median alone" in name or "ratios" in name for name in missed)
    assert figures["bytes of answers meanwhile"]["value"] > 0
    assert figures["latency beside a drain"]["value"]["count"] > 4
    (row,) = tables["Rounds"]["rows"]
    assert min(latency["count"] for latency in row[:2]) > 4


class TestLiveClient:
    @integration
    def test_notes_what_comes_when_and_what_does_not_come(self, voice: Voice) -> None:
        """Of a server that does as it is written here."""
        model = {"name": "emotion", "labels": [], "licence": ""}
        started = {
            **{"type": "started", "number": 0, "stream_id": "1", "model": model, "limits": {}},
            **{"sample_rate_hz": 16000, "hop_seconds": 0.25, "window_seconds": 3.0},
            **{"smoothing_seconds": 1.0, "delay_seconds": 2.0},
        }
        event = {"type": "event", "event": "hop_changed", "detail": "", "at_seconds": 0.0}
        error = {"type": "error", "code": "bad_frame", "detail": "", "fatal": False}
        second = json_record(voice.reference(8)[1])

        async def answer(line: ServerConnection) -> None:
            await line.recv()
            await line.send(json.dumps(started))
            for _ in range(8):  # the second hop ends with block 5, the third within block 8
                await line.recv()
            await asyncio.sleep(0.8)
            # Of the first two hops one is left out, and the error's number is wrong.
            for number, message in enumerate((second, event, error), 1):
                told = {**message, "number": 99 if message is error else number}
                await line.send(json.dumps(told))
            await line.close(1013)

        async def call() -> tuple[LiveClient, Tally]:
            offered = [websockets.Subprotocol("ser.v1")]
            async with serve(answer, "127.0.0.1", 0, subprotocols=offered) as host:
                port = next(iter(host.sockets)).getsockname()[1]
                recorder = Recorder()
                client = LiveClient(Address.parse(f"http://127.0.0.1:{port}"), voice, recorder)
                assert await client.open()
                while client.is_open:
                    await asyncio.sleep(0.1)
                return client, recorder.restart()

        client, tally = asyncio.run(call())
        (latency_seconds,) = tally.latency_seconds
        assert 0.85 < latency_seconds < 3.0  # block 5 was sent 0.3 s before block 8
        assert tally.left_out_hops == 1
        assert client.stream.misnumbered == 1
        assert (tally.events, tally.errors) == ({"hop_changed": 1}, {"bad_frame": 1})
        assert tally.lost == {"overloaded": 1}
        assert client.ended is None
        assert client.unaccounted_samples >= 8 * 1600


def test_differences_are_counted(voice: Voice) -> None:
    wanted = voice.reference(100)
    assert {prediction.state for prediction in wanted} >= {"speech", "silence"}
    assert differences(wanted, wanted) == 0
    assert differences(wanted[:-2], wanted) == 2
    assert differences([*wanted, wanted[-1]], wanted) == 1
    assert differences([wanted[1], *wanted[1:]], wanted) == 1


class TestChurn:
    @integration
    def test_sessions_end_in_all_ways_and_leave_nothing(self) -> None:
        code, figures, tables = run_main("churn --cycles 60 --at-once 6")
        assert [name for name, figure in figures.items() if figure["is_met"] is False] == []
        assert code == 0
        times = "before the later cycles, at the end"
        for name in ("handles", "threads", "tasks of the event loop"):
            assert min(figures[f"{name} {times}"]["value"]) > 0
        ways = dict(tables["How sessions ended"]["rows"])
        assert sum(ways.values()) == 60
        assert set(ways) == set(WAYS)
        assert ways["whole"] > 10

    @integration
    def test_another_model_is_noticed(
        self, server: serving.ServerProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = OnnxClassifier.load(find_model(None))
        options = f"churn --cycles 20 --at-once 1 --server {server.url} --model issa-ravdess"
        monkeypatch.setattr(OnnxClassifier, "load", lambda path: own)
        code, figures, _ = run_main(options)
        assert code == 1
        assert figures["predictions of whole sessions that differ from offline"]["value"] >= 4
        assert figures["troubles"]["value"] == 0


class TestHostile:
    @integration
    def test_every_attack_meets_a_server_that_stands(
        self, server: serving.ServerProcess, voice: Voice
    ) -> None:
        attackers = {name: attacker(server.url, voice, k) for k, name in enumerate(ATTACKS)}

        async def all_of_them() -> None:
            await asyncio.gather(*(own.run(name) for name, own in attackers.items()))

        asyncio.run(asyncio.wait_for(all_of_them(), 60.0))
        answers = {name: own.outcomes.get(name, Counter()) for name, own in attackers.items()}
        assert all(found for name, found in answers.items() if name != "wrong token")
        assert answers["foreign origin"] == {"HTTP 403": 1}
        assert faults(answers) == {}

    @integration
    def test_a_server_that_lets_strangers_in_is_found_out(self, voice: Voice) -> None:
        with serving.process("--origin", "http://evil.example") as careless:
            own = attacker(careless.url, voice)

            async def come() -> None:
                await asyncio.gather(*(own.run("foreign origin") for _ in range(6)))

            asyncio.run(come())
        assert 0 < own.outcomes["foreign origin"][LET_IN] < 6
        assert set(faults(own.outcomes)) == {f"foreign origin: {LET_IN}"}

    def test_answers_that_there_must_not_be(self) -> None:
        answers = Counter({"HTTP 500": 1, "HTTP 503": 2, "close 1011": 3, "close 4400": 4})
        assert faults({"x": answers}) == {"x: HTTP 500": 1, "x: close 1011": 3}

    @pytest.mark.long
    def test_a_good_stream_notices_nothing(self) -> None:
        _, figures, tables = run_main("hostile --minutes 0.3 --at-once 5")
        # So short a run is no measure of memory.
        missed = [name for name, figure in figures.items() if figure["is_met"] is False]
        assert set(missed) <= {"growth of memory", "handles before, idle at the end"}
        assert figures["predictions of the good stream"]["value"] > 60
        assert figures["events of it"]["value"] == {}
        assert len(tables["Attacks and answers"]["rows"]) > 12
        assert figures["requests of schemathesis"]["value"] > 0


class TestServer:
    def test_errors_in_its_log_are_found(self) -> None:
        trace = 'Traceback\n  File "x"\nValueError: no'
        error = {"level": "error", "message": "failure", "traceback": trace}
        records: list[object] = [{"level": "info", "message": "fine"}, error, error]
        log = serving.Log()
        for line in (*map(json.dumps, records), "Fatal Python error"):
            log.write(line)
        found = Server(Address.parse("http://x"), None, log).log_errors()
        assert found == {"failure ValueError: no": 2, "Fatal Python error": 1}


class TestCommand:
    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ("load streams --step 0", "--step is 0, wanted more than 0"),
            ("load streams --first 301", "--first is 301, wanted at most --most 300"),
            ("load streams --beyond -1", "--beyond is -1, wanted 0 or more"),
            ("load streams --hop 0.123", "wanted a whole multiple of 0.01"),
            ("load streams --rate 11025 --block-ms 7", "wanted a whole number of samples"),
            ("load streams --pid 1", "belongs to the --server"),
            ("load streams --report report", "wanted a name like report.md"),
            ("load churn --cycles 0", "--cycles is 0"),
            ("load beside --uploads 0", "--uploads is 0"),
            ("load churn --model nothing", "there is no model 'nothing'"),
            ("load hostile --minutes 0", "--minutes is 0"),
            ("load hostile --server http://127.0.0.1:1", "no healthy server there"),
            ("load hostile --server nowhere", "is no address of a server"),
            ("load churn --server https://127.0.0.1:1", "wanted plain http"),
            ("soak", "wanted more than 0"),
            ("soak --hours nan", "wanted more than 0"),
            ("soak --minutes 1 --virtual --device usb", "leave one of them out"),
            ("soak --minutes 1 --virtual --faults-per-hour -1", "wanted 0 to 3600"),
            ("soak --minutes 1 --virtual --seed -1", "wanted 0 or more"),
            ("soak --minutes 1 --virtual --model nothing.onnx", "nothing.onnx"),
            ("soak --minutes 1 --virtual --report report", "wanted a name like report.md"),
            ("soak --minutes 1 --virtual --report no/where.md", "cannot write the report"),
        ],
    )
    def test_mistakes_take_one_line(
        self, words: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        tool, *options = words.split()
        done = call(*options, main={"load": main, "soak": soak}[tool])
        assert (done.returncode, done.stdout) == (2, "")
        assert told in done.stderr
        assert done.stderr.count("\n") == 1

    @integration
    def test_ctrl_c_ends_it_and_its_server(self, environment: dict[str, str]) -> None:
        command = [sys.executable, str(LOAD), "streams", "--first", "2", "--seconds", "60"]
        servers: list[psutil.Process] = []

        def is_serving(tool: psutil.Process) -> bool:
            servers[:] = [own for own in tool.children() if len(own.net_connections()) > 2]
            return bool(servers)

        assert processes.interrupted(command, environment, is_serving) == (130, "", "")
        assert not servers[0].is_running()
