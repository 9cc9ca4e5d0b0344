"""Rings, files, pipes and devices: every sample arrives once, or is counted as lost."""

import io
import itertools
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import numpy as np
import pytest
import soundfile
from hypothesis import strategies as st
from numpy.typing import NDArray

from fuzz.raw import Portions
from helpers.streams import is_accounted
from ser_live import SerError
from ser_live.sources import Block, FileSource, RawSource, SampleFormat, SourceCounters, devices
from ser_live.sources.capture_clock import CaptureClock
from ser_live.sources.capture_worker import DeviceStream
from ser_live.sources.ring import FrameRing

FAKE_AUDIO = Path(__file__).parents[1] / "helpers" / "fake_audio"


def numbered(start: int, count: int, channels: int = 2) -> NDArray[np.float32]:
    """Frames whose value is their position: exact in float32 up to 16 million."""
    return np.repeat(np.arange(start, start + count, dtype=np.float32)[:, None], channels, axis=1)


class TestRing:
    @pytest.mark.parametrize("seed", range(8))
    def test_every_frame_stands_at_its_place_or_is_counted(self, seed: int) -> None:
        """A frame's value is its place on the timeline, where the missing ones count."""
        rng = np.random.default_rng(seed)
        ring = FrameRing(100, 2, 1000)
        written = end = expected = told = 0
        noted: list[tuple[int, int]] = []  # place, overruns before it
        for _ in range(600):
            act = rng.random()
            if act < 0.6:
                count, missing, overruns = (int(rng.integers(most)) for most in (60, 20, 3))
                missing, overruns = (n if rng.random() < 0.2 else 0 for n in (missing, overruns))
                end += missing
                noted.append((end, overruns))
                samples = numbered(end, count)
                end += count
                written += count
                ring.write(samples, 5.0 + end / 1000.0, overruns, missing)
            elif act < 0.65:
                ring.skip(int(rng.integers(100)))
            elif (block := ring.read(int(rng.integers(1, 40)))) is not None:
                expected += block.missing_frames
                told += block.overruns
                assert told == sum(overruns for place, overruns in noted if place <= expected)
                np.testing.assert_array_equal(block.samples, numbered(expected, len(block.samples)))
                expected += len(block.samples)
                assert block.end_captured_at == pytest.approx(5.0 + expected / 1000)
            assert is_accounted(ring.counters)
            assert ring.counters.captured == written
            assert ring.counters.overruns == sum(overruns for _, overruns in noted)
            assert ring.counters.buffered <= 100

    def test_a_writer_in_another_thread_tears_no_block(self) -> None:
        ring = FrameRing(512, 1, 48000)
        total = 200_000

        def write() -> None:
            for start in range(0, total, 100):
                ring.write(numbered(start, 100, 1), 0.0)
                if start % 2000 == 0:
                    time.sleep(0.0002)

        writer = threading.Thread(target=write)
        writer.start()
        position = 0
        while position < total and (writer.is_alive() or ring.counters.buffered):
            block = ring.read(64)
            assert is_accounted(ring.counters)
            if block is not None:
                position += block.missing_frames
                np.testing.assert_array_equal(
                    block.samples, numbered(position, len(block.samples), 1)
                )
                position += len(block.samples)
        writer.join()
        counters = ring.counters
        assert counters.captured == total
        assert is_accounted(counters)

    def test_a_lapped_reader_jumps_to_the_present_and_says_what_that_cost(self) -> None:
        ring = FrameRing(100, 1, 1000)
        for start in range(0, 250, 50):
            ring.write(numbered(start, 50, 1), 0.0)
        assert ring.counters == SourceCounters(captured=250, dropped_overrun=150, buffered=100)
        block = ring.read(30)
        assert block is not None
        assert block.missing_frames == 220
        np.testing.assert_array_equal(block.samples, numbered(220, 30, 1))
        assert ring.counters == SourceCounters(
            captured=250, processed=30, dropped_overrun=150, dropped_stale=70
        )

    def test_marks_without_a_reader_lose_no_count(self) -> None:
        ring = FrameRing(2000, 1, 1000)
        for _ in range(1000):
            ring.write(numbered(0, 1, 1), 0.0, overruns=1, missing_frames=2)
        blocks = list(iter(lambda: ring.read(50), None))
        ring.write(numbered(0, 1, 1), 0.0, overruns=1, missing_frames=2)
        blocks += iter(lambda: ring.read(50), None)
        assert sum(block.missing_frames for block in blocks) == 2002
        assert sum(block.overruns for block in blocks) == 1001

    def test_the_block_is_not_overwritten_later(self) -> None:
        ring = FrameRing(10, 1, 1000)
        ring.write(numbered(0, 10, 1), 0.0)
        block = ring.read(10)
        ring.write(numbered(10, 10, 1), 0.0)
        assert block is not None
        np.testing.assert_array_equal(block.samples, numbered(0, 10, 1))


RATE_HZ, BLOCK_SECONDS, BLOCK_FRAMES = 48000, 0.05, 2400
Arrivals = NDArray[np.float64]
KINDS = ("calm", "exponential", "uniform", "stalls", "wakes 0.3", "drift 200", "drift -200")


def jittered(kind: str, blocks: int, seed: int) -> Arrivals:
    """Return when blocks arrive, in order, though none is lost."""
    rng = np.random.default_rng(seed)
    times = BLOCK_SECONDS * np.arange(1, blocks + 1)
    late = np.abs(rng.normal(0.0, 0.003, blocks))
    match kind.split():
        case ["drift", ppm]:
            late += times * float(ppm) * 1e-6
        case ["wakes", every]:  # and takes all that waits
            late += -(times + 0.02) % float(every)
        case ["exponential"]:
            late += rng.exponential(0.05, blocks) * (rng.random(blocks) < 0.3)
        case ["uniform"]:
            late = rng.uniform(0.0, 0.1, blocks)
        case ["stalls" | "overload" as how]:
            for start in np.flatnonzero(rng.random(blocks) < 0.002).tolist():
                steps = BLOCK_SECONDS * np.arange(min(int(rng.integers(2, 200)), blocks - start))
                # Everything comes at the end, or each block takes longer than it lasts.
                more = steps[::-1] if how == "stalls" else 0.3 * steps
                late[start : start + len(more)] = np.maximum(late[start : start + len(more)], more)
    arrivals: Arrivals = np.maximum.accumulate(times + late)
    return arrivals


def losses(clock: CaptureClock, arrivals: Arrivals) -> list[tuple[float, float]]:
    """Return the losses that a clock finds, each with its place, in seconds."""
    found = []
    for block, arrived_at in enumerate(arrivals, 1):
        clock.note(block * BLOCK_FRAMES, 100.0 + arrived_at)
        if (place := clock.next_loss()) is not None:
            assert place <= clock.sure_frames
            found.append((place / RATE_HZ, clock.take_losses(place) / RATE_HZ))
    return found


class TestCaptureClock:
    @pytest.mark.parametrize("seed", range(4))
    def test_neither_lateness_nor_lies_move_it(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        clock = CaptureClock(48000)
        for block in range(1, 600):
            arrived_at = 100.0 + block * 0.05
            late_seconds, age_seconds = 0.0, 0.03
            if rng.random() < 0.3:
                late_seconds = float(rng.choice([rng.exponential(0.05), 0.9, 0.0]))
                age_seconds = float(rng.choice([-0.9, 0.0, 0.08]))
            clock.note(block * 2400, arrived_at + late_seconds, age_seconds)
            if block > 10:
                captured_at = arrived_at - 0.03
                assert clock.captured_at(block * 2400) == pytest.approx(captured_at, abs=0.02)
                assert clock.captured_at(0) == pytest.approx(100.0 - 0.03, abs=0.02)
        assert clock.next_loss() is None

    def test_it_is_settled_when_the_last_blocks_agree(self) -> None:
        clock = CaptureClock(48000)
        settled = []
        for block in range(1, 12):  # the first six come all at once
            captured_at = 100.0 + max(block, 6) * 0.05
            clock.note(block * 2400, captured_at)
            settled.append(clock.is_settled)
            assert clock.sure_frames == (block * 2400 if clock.is_settled else 0)
        assert settled == [False] * 9 + [True] * 2
        assert clock.captured_at(0) == pytest.approx(100.0)

    def test_blocks_that_never_agree_are_believed_in_the_end(self) -> None:
        rng, clock = np.random.default_rng(0), CaptureClock(RATE_HZ)
        assert losses(clock, jittered("none", 60, 0) + rng.uniform(0.0, 0.05, 60)) == []
        assert clock.is_settled

    def test_what_lies_in_the_future_stays_there(self) -> None:
        clock = CaptureClock(48000)
        assert clock.captured_at(0) == 0.0
        clock.note(2400, time.monotonic(), age_seconds=-0.05)
        assert clock.captured_at(2400) > time.monotonic()

    @pytest.mark.parametrize("kind", [*KINDS, "overload", "wakes 1.5", "drift 900"])
    def test_minutes_of_lateness_are_no_loss(self, kind: str) -> None:
        clock, arrivals = CaptureClock(RATE_HZ), jittered(kind, 24000, 0)
        assert losses(clock, arrivals) == []
        if kind.startswith("drift"):
            captured_at = clock.captured_at(len(arrivals) * BLOCK_FRAMES)
            assert captured_at == pytest.approx(100.0 + arrivals[-1], abs=0.01)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("lost_seconds", [0.04, 0.16, 2.65, 33.0])
    @pytest.mark.parametrize("seed", range(2))
    def test_lateness_that_stays_is_a_loss(self, kind: str, lost_seconds: float, seed: int) -> None:
        lost_blocks, at = int(lost_seconds / BLOCK_SECONDS), 1200
        arrivals = jittered(kind, 2400 + lost_blocks, seed)
        rest = lost_seconds - lost_blocks * BLOCK_SECONDS
        arrivals = np.append(arrivals[:at], arrivals[at + lost_blocks :] + rest)
        clock = CaptureClock(RATE_HZ)
        found = losses(clock, arrivals)
        assert sum(seconds for _, seconds in found) == pytest.approx(lost_seconds, abs=0.05)
        assert all(-0.1 < place - at * BLOCK_SECONDS < 10.0 for place, _ in found)
        if found and (kind == "calm" or kind.startswith("drift")):
            assert [place for place, _ in found] == [at * BLOCK_SECONDS]
            captured_at = clock.captured_at(len(arrivals) * BLOCK_FRAMES)
            assert captured_at == pytest.approx(100.0 + arrivals[-1], abs=0.02)

    @pytest.mark.parametrize("shift_seconds", [0.2, -0.2])
    def test_a_longer_way_that_ends_counts_once(self, shift_seconds: float) -> None:
        """The way from the device is longer or shorter for a while, and 3 s are lost later."""
        arrivals = jittered("calm", 1000, 0)
        arrivals[300:600] += shift_seconds
        arrivals[800:] += 3.0
        found = losses(CaptureClock(RATE_HZ), arrivals)
        assert sum(seconds for _, seconds in found) == pytest.approx(3.0, abs=0.02)


def noise(frames: int, channels: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (frames, channels)).astype(np.float32)


def gathered(source: FileSource | RawSource) -> NDArray[np.generic]:
    with source:
        blocks: list[Block] = list(source)
    assert is_accounted(source.counters)
    samples: NDArray[np.generic] = np.concatenate([block.samples for block in blocks])
    assert source.counters.processed == len(samples)
    return samples


class TestFile:
    def test_realtime_gives_no_sample_before_its_time(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", noise(8000, 1), 16000)
        with FileSource(tmp_path / "a.wav", "realtime") as source:
            started_at, frames, begun = time.monotonic(), 0, set()
            for block in source:
                frames += len(block.samples)
                assert block.end_captured_at is not None
                assert time.monotonic() >= block.end_captured_at
                begun.add(round(block.end_captured_at - frames / 16000, 6))
        assert len(begun) == 1
        assert started_at <= begun.pop() <= time.monotonic() - 0.5

    def test_close_ends_a_paced_iteration_from_another_thread(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", noise(160000, 1), 16000)
        with FileSource(tmp_path / "a.wav", "realtime") as source:
            threading.Timer(0.2, source.close).start()
            started_at = time.monotonic()
            for _ in source:
                pass
        assert time.monotonic() - started_at < 5.0  # of the ten that it lasts

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda path: None, "No such file"),
            (Path.mkdir, "is a folder"),
            (os.mkfifo, "no ordinary file"),  # it would be waited for
            (Path.touch, "empty"),
            (lambda path: path.write_bytes(b"RIFF"), "no audio that can be read"),
            (lambda path: soundfile.write(path, noise(0, 1), 16000), "0 samples"),
        ],
    )
    def test_says_what_is_wrong_with_a_file(
        self, tmp_path: Path, make: Callable[[Path], object], words: str
    ) -> None:
        path = tmp_path / "talk.wav"
        make(path)
        with pytest.raises(SerError, match=words) as caught:
            gathered(FileSource(path))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


CONTAINERS = ("WAV PCM_16", "WAV FLOAT", "FLAC PCM_24", "OGG VORBIS", "MP3 MPEG_LAYER_III")


def audio(container: str, frames: int, channels: int) -> bytes:
    """Noise at 44.1 kHz in a container and its codec."""
    (kind, subtype), file = container.split(), io.BytesIO()
    soundfile.write(file, noise(frames, channels), 44100, format=kind, subtype=subtype)
    return file.getvalue()


class TestRaw:
    @pytest.mark.parametrize(("sample_format", "dtype"), [("s16le", "int16"), ("f32le", "float32")])
    def test_bytes_become_numbers_and_what_is_left_is_told(
        self, sample_format: SampleFormat, dtype: str
    ) -> None:
        samples = (noise(10, 2) * 30000).astype(dtype)
        source = RawSource(io.BytesIO(samples.tobytes() + b"abc"), 16000, 2, sample_format)
        got = gathered(source)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, samples)
        assert f"3 of its {2 * samples.itemsize} bytes" in source.notes[0]

    @pytest.mark.parametrize("container", CONTAINERS)
    @pytest.mark.parametrize("channels", [1, 2])
    def test_a_container_is_decoded_as_it_comes(
        self, container: str, channels: int, tmp_path: Path
    ) -> None:
        data, path = audio(container, 12000, channels), tmp_path / "a"
        path.write_bytes(data)
        whole = gathered(FileSource(path))
        for sizes in (itertools.repeat(1, 9000), itertools.repeat(4999), (16, 3, 1000)):
            source = RawSource(Portions(data, sizes))
            np.testing.assert_array_equal(gathered(source), whole)
            assert (source.sample_rate_hz, source.channels, source.notes) == (44100, channels, ())
        source = RawSource(io.BytesIO(data), 8000, 5, "f32le")
        np.testing.assert_array_equal(gathered(source), whole)
        assert f"of 44100 Hz and {channels} channel" in source.notes[0]

    @pytest.mark.parametrize("container", ["RAW PCM_16", *CONTAINERS])
    def test_the_first_samples_come_while_the_writer_goes_on(self, container: str) -> None:
        reader, writer = os.pipe()
        with open(reader, "rb") as stream, open(writer, "wb", buffering=0) as pipe:  # noqa: PTH123
            pipe.write(audio(container, 400000, 1)[: 16 if "RAW" in container else 60000])
            with RawSource(stream) as source:
                assert len(next(iter(source)).samples) > 0

    @pytest.mark.parametrize("head", [b".snd\0\0\0\x18", b"\x1a\x45\xdf\xa3"])
    def test_other_containers_are_refused_with_advice(self, head: bytes) -> None:
        with pytest.raises(SerError, match=r"^stdin: (AU|Matroska).*ffmpeg -i FILE -f wav - \|"):
            gathered(RawSource(io.BytesIO(head + bytes(100))))

    @hypothesis.given(st.sampled_from((b"", b"\xff\xfb\x90\x64", b"RIFF")), st.integers(0, 2**32))
    def test_raw_samples_are_never_taken_for_a_container(self, head: bytes, seed: int) -> None:
        for shift in range(0, 15, 3):
            values = np.random.default_rng(seed).integers(-32768, 32768, 5000) >> shift
            data = head + values.astype("<i2").tobytes()
            assert gathered(RawSource(io.BytesIO(data))).tobytes() == data

    def test_refuses_a_terminal(self) -> None:
        leader, follower = os.openpty()
        with (
            os.fdopen(leader, "rb", buffering=0),
            os.fdopen(follower, "rb", buffering=0) as terminal,
            pytest.raises(SerError, match="is a terminal"),
            RawSource(terminal),
        ):
            pass


@pytest.fixture
def portaudio(fake_sounddevice: Any) -> Any:
    """An output and three inputs."""
    fake_sounddevice.devices = [
        ("HDMI output", 0), ("Built-in Audio", 2), ("USB Headset Mono", 1), ("USB Camera", 2),
    ]  # fmt: skip
    fake_sounddevice.default.device = (1, 0)
    fake_sounddevice.default_rate_hz = 44100.0
    return fake_sounddevice


def wait_for_failure(stream: DeviceStream) -> None:
    deadline = time.monotonic() + 10.0
    while stream.failure is None and time.monotonic() < deadline:
        stream.wait(1.0)  # a failure ends it


class TestDevice:
    """Device stream of the capture process, in this one."""

    def test_gives_every_frame_in_order(self, portaudio: Any) -> None:
        portaudio.overflows = {3}
        stream = DeviceStream(devices.find_input_device(None))
        assert (stream.name, stream.sample_rate_hz, stream.channels) == ("Built-in Audio", 44100, 2)
        stream.start()
        position = overruns = 0
        while position <= 44100:
            stream.wait(1.0)
            for audio in stream.audio():
                np.testing.assert_array_equal(audio.samples, numbered(position, len(audio.samples)))
                position += len(audio.samples)
                overruns += audio.overruns
                # A block that came late moves the estimate of those after it.
                assert -0.05 < time.monotonic() - audio.captured_at < 1.0
        assert overruns == 1
        assert stream.callback_latency().count >= 10
        assert stream.failure is None

    def test_frames_wait_until_it_is_sure_where_they_stand(
        self, portaudio: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The process stands still for 3 s, of which the device keeps 1 s."""
        stream = DeviceStream(devices.find_input_device(None))
        size, times = 2205, SimpleNamespace(currentTime=0.0, inputBufferAdcTime=0.0)
        arrivals = 0.05 * np.arange(1, 141)
        arrivals[60:80] = arrivals[60] + 3.0
        arrivals[80:] += 2.0
        position = missing = 0
        alive = []
        for block, now in enumerate(arrivals):
            clock = SimpleNamespace(monotonic=lambda now=now: now, perf_counter=time.perf_counter)
            monkeypatch.setattr("ser_live.sources.capture_worker.time", clock)
            samples = numbered(block * size, size)
            stream._callback(samples, size, times, SimpleNamespace(input_overflow=False))
            sent = list(stream.audio())
            for audio in sent:
                if audio.missing_frames:
                    missing += audio.missing_frames
                    assert position == pytest.approx(80 * size, abs=size)
                np.testing.assert_array_equal(audio.samples, numbered(position, len(audio.samples)))
                position += len(audio.samples)
                captured_at = (position + missing) / 44100
                assert audio.captured_at == pytest.approx(captured_at, abs=0.001)
            alive.append(len(sent) > 0)
        assert stream.failure is None
        assert position == 140 * size
        assert missing == pytest.approx(2.0 * 44100, abs=2)
        assert all(alive[31:])  # else it would be taken for lost

    def test_what_came_before_the_device_ended_is_there(self, portaudio: Any) -> None:
        portaudio.last_block = 2
        stream = DeviceStream(devices.find_input_device(None))
        stream.start()
        wait_for_failure(stream)
        assert stream.failure == "the device is gone"
        assert sum(len(audio.samples) for audio in stream.audio()) == 3 * 2205

    @pytest.mark.parametrize(
        ("asked", "tried"),
        [
            ((None, None), [(44100, 2), (44100, 1), (48000, 2), (48000, 1)]),
            ((16000, 1), [(16000, 1)]),
            ((16000, 1), [(16000, 1), (16000, 2), (44100, 1)]),
        ],
        ids=["its own first", "what is asked for first", "its own if that is refused"],
    )
    def test_formats_are_tried_in_order(
        self, portaudio: Any, asked: tuple[int | None, int | None], tried: list[tuple[int, int]]
    ) -> None:
        portaudio.refused = set(tried[:-1])
        stream = DeviceStream(devices.find_input_device(None), *asked)
        assert portaudio.tried == tried
        assert (stream.sample_rate_hz, stream.channels) == tried[-1]

    def test_says_what_it_tried(self, portaudio: Any) -> None:
        portaudio.refused = {(r, c) for r in (44100, 48000, 16000) for c in (1, 2)}
        with pytest.raises(SerError, match="access to the microphone denied") as caught:
            DeviceStream(devices.find_input_device("built-in"))
        for words in ("1 'Built-in Audio'", "48000 Hz x 1", "16000 Hz x 2", "-9997"):
            assert words in str(caught.value)

    def test_a_failure_in_the_callback_is_kept(self, portaudio: Any) -> None:
        portaudio.broken_block = 5
        stream = DeviceStream(devices.find_input_device(None))
        stream.start()
        wait_for_failure(stream)
        assert "capture failed (ValueError: " in str(stream.failure)

    def test_devices_come_with_the_rates_that_they_accept(self, portaudio: Any) -> None:
        portaudio.refused = {(8000, 2), (96000, 1), (96000, 2)}
        found = devices.portaudio_inputs(with_rates=True)
        assert [(d.index, d.name, d.channels, d.is_default) for d in found] == [
            (1, "Built-in Audio", 2, True),
            (2, "USB Headset Mono", 1, False),
            (3, "USB Camera", 2, False),
        ]
        assert found[0].rates_hz == (16000, 22050, 32000, 44100, 48000)
        assert found[1].rates_hz == (8000, 16000, 22050, 32000, 44100, 48000)

    @pytest.mark.parametrize(
        ("wanted", "name"),
        [
            (None, "Built-in Audio"),
            (2, "USB Headset Mono"),
            ("3", "USB Camera"),
            ("camera", "USB Camera"),
        ],
    )
    def test_finds_devices(self, portaudio: Any, wanted: str | int | None, name: str) -> None:
        assert devices.find_input_device(wanted).name == name

    @pytest.mark.parametrize(
        ("wanted", "words"),
        [
            ("usb", "fits 2 'USB Headset Mono', 3 'USB Camera'"),
            ("gramophone", "no input device 'gramophone'; there is 1 'Built-in"),
            (0, "no input device 0"),
        ],
    )
    def test_lists_devices_when_none_is_meant(
        self, portaudio: Any, wanted: str | int, words: str
    ) -> None:
        with pytest.raises(SerError, match=words):
            devices.find_input_device(wanted)

    def test_without_any_input_it_lists_what_there_is(self, portaudio: Any) -> None:
        portaudio.devices = [("HDMI output", 0)]
        with pytest.raises(SerError, match=r"no input device.*only outputs: 0 'HDMI output'"):
            devices.find_input_device(None)


def test_without_portaudio_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_AUDIO", "missing")
    monkeypatch.syspath_prepend(FAKE_AUDIO)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(shutil, "which", lambda tool: tool == "dnf" or None)
    with pytest.raises(SerError, match=r"dnf install portaudio.*--demo work without it"):
        devices.portaudio_inputs()
