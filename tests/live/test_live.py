"""The live loop: what reaches the recognizer, and what is said about it."""

import dataclasses
import io
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from helpers.streams import GivenSource
from ser_live import Prediction, SerError, StreamRecognizer, alisten, listen
from ser_live.live.listener import Listener
from ser_live.sources import DEMO_PATH, Block, FileSource, Microphone


def demo_samples(seconds: float) -> tuple[NDArray[np.float32], int]:
    samples, rate = soundfile.read(DEMO_PATH, dtype="float32", always_2d=True)
    return samples[: round(seconds * rate)], rate


def cut(samples: NDArray[np.float32], size: int = 1000) -> list[Block]:
    return [Block(samples[start : start + size]) for start in range(0, len(samples), size)]


def test_a_file_gives_what_the_recognizer_gives(half_demo_file: Path, tiny_model: Path) -> None:
    samples, rate = soundfile.read(half_demo_file, dtype="float32")
    recognizer = StreamRecognizer(model=tiny_model, sample_rate_hz=rate)
    wanted = recognizer.process(samples) + recognizer.flush()
    with listen(half_demo_file, model=tiny_model) as predictions:
        assert predictions.policy == "block"
        assert list(predictions) == wanted
    assert list(listen(str(half_demo_file), model=tiny_model)) == wanted
    assert list(listen(FileSource(half_demo_file), model=tiny_model)) == wanted


def test_a_recognizer_of_another_rate_is_refused(tiny_model: Path) -> None:
    recognizer = StreamRecognizer(model=tiny_model, sample_rate_hz=16000)
    with (
        pytest.raises(SerError, match=r"made for 16000 Hz and 1 channels, demo\.ogg gives 22050"),
        listen(DEMO_PATH, recognizer=recognizer),
    ):
        pass


def test_the_source_is_opened_once_and_closed_at_the_end(tiny_model: Path) -> None:
    samples, rate = demo_samples(1)
    source = GivenSource(cut(samples), rate)
    with Listener[Prediction](source, model=tiny_model) as predictions:
        assert source.opened == 1
        list(predictions)
        assert source.closed >= 1
    assert source.opened == 1


def test_a_model_that_does_not_load_closes_the_source(tmp_path: Path) -> None:
    source = GivenSource([])
    with pytest.raises(SerError, match=r"nothing\.onnx"):
        Listener[Prediction](source, model=tmp_path / "nothing.onnx").__enter__()
    assert source.closed == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_become_zero_and_mark_their_windows(
    tiny_model: Path, bad: float
) -> None:
    samples, rate = demo_samples(16)
    broken, zeroed = samples.copy(), samples.copy()
    gap = slice(round(7.0 * rate), round(7.01 * rate))
    broken[gap] = bad
    zeroed[gap] = 0.0
    kept = broken.copy()
    listener = Listener[Prediction](GivenSource(cut(broken), rate), model=tiny_model)
    got = list(listener)
    np.testing.assert_array_equal(broken, kept)
    wanted = list(Listener[Prediction](GivenSource(cut(zeroed), rate), model=tiny_model))
    assert [dataclasses.replace(p, degraded=False) for p in got] == wanted
    marked = [p for p in got if p.degraded]
    assert len(marked) == listener.stats.degraded >= 2
    for prediction in got:
        covers = prediction.start_seconds < 7.01 and prediction.end_seconds > 7.0
        assert prediction.degraded == covers
    assert listener.stats.replaced_samples == gap.stop - gap.start


@pytest.mark.parametrize(("missing_frames", "overruns"), [(500, 0), (0, 1)])
def test_a_gap_marks_the_windows_that_span_it(
    tiny_model: Path, missing_frames: int, overruns: int
) -> None:
    samples, rate = demo_samples(16)
    blocks = cut(samples, rate // 10)
    blocks[65] = Block(blocks[65].samples, None, missing_frames, overruns)
    for prediction in Listener[Prediction](GivenSource(blocks, rate), model=tiny_model):
        spans = prediction.start_seconds < 6.5 < prediction.end_seconds
        assert prediction.degraded == spans


def test_lag_is_now_minus_the_capture_of_the_last_sample(tiny_model: Path) -> None:
    samples, rate = demo_samples(4)
    now = time.monotonic()
    late_seconds = 5.0
    # Blocks of 0.4 s: the sample at the end of a window lies anywhere in one.
    blocks = [
        dataclasses.replace(block, end_captured_at=now - late_seconds + 0.4 * (index + 1) - 4.0)
        for index, block in enumerate(cut(samples, round(0.4 * rate)))
    ]
    listener = Listener[Prediction](GivenSource(blocks, rate), model=tiny_model)
    predictions = list(listener)[:-1]
    elapsed_seconds = time.monotonic() - now
    for prediction in predictions:
        wanted = late_seconds + 4.0 - prediction.end_seconds
        assert prediction.lag_seconds is not None
        assert wanted - 1e-6 <= prediction.lag_seconds <= wanted + 0.4 + elapsed_seconds
    stages = {stage.name: stage for stage in listener.stats.stages}
    assert stages["queue"].count == len(blocks)
    assert stages["lag"].max_seconds > late_seconds


def test_levels_are_relative_to_full_scale(tiny_model: Path) -> None:
    wave = np.sin(np.arange(16000) / 5)[:, None]
    for samples, clips in (
        ((wave * 16384).astype(np.int16), False),
        ((wave * 0.5).astype(np.float32), False),
        (np.clip(wave * 70000, -32768, 32767).astype(np.int16), True),
    ):
        step = next(Listener[Prediction](GivenSource([Block(samples)]), model=tiny_model).steps())
        assert step.is_clipping == clips
        if not clips:
            assert step.peak == pytest.approx(0.5, abs=0.001)
            assert step.rms == pytest.approx(0.5 / np.sqrt(2), abs=0.001)


@pytest.mark.parametrize("source", [3, object(), io.BytesIO(b"pcm")], ids=type)
@pytest.mark.parametrize("entry", [listen, alisten])
def test_what_is_no_source_is_refused_in_one_line(
    entry: Callable[[object], object], source: object
) -> None:
    with pytest.raises(SerError, match=r"^source is of type \w+, wanted .*$"):
        entry(source)


def test_stats_before_it_is_open_are_refused(tiny_model: Path) -> None:
    listener = listen(DEMO_PATH, model=tiny_model)
    with pytest.raises(SerError, match="open"):
        _ = listener.stats
    with pytest.raises(SerError, match="open"):
        _ = alisten(DEMO_PATH, model=tiny_model).stats
    with listener:
        assert listener.stats.recognizer.predictions == 0
    broken = listen(DEMO_PATH, model=tiny_model.with_name("missing.onnx"))
    with pytest.raises(SerError, match="missing"):
        broken.open()
    with pytest.raises(SerError, match="open"):
        _ = broken.stats


@pytest.mark.parametrize("seconds", [0, -1.0, 1e-9, 1e9, float("nan")])
def test_impossible_buffers_are_refused(seconds: float) -> None:
    with pytest.raises(SerError, match=r"buffer_seconds is .*, wanted 0.5 to 3600"):
        Microphone(buffer_seconds=seconds)


ASYNC = """
import asyncio
from ser_live import alisten
async def listen():
    async for prediction in alisten(*sys.argv[1:2], model=sys.argv[2]):
        return
asyncio.run(listen())
"""
THREAD = """
import threading
import numpy as np
from ser_live import StreamRecognizer
recognizer, heard = StreamRecognizer(sys.argv[2], 44100), threading.Event()
def listen():
    while True:
        recognizer.process(np.zeros(4410))
        heard.set()
threading.Thread(target=listen, daemon=True).start()
heard.wait()
"""


@pytest.mark.integration
@pytest.mark.parametrize("program", [ASYNC, THREAD])
def test_a_program_that_ends_while_a_thread_listens_says_nothing(
    program: str, tiny_model: Path, environment: dict[str, str]
) -> None:
    command = [sys.executable, "-c", f"import sys\n{program}", str(DEMO_PATH), str(tiny_model)]
    for _ in range(3):
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
