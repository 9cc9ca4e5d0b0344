"""The tools that measure and torment the server: they see what is, and what must not be."""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
import websockets
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from websockets.asyncio.server import ServerConnection, serve

import serving
from processes import children
from ser_live.client.address import Address
from ser_live.engine.recognizer import StreamRecognizer
from ser_live.errors import SerError
from ser_live.model.catalog import find_model
from ser_live.model.classifier import OnnxClassifier
from tools import process_usage
from tools.load.attacks_http import HTTP_ATTACKS
from tools.load.attacks_stream import LET_IN, STREAM_ATTACKS, foreign_origin
from tools.load.caller import Book, Caller, Tally, comparable
from tools.load.churn import Churn, ChurnPlan, ChurnReport
from tools.load.churn_page import churn_page
from tools.load.command import main
from tools.load.field import Field
from tools.load.http_fuzz import HttpFuzz
from tools.load.pacing import Pacer, in_background
from tools.load.target import Target, target_of
from tools.load.truth import differences, true_predictions
from tools.load.voice import Voice, make_voice
from tools.load.wire import RefusedError, open_wire
from tools.report_page import Figure

try:
    import uvloop
except ImportError:  # Windows
    LOOPS: list[Any] = [None]
else:
    LOOPS = [None, uvloop.new_event_loop]

HOP_MS = 250
LOAD = Path(__file__).parent / "tools" / "load"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Server]:
    with serving.server("--max-streams", "4", "--idle-seconds", "5") as running:
        yield running


@pytest.fixture(scope="module")
def voice() -> Voice:
    return make_voice(16000, "s16le", 100)


@pytest.fixture(scope="module")
def model() -> OnnxClassifier:
    return OnnxClassifier.load(find_model(None))


@contextlib.contextmanager
def answering(given: int, documented: int) -> Iterator[str]:
    """Run a server that gives one status for ``/it``."""
    app = FastAPI()

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {}

    @app.get("/it", responses={documented: {}})
    def it() -> JSONResponse:
        return JSONResponse({}, given)

    running = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # callers wait until it runs
        thread = threading.Thread(target=running.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            running.should_exit = True
            thread.join()


def missed(figures: list[Figure]) -> list[str]:
    return [figure.name for figure in figures if figure.is_met is False]


def run_main(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    code = main([*map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


class TestStreams:
    @pytest.mark.integration
    def test_a_short_ramp_on_a_server_of_its_own(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = tmp_path / "load.md"
        options = "streams --first 3 --step 3 --most 6 --seconds 3 --settle 1 --wanted 6"
        words = [*options.split(), "--limit-ms", "5000", "--report", str(page)]
        assert main(words) == 0
        out = capsys.readouterr().out
        assert page.read_text("utf-8") == out
        assert "![latency and processor](load.png)" in out
        assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        record = json.loads(page.with_suffix(".json").read_text("utf-8"))
        assert [(step["asked"], step["open"]) for step in record["steps"]] == [(3, 3), (6, 6)]
        for step in record["steps"]:
            hops = step["open"] * 3.0 / 0.25
            assert step["latency"]["count"] == pytest.approx(hops, abs=0.4 * hops)
            assert 0.0 < step["latency"]["p50_seconds"] < 5.0
            assert step["refused"] == step["lost"] == step["errors"] == {}
            assert step["misnumbered"] == step["left_out_hops"] == 0
            assert 0.0 < step["server_core_share"] < 2.0
            assert 0.0 < step["tool_core_share"] < 1.0
        account = record["account"]
        assert account["streams"] == 6
        assert account["processed_samples"] == account["sent_samples"] > 6 * 16000 * 4
        assert account["unaccounted_samples"] == 0

    def test_the_breaking_point_is_told(
        self, server: serving.Server, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = "streams --first 2 --step 3 --most 20 --seconds 1 --settle 0.5 --wanted 5"
        where = ["--server", server.url, "--pid", server.pid, "--beyond", 1]
        code, record = run_main(capsys, *options.split(), *where, "--limit-ms", 5000)
        assert code == 1
        steps = record["steps"]
        assert [(s["asked"], s["open"]) for s in steps] == [(2, 2), (5, 4), (8, 4)]
        assert [s["refused"] for s in steps] == [{}, {"HTTP 503": 1}, {"HTTP 503": 3}]
        wanted = [t for t in record["targets"] if t["is_met"] is False]
        assert [(t["value"], t["wanted"]) for t in wanted] == [("2", "at least 5")]
        assert record["account"]["unaccounted_samples"] == 0

    def test_other_rates_and_dear_speech(self) -> None:
        cheap = make_voice(48000, "f32le", 20)
        dear = make_voice(16000, "s16le", 100, is_continuous=True)
        assert (cheap.block_samples, cheap.samples.dtype.str) == (960, "<f4")
        assert dear.samples.dtype.str == "<i2"
        quiet = np.abs(make_voice(16000, "s16le", 100).samples).max(axis=1) < 100
        assert quiet.mean() > 0.2
        assert (np.abs(dear.samples).max(axis=1) < 100).mean() < 0.1

    def test_callers_begin_at_moments_that_are_spread(self, voice: Voice) -> None:
        async def phases(are_together: bool) -> list[float]:
            pacer = Pacer(100, HOP_MS, are_together)
            for _ in range(20):
                pacer.add(Caller(voice, 0, HOP_MS, Book()))
            return sorted((due_at - pacer._began_at) % 0.5 for due_at, _, _ in pacer._turns)

        spread = asyncio.run(phases(are_together=False))
        assert max(np.diff(spread)) < 2 * 0.5 / 20
        assert np.ptp(asyncio.run(phases(are_together=True))) < 1e-6


class TestCaller:
    def scripted(
        self,
        voice: Voice,
        script: Callable[[ServerConnection, int], Awaitable[None]],
        seconds: float = 1.5,
    ) -> tuple[Caller, Tally]:
        """Let a caller speak to a server that does what is written."""

        async def answer(line: ServerConnection) -> None:
            await line.recv()
            await line.send(json.dumps({"type": "started", "number": 0}))
            blocks = 0
            async for message in line:
                if isinstance(message, str):
                    ended = {"type": "ended", "number": 99, "processed_samples": blocks * 1600}
                    await line.send(json.dumps(ended))
                    break
                blocks += 1
                await script(line, blocks)

        async def call() -> tuple[Caller, Tally]:
            async with serve(
                answer, "127.0.0.1", 0, subprotocols=[websockets.Subprotocol("ser.v1")]
            ) as host:
                port = next(iter(host.sockets)).getsockname()[1]
                book = Book()
                caller = Caller(voice, 0, HOP_MS, book)
                assert await caller.open(Address.parse(f"http://127.0.0.1:{port}"))
                pacer = Pacer(voice.block_ms, HOP_MS)
                pacer.add(caller)
                async with in_background(pacer.run()):
                    await asyncio.sleep(seconds)
                    await caller.end()
                return caller, book.turn()

        return asyncio.run(call())

    def test_latency_begins_with_the_last_sample_of_the_hop(self, voice: Voice) -> None:
        number = 0
        answers = []

        async def tardy(line: ServerConnection, blocks: int) -> None:
            nonlocal number
            # Hops end within block 3, with block 5, within block 8 ...
            while number < blocks * 100 // HOP_MS:
                number += 1
                message = {"type": "prediction", "number": number, "index": number - 1}
                answers.append(asyncio.ensure_future(later(line, json.dumps(message))))

        async def later(line: ServerConnection, text: str) -> None:
            await asyncio.sleep(1.2)
            with contextlib.suppress(websockets.ConnectionClosed):
                await line.send(text)

        _, tally = self.scripted(voice, tardy, seconds=3.5)
        assert len(tally.latency_seconds) >= 3
        assert all(1.2 <= seconds < 2.2 for seconds in tally.latency_seconds)
        assert tally.left_out_hops == 0

    def test_what_is_missing_is_counted(self, voice: Voice) -> None:
        async def careless(line: ServerConnection, blocks: int) -> None:
            if blocks == 8:
                first = {"type": "prediction", "number": 1, "index": 0}
                second = {"type": "prediction", "number": 4, "index": 2}
                event = {"type": "event", "number": 5, "event": "hop_changed"}
                error = {"type": "error", "number": 6, "code": "internal"}
                for message in (first, second, event, error):
                    await line.send(json.dumps(message))

        caller, tally = self.scripted(voice, careless)
        assert tally.left_out_hops == 1
        assert tally.misnumbered == 2  # the second, and the last
        assert (tally.events, tally.errors) == ({"hop_changed": 1}, {"internal": 1})
        assert caller.ended is not None
        assert caller.ended["processed_samples"] == caller.sent_samples

    def test_a_stream_that_is_dropped_is_counted(self, voice: Voice) -> None:
        async def rude(line: ServerConnection, blocks: int) -> None:
            if blocks == 2:
                await line.close(1013)

        caller, tally = self.scripted(voice, rude)
        assert tally.lost == {"close 1013": 1}
        assert caller.ended is None


class TestTruth:
    def test_is_what_the_recognizer_gives(self, voice: Voice, model: OnnxClassifier) -> None:
        recognizer = StreamRecognizer(model)
        around = np.concatenate([voice.samples[150:], voice.samples[:100]])
        wanted = recognizer.process(around.ravel()) + recognizer.flush()
        true = true_predictions(model, voice, 150, len(around), HOP_MS)
        assert true == [comparable(prediction.to_dict()) for prediction in wanted]
        assert {p["state"] for p in true} >= {"speech", "silence"}

    def test_differences_are_seen(self, voice: Voice, model: OnnxClassifier) -> None:
        true = true_predictions(model, voice, 0, 100, HOP_MS)
        assert differences(true, true) == 0
        assert differences(true[:-2], true) == 2
        assert differences([*true, true[-1]], true) == 1
        flipped = [*true]
        flipped[20] = {**true[20], "confidence": np.nextafter(true[20]["confidence"], 2)}
        assert differences(flipped, true) == 1


@pytest.fixture(scope="module")
def report(voice: Voice, model: OnnxClassifier) -> ChurnReport:
    plan = ChurnPlan(cycles=120, at_once=6, speak_blocks=20, hop_ms=HOP_MS, seed=0, model=None)
    with target_of(None, None, None, []) as target:
        return asyncio.run(Churn(plan, voice, target, model).run(lambda *_: None))


class TestChurn:
    def test_visitors_come_in_all_ways_and_leave_nothing(self, report: ChurnReport) -> None:
        assert missed([*churn_page(report).figures]) == []
        assert sum(report.cycles.values()) == 120
        assert len(report.cycles) == 11
        assert report.cycles["whole"] > 10
        assert report.looks[-1][0] == 120

    def test_what_stays_behind_is_seen(self, report: ChurnReport) -> None:
        after, resident = report.after, report.warm.resident_bytes or 0
        for name, changes in (
            ("handles", {"handles": (report.warm.handles or 0) + 3}),
            ("threads", {"threads": (report.warm.threads or 0) + 1}),
            ("growth", {"resident_bytes": resident + 5 * 2**20}),
        ):
            leaky = dataclasses.replace(report, after=dataclasses.replace(after, **changes))
            (found,) = missed([*churn_page(leaky).figures])
            assert found.startswith(name)

    @pytest.mark.integration
    def test_another_model_is_seen(
        self, server: serving.Server, voice: Voice, model: OnnxClassifier
    ) -> None:
        plan = ChurnPlan(
            cycles=10, at_once=1, speak_blocks=20, hop_ms=HOP_MS, seed=0, model="issa-ravdess"
        )
        target = Target(Address.parse(server.url), server.pid, None)
        report = asyncio.run(Churn(plan, voice, target, model).run(lambda *_: None))
        assert report.different_predictions >= 4
        assert report.troubles == {}


class TestHostile:
    @pytest.mark.integration
    def test_every_attack_meets_a_server_that_stands(
        self, server: serving.Server, voice: Voice
    ) -> None:
        fields = {}

        async def attack(number: int, one: Any) -> None:
            own = Field(Address.parse(server.url), voice, np.random.default_rng(number))
            own.attack = one.__name__
            fields[one.__name__] = own
            try:
                await one(own)
            except (RefusedError, OSError) as error:
                own.note_refusal(error)

        async def all_of_them() -> None:
            attacks = (*HTTP_ATTACKS, *STREAM_ATTACKS)
            await asyncio.gather(*(attack(n, one) for n, one in enumerate(attacks)))

        asyncio.run(asyncio.wait_for(all_of_them(), 60.0))
        answers = {name: {outcome for _, outcome in own.outcomes} for name, own in fields.items()}
        assert all(found for name, found in answers.items() if name != "wrong_token")
        assert answers["foreign_origin"] == {"HTTP 403"}
        told = set().union(*answers.values())
        assert not {a for a in told if a.startswith("HTTP 5")} - {"HTTP 503"}
        assert not told & {"close 1011", "error internal", LET_IN}

    @pytest.mark.parametrize("loop", LOOPS)
    def test_a_server_that_hangs_up_in_the_middle(
        self, voice: Voice, loop: Callable[[], asyncio.AbstractEventLoop] | None
    ) -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()  # a reset, not a goodbye

        async def attack() -> Field:
            async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as impatient:
                port = impatient.sockets[0].getsockname()[1]
                address = Address.parse(f"http://127.0.0.1:{port}")
                own = Field(address, voice, np.random.default_rng(0))
                await own.raw(*[b"x"] * 20, pause_seconds=0.02)
            return own

        with asyncio.Runner(loop_factory=loop) as runner:
            own = runner.run(attack())
        assert sum(own.outcomes.values()) == 1

    @pytest.mark.integration
    def test_who_lets_strangers_in_is_found_out(self, voice: Voice) -> None:
        with serving.server("--origin", "http://evil.example") as careless:
            own = Field(Address.parse(careless.url), voice, np.random.default_rng(0))
            for _ in range(6):
                asyncio.run(foreign_origin(own))
        assert 0 < own.outcomes["", LET_IN] < 6

    @pytest.mark.long
    def test_a_good_stream_notices_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        pytest.importorskip("schemathesis")
        _, record = run_main(capsys, "hostile", "--minutes", 0.3, "--at-once", 5)
        control = record["control"]
        assert control["predictions"] > 60
        assert control["different_predictions"] == control["unaccounted_samples"] == 0
        assert control["troubles"] == control["events"] == record["faults"] == {}
        assert (record["unhealthy"], record["is_healthy"]) == (0, True)
        assert len(record["attacks"]) > 20
        assert record["http_cases"] > 50
        assert record["http_failures"] == {}
        assert record["log_errors"] == {}


@pytest.mark.long
class TestHttpFuzz:
    @pytest.mark.parametrize(
        ("given", "documented", "found"),
        [
            (503, 503, None),  # too busy, and says that it may be
            (503, 404, "Undocumented status code"),
            (500, 500, "Server error"),
        ],
    )
    def test_only_what_may_not_be_is_a_failure(
        self, given: int, documented: int, found: str | None
    ) -> None:
        pytest.importorskip("schemathesis")
        with answering(given, documented) as url, target_of(url, None, None, ()) as target:
            fuzz = HttpFuzz()
            asyncio.run(fuzz.run(target, 5, time.monotonic() + 0.1))
        assert fuzz.cases > 0
        assert len(fuzz.failures) == (found is not None)
        assert all(f"{found} (seed 5)" in name for name in fuzz.failures)


class TestWire:
    def test_refusals_and_rude_ends(self, server: serving.Server) -> None:
        address = Address.parse(server.url)

        async def talk() -> None:
            with pytest.raises(RefusedError) as caught:
                await open_wire(address, lambda _: None, origin="http://evil.example")
            assert caught.value.status == 403
            for reset in (False, True):
                wire = await open_wire(address, lambda _: None)
                wire.abort(reset)
                assert await asyncio.wait_for(wire.closed, 10.0) == 1006
                wire.write(b"to nobody")
                assert wire.unsent_bytes == 0
            wire = await open_wire(address, lambda _: None)
            wire.close()
            assert await asyncio.wait_for(wire.closed, 10.0) == 1000
            with pytest.raises(ConnectionRefusedError):
                await open_wire(Address.parse("http://127.0.0.1:1"), lambda _: None)

        asyncio.run(talk())


class TestTarget:
    def test_one_of_its_own_is_gone_afterwards(self) -> None:
        with target_of(None, None, None, ["--token", "t" * 16]) as target:
            assert target.address.token == "t" * 16
            assert target.model() == "emotion"
            assert target.gauges()["ser_streams_open"] == 0
            assert target.log_errors() == {}
            look = target.look()
            assert target.pid is not None
            if sys.platform == "linux":
                assert (look.resident_bytes or 0) > 2**24
                assert (look.processor_seconds or 0) > 0.1
                assert (look.handles or 0) > 5
        assert not target.is_alive()

    def test_errors_in_its_log_are_found(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        trace = 'Traceback\n  File "x"\nValueError: no'
        records: list[object] = [
            {"level": "info", "message": "fine"},
            {"level": "error", "message": "failure", "traceback": trace},
            {"level": "error", "message": "failure", "traceback": trace},
        ]
        log.write_text("\n".join([*map(json.dumps, records), "Fatal Python error"]))
        found = Target(Address.parse("http://x"), None, log).log_errors()
        assert found == {"failure ValueError: no": 2, "Fatal Python error": 1}

    def test_one_that_does_not_start_says_why(self) -> None:
        with pytest.raises(SerError, match=r"did not start: .*the token must be"):
            target_of(None, None, None, ["--token", "short"]).__enter__()

    @linux
    def test_other_processes_can_be_looked_at(self) -> None:
        code = "x = bytearray(2**25); f = open('/dev/null'); print(1, flush=True); input()"
        pipe = subprocess.PIPE
        with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as child:
            assert child.stdout is not None
            child.stdout.readline()
            assert (process_usage.resident_bytes(child.pid) or 0) > 2**25
            assert process_usage.threads(child.pid) == 1
            assert (process_usage.handles(child.pid) or 0) >= 4
            assert child.pid in process_usage.children(os.getpid())
            child.kill()
        assert process_usage.resident_bytes(child.pid) is None
        assert process_usage.handles(child.pid) is None


class TestCommand:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["streams", "--step", "0"], "--step is 0, wanted more than 0"),
            (["streams", "--beyond", "-1"], "--beyond is -1, wanted 0 or more"),
            (["streams", "--hop", "0.123"], "wanted a whole multiple of 0.01"),
            (["streams", "--rate", "11025", "--block-ms", "7"], "wanted a whole number of samples"),
            (["streams", "--pid", "1"], "belong to the --server"),
            (["streams", "--report", "report"], "wanted a name like load.md"),
            (["churn", "--cycles", "0"], "--cycles is 0"),
            (["churn", "--model", "nobody"], "there is no model 'nobody'"),
            (["hostile", "--minutes", "0"], "--minutes is 0"),
            (["hostile", "--server", "http://127.0.0.1:1"], "no healthy server there"),
            (["hostile", "--server", "nowhere"], "is no address of a server"),
            (["churn", "--server", "https://127.0.0.1:1"], "wanted plain http"),
        ],
    )
    def test_mistakes_take_one_line(
        self, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert said in err
        assert err.count("\n") == 1

    @linux
    @pytest.mark.integration
    def test_ctrl_c_ends_it_and_its_server(self, environment: dict[str, str]) -> None:
        command = [
            sys.executable,
            str(LOAD),
            "streams",
            "--first",
            "2",
            "--seconds",
            "60",
        ]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
        deadline = time.monotonic() + 30.0
        while not children(process.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        (own,) = children(process.pid)
        time.sleep(4.0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=40)
        assert (process.returncode, out, err) == (130, "", "")
        assert process_usage.resident_bytes(own) is None

    @pytest.mark.parametrize("tool", [[], ["streams"], ["churn"], ["hostile"]])
    def test_help_is_quick_and_loads_nothing(
        self, tool: list[str], environment: dict[str, str]
    ) -> None:
        code = (
            f"import sys\nfrom tools.load.command import main\n"
            f"try: main({[*tool, '--help']})\nexcept SystemExit as end: assert not end.code\n"
            "assert not {'numpy', 'onnxruntime', 'websockets', 'uvloop'} & set(sys.modules)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert b"usage: python tests/tools/load" in done.stdout
