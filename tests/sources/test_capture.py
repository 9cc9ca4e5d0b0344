"""The capture process and its parent: whatever goes wrong in one, the other knows what to do."""

import dataclasses
import functools
import gc
import io
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.processes import children, handles, have_ended, is_running, resident_bytes
from helpers.streams import is_accounted
from ser_live import SerError
from ser_live.latency import StageLatency
from ser_live.sources import (
    Block,
    Microphone,
    Notice,
    capture_process,
    input_devices,
)
from ser_live.sources import capture_protocol as protocol
from ser_live.sources.capture_process import CaptureProcess
from ser_live.sources.devices import InputDevice

HELPERS = Path(__file__).parents[1] / "helpers"
FAKE_AUDIO = HELPERS / "fake_audio"
LISTENER = HELPERS / "numbered_listener.py"
MODULUS = 1 << 20
INTEGRATION = pytest.mark.integration

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")


def bad(how: str) -> CaptureProcess:
    return CaptureProcess(
        command=[sys.executable, "-I", "-S", str(HELPERS / "bad_capture.py"), how]
    )


def microphone(how: str) -> Microphone:
    return Microphone(open_capture=lambda *_: bad(how))


def closed_in(capture: CaptureProcess | Microphone) -> float:
    started_at = time.monotonic()
    capture.close()
    return time.monotonic() - started_at


def close_timed(capture: CaptureProcess | Microphone, durations: list[float]) -> None:
    durations.append(closed_in(capture))


def until_loss(source: Microphone) -> tuple[list[Block], Notice]:
    """Return the blocks that come before the first notice, and the notice."""
    blocks: list[Block] = []
    for item in source:
        if isinstance(item, Notice):
            return blocks, item
        blocks.append(item)
    raise AssertionError("it ended")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    gc.collect()
    before = children(), set(threading.enumerate())
    yield
    assert have_ended(children() - before[0])
    for thread in set(threading.enumerate()) - before[1]:
        thread.join(10.0)
        assert not thread.is_alive()


@INTEGRATION
class TestOpening:
    @pytest.mark.parametrize(
        ("how", "words"),
        [
            ("refusing", "^the device is busy$"),
            ("raising", r"ended \(exit code 1: ValueError: of no use\)$"),
            ("exiting", r"ended \(exit code 0\)$"),
            ("garbage", "wanted a message; start it again$"),
            ("huge", "wanted a message; start it again$"),
            ("untrue", "0 Hz, 1 channels"),
            ("listing", "did not open a device"),
        ],
    )
    def test_what_goes_wrong_is_said_in_one_line(self, how: str, words: str) -> None:
        capture = bad(how)
        started_at = time.monotonic()
        with pytest.raises(SerError, match=words) as caught:
            capture.open()
        assert time.monotonic() - started_at < 4.0
        assert "\n" not in str(caught.value)
        assert closed_in(capture) < 2.0

    def test_an_answer_is_not_waited_for_longer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(capture_process, "_OPEN_SECONDS", 0.5)
        started_at = time.monotonic()
        with pytest.raises(SerError, match=r"did not open within 0\.5 s"):
            bad("silent").open()
        assert 0.4 < time.monotonic() - started_at < 3.0

    def test_a_program_that_is_not_there(self) -> None:
        with pytest.raises(SerError, match="cannot start the capture process"):
            CaptureProcess(command=["/nowhere/python"]).open()

    @pytest.mark.parametrize("after_seconds", [0.0, 0.001, 0.003, 0.01, 0.1])
    def test_close_from_another_thread_ends_it(self, after_seconds: float) -> None:
        for _ in range(3):
            capture, durations = bad("silent"), list[float]()
            closer = threading.Timer(after_seconds, close_timed, (capture, durations))
            closer.start()
            started_at = time.monotonic()
            with pytest.raises(SerError, match="was closed"):
                capture.open()
            assert time.monotonic() - started_at < 3.0
            closer.join()
            assert durations[0] < 2.0

    def test_after_close_it_does_not_open(self) -> None:
        capture = bad("good")
        capture.close()
        with pytest.raises(SerError, match="was closed"):
            capture.open()

    def test_whatever_interrupts_it_leaves_no_process(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(CaptureProcess, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bad("silent").open()


@INTEGRATION
class TestHearing:
    @pytest.mark.parametrize(
        ("how", "words"),
        [
            ("crashing", "Segmentation fault"),
            ("stalling", "no samples any more"),
            ("breaking off", "ended (exit code 0)"),
            ("closing", "the capture process ended"),
            ("babbling", "wanted a message"),
        ],
    )
    def test_a_loss_is_noticed(self, how: str, words: str) -> None:
        with microphone(how) as source:
            blocks, loss = until_loss(source)
            lost_at = time.monotonic()
            assert closed_in(source) < 2.0
        assert loss.kind == "device_lost"
        assert words in loss.detail
        assert lost_at - (blocks[-1].end_captured_at or 0.0) < 2.5  # usually one

    def test_it_comes_back_again_and_again(self) -> None:
        with microphone("crashing") as source:
            restored = (item for item in source if getattr(item, "kind", "") == "device_restored")
            assert len(list(itertools.islice(restored, 3))) == 3
            counters = source.counters
        assert counters.restarts == 3
        assert is_accounted(counters)

    @pytest.mark.parametrize("after_seconds", [0.1, 0.7, 1.0, 2.0])
    def test_close_ends_the_iteration_whatever_it_does(self, after_seconds: float) -> None:
        """Hearing, a loss, the pause before the next attempt, an attempt."""
        captures = iter([bad("crashing")])
        source = Microphone(open_capture=lambda *_: next(captures, bad("silent")))
        durations: list[float] = []
        with source:
            closer = threading.Timer(after_seconds, close_timed, (source, durations))
            closer.start()
            started_at = time.monotonic()
            for _ in source:
                pass
            assert time.monotonic() - started_at < after_seconds + 3.0
            closer.join()
        assert durations[0] < 2.0

    def test_a_process_that_was_stopped_is_killed(self) -> None:
        with microphone("good") as source:
            next(iter(source))
            (pid,) = children()
            os.kill(pid, signal.SIGSTOP)
            assert closed_in(source) < 2.0
        assert not is_running(pid)

    @pytest.mark.parametrize("cycles", [30, pytest.param(200, marks=pytest.mark.long)])
    def test_cycles_leave_nothing(self, cycles: int) -> None:
        def cycle() -> None:
            capture, heard = bad("good"), threading.Event()
            capture.open()
            capture.start(lambda _: heard.set())
            assert heard.wait(5.0)
            capture.expect(100)
            assert closed_in(capture) < 2.0

        def held() -> tuple[set[int], int, int | None]:
            gc.collect()
            return children(), threading.active_count(), handles()

        for _ in range(10):  # what Python itself keeps
            cycle()
        before, resident = held(), resident_bytes()
        for _ in range(cycles):
            cycle()
        assert held() == before
        assert resident_bytes() - resident < 3 * 2**20


Play = Callable[[str], None]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Capture from the fake sounddevice; what goes wrong there is said by its mode."""
    paths = [str(FAKE_AUDIO), str(HELPERS.parents[1] / "realtime")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return functools.partial(monkeypatch.setenv, "FAKE_AUDIO")


@INTEGRATION
class TestProcess:
    """``python -m ser_live.sources.capture_worker`` itself."""

    def test_every_frame_arrives(self, play: Play) -> None:
        expected, captured_at = 0, 0.0
        with Microphone("fake") as source:
            assert (source.name, source.sample_rate_hz, source.channels) == ("fake", 48000, 2)
            for item in source:
                assert isinstance(item, Block)
                assert item.missing_frames == item.overruns == 0
                numbers = np.arange(expected, expected + len(item.samples)) % MODULUS
                np.testing.assert_array_equal(item.samples[:, 1], numbers)
                expected += len(item.samples)
                captured_at = item.end_captured_at or 0.0
                source.expect(0.25)
                callback = source.counters.callback  # told by the clock, not by the frame
                if expected > 48000 and (callback or expected > 480000):
                    break
            assert captured_at == pytest.approx(time.monotonic(), abs=1.0)
        assert callback is not None
        assert callback.count >= 5

    @pytest.mark.parametrize(
        ("hint_seconds", "given_seconds"), [(None, 0.05), (0.1, 0.1), (0.2, 0.2)]
    )
    def test_it_writes_when_something_is_due(
        self, play: Play, hint_seconds: float | None, given_seconds: float
    ) -> None:
        lengths = []
        with Microphone("fake") as source:
            for item in source:
                assert isinstance(item, Block)
                if hint_seconds is not None:
                    source.expect(hint_seconds)
                lengths.append(len(item.samples) / 48000)
                if len(lengths) == 8:
                    break
        # A busy machine may let more come together, never less.
        assert min(lengths[2:]) == pytest.approx(given_seconds)

    def test_first_blocks_that_come_all_at_once_do_not_deceive_it(self, play: Play) -> None:
        play("late")
        frames, starts_at = 0, []
        with Microphone("fake") as source:
            for item in source:
                assert isinstance(item, Block)
                frames += len(item.samples)
                starts_at.append((item.end_captured_at or 0.0) - frames / 48000)
                if frames > 48000:
                    break
        assert starts_at[0] == pytest.approx(starts_at[-1], abs=0.2)  # 0.4 if it were believed

    @pytest.mark.parametrize(
        ("mode", "words"),
        [
            ("missing", "needs the PortAudio library"),
            ("uninitialized", "Error initializing PortAudio: Unanticipated host error"),
            ("none", "no input device; PortAudio sees no device at all"),
            ("fails", "PortAudioError: Error querying device"),
            ("crashes", "ended (Segmentation fault"),
        ],
    )
    def test_it_says_why_it_does_not_open(self, play: Play, mode: str, words: str) -> None:
        play(mode)
        if mode == "none":
            assert input_devices() == []
        for ask in [CaptureProcess().open, *([] if mode == "none" else [input_devices])]:
            with pytest.raises(SerError) as caught:
                ask()
            assert words in str(caught.value)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("mode", "words"),
        [("ends", "the device is gone"), ("refuses", "fake: does not start (Device unavailable)")],
    )
    def test_it_says_why_it_stops(self, play: Play, mode: str, words: str) -> None:
        play(mode)
        with Microphone() as source:
            blocks, loss = until_loss(source)
        assert words in loss.detail
        heard = sum(len(block.samples) for block in blocks)
        assert heard >= 48000 / 2 if mode == "ends" else heard == 0

    def test_devices_are_listed(self, play: Play) -> None:
        rates_hz = (8000, 16000, 22050, 32000, 44100, 48000, 96000)
        assert input_devices() == [InputDevice(0, "fake", 2, 48000, True, rates_hz)]

    def test_a_list_that_does_not_come(self, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
        play("hangs")
        monkeypatch.setattr(capture_process, "_LIST_SECONDS", 0.3)
        with pytest.raises(SerError, match=r"did not answer within 0\.3 s; restart the"):
            input_devices()

    def test_a_flood_on_stderr_costs_nothing(
        self, play: Play, caplog: pytest.LogCaptureFixture
    ) -> None:
        play("floods")
        caplog.set_level(logging.INFO, "ser_live")
        with Microphone() as source:
            items = iter(source)
            for _ in range(10):  # half a second, and the flood has begun
                next(items)
            begun_at, processor_at = time.monotonic(), time.process_time()
            resident = resident_bytes()
            while time.monotonic() < begun_at + 1.5:
                assert isinstance(next(items), Block)
            share = (time.process_time() - processor_at) / (time.monotonic() - begun_at)
        assert share < 0.25
        assert resident_bytes() - resident < 10 * 2**20
        assert 1 <= len(caplog.text.splitlines()) <= 30
        assert len(caplog.text) < 10_000
        assert "more lines" in caplog.text


def listening(environment: dict[str, str], *arguments: str) -> "subprocess.Popen[str]":
    """Start a process that listens to numbered frames, and its capture process."""
    paths = [str(FAKE_AUDIO), environment["PYTHONPATH"]]
    return subprocess.Popen(
        [sys.executable, str(LISTENER), *arguments],
        env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
    )


@INTEGRATION
class TestParent:
    @pytest.mark.parametrize("arguments", [(), ("--fork",)])
    def test_its_death_is_the_end_of_the_capture_process(
        self, environment: dict[str, str], arguments: tuple[str, ...]
    ) -> None:
        """Also where something that it forked holds the pipes open."""
        with listening(environment, *arguments) as process:
            assert process.stdout is not None
            first = json.loads(process.stdout.readline())
            assert is_running(first["capture"])
            process.kill()
        try:
            assert have_ended([first["capture"]])
        finally:
            if first["forked"]:
                os.kill(first["forked"], signal.SIGKILL)

    def test_while_it_stands_still_frames_are_counted(self, environment: dict[str, str]) -> None:
        """The device gives four times as many frames per second as it says."""
        with listening({**environment, "FAKE_AUDIO": "hurries"}, "--losses", "1") as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.7)
            process.send_signal(signal.SIGSTOP)
            time.sleep(2.5)  # 10 s of audio: more than the capture process has room for
            process.send_signal(signal.SIGCONT)
            told = [json.loads(line) for line in process.stdout]
        account = told[-1]
        # The listener has checked that every frame stands where it belongs on the timeline.
        assert account["wrong_frames"] == 0
        assert account["restarts"] == 0
        assert 2 * 48000 < account["dropped_capture"] < 10 * 48000
        assert account["missing"] == account["dropped_capture"]
        lost = account["dropped_overrun"] + account["dropped_stale"] + account["dropped_capture"]
        assert account["captured"] == account["processed"] + lost + account["buffered"]


names = st.text(max_size=30)
times = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**40)
devices = st.builds(
    InputDevice,
    counts,
    names,
    counts,
    counts,
    st.booleans(),
    st.lists(counts, max_size=9).map(tuple),
)
records = st.one_of(
    st.builds(protocol.Opened, names, st.integers(1, 10**6), st.integers(1, 64)),
    st.builds(protocol.Devices, st.lists(devices, max_size=3).map(tuple)),
    st.builds(protocol.Failed, names),
    st.builds(StageLatency, names, counts, times, times, times, times),
)


@st.composite
def audio(draw: st.DrawFn) -> protocol.Audio:
    shape = draw(st.integers(0, 40)), draw(st.integers(1, 4))
    samples = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    return protocol.Audio(
        samples, draw(times), draw(counts), draw(counts), draw(st.integers(0, 2**32 - 1))
    )


KINDS = [b"O", b"D", b"F", b"C"]


def framed(kind: bytes, payload: bytes) -> bytes:
    return kind + len(payload).to_bytes(4, "little") + payload


def read_all(data: bytes) -> list[protocol.Message]:
    stream = io.BytesIO(data)
    return list(iter(lambda: protocol.read(stream), None))


class TestProtocol:
    @given(st.lists(records, max_size=9))
    def test_records_arrive_as_they_were_sent(self, sent: list[protocol.Message]) -> None:
        assert read_all(b"".join(map(protocol.encode, sent))) == sent

    @given(st.lists(audio(), max_size=9))
    def test_audio_arrives_as_it_was_sent(self, sent: list[protocol.Audio]) -> None:
        for got, message in zip(read_all(b"".join(map(protocol.encode, sent))), sent, strict=True):
            np.testing.assert_equal(dataclasses.asdict(got), dataclasses.asdict(message))

    @given(st.one_of(records, audio()), st.floats(0, 1, exclude_max=True))
    def test_a_message_that_breaks_off_is_none(
        self, message: protocol.Message, share: float
    ) -> None:
        data = protocol.encode(message)
        assert protocol.read(io.BytesIO(data[: int(share * len(data))])) is None

    @given(st.binary(max_size=200), st.sampled_from([b"", b"A", *KINDS]))
    @example(b"[" * 200_000, b"O")
    def test_bytes_of_no_meaning_are_refused(self, data: bytes, kind: bytes) -> None:
        self.check_refused(framed(kind, data) if kind else data)

    @given(st.one_of(records, audio()), st.data())
    def test_damage_is_refused_or_a_message(
        self, message: protocol.Message, data: st.DataObject
    ) -> None:
        damaged = bytearray(protocol.encode(message))
        for _ in range(data.draw(st.integers(1, 3))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        self.check_refused(bytes(damaged))

    @given(
        st.sampled_from(KINDS),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | names,
            lambda inner: st.lists(inner) | st.dictionaries(names, inner),
        ),
    )
    def test_any_json_is_refused_or_a_message(self, kind: bytes, value: object) -> None:
        self.check_refused(framed(kind, json.dumps(value).encode()))

    def check_refused(self, data: bytes) -> None:
        """Check that it is a message, or none, or refused in one line."""
        refusal = ""
        try:
            protocol.read(io.BytesIO(data))
        except SerError as error:
            refusal = str(error)
        assert "\n" not in refusal
