"""Samples that a program has or gets: the same predictions by every road."""

import asyncio
import io
import itertools
import threading
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from helpers.signals import demo_voice
from ser_live import Event, Prediction, SerError, StreamRecognizer, alisten, listen
from ser_live.sources.push import PushSource

RATE_HZ = 8000
STEREO = (
    np.stack([demo_voice(RATE_HZ, 3.05), demo_voice(RATE_HZ, 3.05, start=1.0)], axis=1) * 32767
).astype(np.int16)
MONO = np.ascontiguousarray(STEREO[:, 0])
Blocks = list[Any]


def cut(samples: NDArray[Any], frames: int = 160) -> list[NDArray[Any]]:
    return [samples[at : at + frames] for at in range(0, len(samples), frames)]


@pytest.fixture(scope="module")
def wanted(tiny_model: Path) -> Callable[[NDArray[Any]], list[Prediction]]:
    def recognize(samples: NDArray[Any]) -> list[Prediction]:
        channels = samples.shape[1] if samples.ndim == 2 else 1
        recognizer = StreamRecognizer(tiny_model, RATE_HZ, channels)
        return recognizer.process(samples) + recognizer.flush()

    return recognize


async def given(blocks: Blocks) -> AsyncIterator[Any]:
    for block in blocks:
        await asyncio.sleep(0)
        yield block


async def asked(source: Any, **options: Any) -> list[Any]:
    async with alisten(source, **options) as live:
        return [item async for item in live]


@pytest.mark.parametrize("samples", [MONO, STEREO], ids=["mono", "stereo"])
def test_arrays_and_blocks_give_what_the_recognizer_gives(
    samples: NDArray[Any],
    tiny_model: Path,
    wanted: Callable[[NDArray[Any]], list[Prediction]],
) -> None:
    expected = wanted(samples)
    floats = samples.astype(np.float64) / 32768
    for source in (
        samples,
        floats,
        cut(samples),
        iter(cut(samples)),
        map(np.asfortranarray, cut(floats)),
    ):
        assert list(listen(source, model=tiny_model, sample_rate_hz=RATE_HZ)) == expected
    options = {"model": tiny_model, "sample_rate_hz": RATE_HZ}
    assert asyncio.run(asked(given(cut(samples)), **options)) == expected
    assert asyncio.run(asked(iter(cut(samples)), **options)) == expected


def test_bytes_are_int16(
    tiny_model: Path, wanted: Callable[[NDArray[Any]], list[Prediction]]
) -> None:
    data = MONO.astype("<i2").tobytes()
    options: dict[str, Any] = {"model": tiny_model, "sample_rate_hz": RATE_HZ}
    for kind in (bytes, bytearray, memoryview):
        parts = [kind(data[: 2 * 2001]), kind(data[2 * 2001 :])]
        assert list(listen(kind(data), **options)) == wanted(MONO)
        assert list(listen(parts, **options)) == wanted(MONO)
    recognizer = StreamRecognizer(tiny_model, RATE_HZ, channels=2)
    got = [
        prediction
        for block, kind in zip(cut(STEREO, 777), itertools.cycle((bytes, bytearray, memoryview)))
        for prediction in recognizer.process(kind(block.astype("<i2").tobytes()))
    ]
    assert got + recognizer.flush() == wanted(STEREO)
    clipped = StreamRecognizer(tiny_model)
    clipped.process(np.array([32767, 0, -32768], "<i2").tobytes())
    assert clipped.stats.clipped_samples == 2
    # One that says what it holds is what it says.
    assert clipped.process(memoryview(array("f", [0.0] * 3))) == []
    with pytest.raises(SerError, match="3 bytes, wanted whole frames of 2: int16 of 1 channel;"):
        clipped.process(bytes(3))


@pytest.mark.parametrize("empty", [b"", np.zeros(0, np.int16)], ids=["bytes", "array"])
def test_empty_blocks_change_nothing(
    empty: Any, tiny_model: Path, wanted: Callable[[NDArray[Any]], list[Prediction]]
) -> None:
    options: dict[str, Any] = {"model": tiny_model, "sample_rate_hz": RATE_HZ}
    # As many samples as whole hops: then nothing else waits where the empty one comes.
    whole = MONO[: 3 * RATE_HZ]
    blocks = [empty, *(part for block in cut(whole, 1000) for part in (block, empty))]
    assert list(listen(blocks, **options)) == wanted(whole)
    assert list(listen([empty, empty], **options)) == []


def test_a_buffer_may_be_used_again(
    tiny_model: Path, wanted: Callable[[NDArray[Any]], list[Prediction]]
) -> None:
    def reused() -> Iterator[NDArray[Any]]:
        buffer = np.empty(160, np.int16)
        for block in cut(MONO):
            buffer[: len(block)] = block
            yield buffer[: len(block)]
            buffer[:] = -1

    assert list(listen(reused(), model=tiny_model, sample_rate_hz=RATE_HZ)) == wanted(MONO)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (MONO, {}, "samples come without a rate; say it, as in sample_rate_hz=16000"),
        (iter(()), {}, "samples come without a rate"),
        ("talk.wav", {"sample_rate_hz": 8000}, "sample_rate_hz is for samples alone"),
        (None, {"sample_rate_hz": 8000}, "sample_rate_hz is for samples alone"),
        (MONO, {"sample_rate_hz": 5}, "sample_rate_hz is 5, wanted a whole number from 8000"),
        (iter(()), {"sample_rate_hz": 8000}, "ended before the first block"),
        (np.zeros(0), {"sample_rate_hz": 8000}, "ended before the first block"),
        (np.zeros((2, 8000)), {"sample_rate_hz": 8000}, "channels is 8000, wanted"),
        (MONO, {"sample_rate_hz": 8000, "cpu_budget": "half"}, "cpu_budget is 'half', wanted a"),
        (MONO, {"sample_rate_hz": 8000, "recognizer": 3}, "recognizer is 3, wanted a StreamRec"),
        (["x"], {"sample_rate_hz": 8000}, "samples are <U1, wanted int16, float32 or float64"),
        ([b"x"], {"sample_rate_hz": 8000}, "samples are 1 bytes, wanted whole frames of 2"),
        ([MONO, STEREO], {"sample_rate_hz": 8000}, r"samples have shape .*, wanted \(n, 1\)"),
        (given([]), {"sample_rate_hz": 8000}, "an asynchronous iterator wants alisten"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_one_line(
    source: Any, options: dict[str, Any], message: str, tiny_model: Path
) -> None:
    with pytest.raises(SerError, match=rf"^.*{message}.*$"):
        list(listen(source, model=tiny_model, **options))


def test_an_iterator_that_never_gives_a_block_is_left(tiny_model: Path) -> None:
    async def silent() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async def leave() -> None:
        live = alisten(silent(), model=tiny_model, sample_rate_hz=8000)
        opening = asyncio.create_task(live.__aenter__())
        await asyncio.sleep(0.05)
        await live.aclose()
        with pytest.raises(SerError):
            await opening

    asyncio.run(leave())
    assert not [t for t in threading.enumerate() if t.name.endswith("(_work)")]


def test_errors_of_an_iterator_come_through(tiny_model: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(1600)
        raise ConnectionError("the call is over")

    with pytest.raises(ConnectionError, match="the call is over"):
        asyncio.run(asked(broken(), model=tiny_model, sample_rate_hz=8000))


class TestPushSource:
    @pytest.mark.parametrize(
        ("dtype", "kind"),
        [
            ("int16", bytes),
            ("<i2", bytearray),
            ("s16be", bytes),
            (np.float32, memoryview),
            (">f8", bytes),
            ("int16", np.asarray),
        ],
    )
    def test_it_gives_what_the_recognizer_gives(
        self,
        dtype: Any,
        kind: Callable[[Any], Any],
        tiny_model: Path,
        wanted: Callable[[NDArray[Any]], list[Prediction]],
    ) -> None:
        source = PushSource(RATE_HZ, 2, dtype, is_live=False, buffer_seconds=0.5)
        numpy_type = ">i2" if dtype == "s16be" else dtype
        is_integer = np.dtype(numpy_type).kind == "i"
        samples = STEREO if is_integer else STEREO / 32768
        data = samples.astype(numpy_type).tobytes()
        # Frames are cut anywhere; arrays are whole.
        pieces: Blocks = [data[at : at + 5001] for at in range(0, len(data), 5001)]
        if kind is np.asarray:
            pieces = cut(samples, 5001)

        def feed() -> None:
            for piece in pieces:
                source.write(kind(piece))
            source.close()

        feeder = threading.Thread(target=feed)
        feeder.start()
        got = list(listen(source, model=tiny_model))
        feeder.join()
        assert got == wanted(STEREO)
        assert source.counters.processed == source.counters.captured == len(STEREO)

    def test_it_is_written_in_the_loop_that_listens(
        self, tiny_model: Path, wanted: Callable[[NDArray[Any]], list[Prediction]]
    ) -> None:
        async def talk() -> list[Any]:
            source = PushSource(RATE_HZ, 2)
            async with alisten(source, model=tiny_model, policy="block") as live:

                async def feed() -> None:
                    for block in cut(STEREO):
                        source.write(block.tobytes())
                        await asyncio.sleep(0)
                    source.close()

                feeding = asyncio.create_task(feed())
                found = [item async for item in live]
                await feeding
                return found

        assert asyncio.run(talk()) == wanted(STEREO)

    def test_many_threads_may_write(self, tiny_model: Path) -> None:
        source = PushSource(RATE_HZ, buffer_seconds=60)

        def feed() -> None:
            for _ in range(50):
                source.write(bytes(2 * 160))

        threads = [threading.Thread(target=feed) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        source.close()
        assert source.counters.captured == 4 * 50 * 160
        assert len(list(listen(source, model=tiny_model, policy="block"))) == 16

    def test_where_the_buffer_runs_over_it_goes_on_with_the_newest(self, tiny_model: Path) -> None:
        source = PushSource(RATE_HZ, buffer_seconds=2.0)
        source.write(MONO)
        source.close()
        listener = listen(source, model=tiny_model, policy="block", events=True)
        gaps = [item for item in listener if isinstance(item, Event) and item.kind == "gap"]
        lost_frames = len(MONO) - RATE_HZ // 4
        assert [gap.detail for gap in gaps] == [f"{lost_frames / RATE_HZ:.3f} s are missing"]
        assert source.counters.dropped == lost_frames

    def test_a_stalled_writer_ends_the_utterance(self, tiny_model: Path) -> None:
        now = [100.0]
        source = PushSource(RATE_HZ, stall_seconds=3.0, clock=lambda: now[0])
        spoken = MONO[: round(1.2 * RATE_HZ)]
        source.write(spoken)
        listener = listen(source, model=tiny_model, events=True, policy="block", vad=False)
        found: list[Any] = [next(listener)]
        now[0] += 3.0  # of silence of the writer
        found += itertools.takewhile(
            lambda item: getattr(item, "kind", "") != "device_lost", listener
        )
        found = [item for item in found if isinstance(item, Prediction)]
        # The last, unfinished hop has its prediction: nothing waits for more samples.
        assert found[-1].end_seconds == pytest.approx(1.2)
        source.write(spoken)
        source.close()
        later = list(listener)
        events = [item.kind for item in later if isinstance(item, Event)]
        assert events == ["device_restored"]
        predictions = [item for item in later if isinstance(item, Prediction)]
        assert predictions[0].start_seconds == pytest.approx(1.2)
        assert source.counters.restarts == 1

    def test_writing_ends_with_the_reader(self, tiny_model: Path) -> None:
        source = PushSource(RATE_HZ, is_live=False, buffer_seconds=0.5)
        with listen(source, model=tiny_model) as predictions:
            source.write(MONO[:4000])
            feeder_error: list[SerError] = []

            def feed() -> None:
                try:
                    source.write(MONO)  # waits for room
                except SerError as error:
                    feeder_error.append(error)

            feeder = threading.Thread(target=feed)
            feeder.start()
            next(predictions)
        feeder.join(timeout=10)
        assert "its reader has gone" in str(feeder_error[0])

    def test_the_rest_of_a_frame_is_told(self, tiny_model: Path) -> None:
        source = PushSource(RATE_HZ, channels=2)
        source.write(bytes(4 * RATE_HZ + 3))
        with pytest.raises(SerError, match="an array after 3 bytes of an unfinished frame"):
            source.write(np.zeros((1, 2)))
        source.close()
        assert len(list(listen(source, model=tiny_model))) == 4
        assert source.notes == ("pushed audio: ended inside a frame; 3 bytes were left over",)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"sample_rate_hz": 1}, "sample_rate_hz is 1, wanted"),
            ({"channels": 0}, "channels is 0, wanted"),
            ({"dtype": "int8"}, "dtype is 'int8', wanted int16"),
            ({"dtype": "nonsense"}, "dtype is 'nonsense', wanted int16"),
            ({"dtype": None}, "dtype is None, wanted int16"),
            ({"buffer_seconds": 0}, "buffer_seconds is 0, wanted"),
            ({"buffer_seconds": "ten"}, "buffer_seconds is 'ten', wanted"),
            ({"stall_seconds": float("nan")}, "stall_seconds is nan, wanted"),
            ({"stall_seconds": None}, "stall_seconds is None, wanted"),
        ],
    )
    def test_what_cannot_be_is_told_in_one_line(
        self, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(SerError, match=rf"^{message}.*$"):
            PushSource(**{"sample_rate_hz": RATE_HZ, **options})


def test_a_recording_gives_the_same_as_its_samples(
    tiny_model: Path, tmp_path: Path, wanted: Callable[[NDArray[Any]], list[Prediction]]
) -> None:
    soundfile.write(tmp_path / "talk.wav", STEREO, RATE_HZ)
    assert list(listen(tmp_path / "talk.wav", model=tiny_model)) == wanted(STEREO)
    with pytest.raises(SerError, match="source is of type BytesIO"):
        listen(io.BytesIO())
