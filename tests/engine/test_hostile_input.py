"""Strange input at every border: what is allowed works, the rest is refused and leaves no trace."""

import io
import json
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fuzz import attempt, cards, check_message, manifests, models, raw
from fuzz.raw import check_numbers
from helpers.signals import as_format, demo_voice, run
from ser_live import SerError, StreamRecognizer
from ser_live.engine.resample import to_mono
from ser_live.model.classifier import OnnxClassifier
from ser_live.model.onnx_check import check_graph
from ser_live.sources import FileSource, RawSource
from ser_live.sources.containers import container_of
from ser_live.testing import write_tiny_model
from ser_train.corpora import find_clips

Samples = NDArray[Any]

DTYPES = ("int16", "float32", "float64")
RATES_HZ = st.sampled_from((8000, 11025, 16000, 44100, 48000, 192000, 384000)) | st.integers(
    8000, 384000
)


def hostile(count: int, *strategies: st.SearchStrategy[Any]) -> Callable[[Any], Any]:
    """Try some inputs, and forty times as many with the profile `thorough`."""
    examples = count * max(1, settings().max_examples // 25)
    size = settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow])
    return lambda test: size(given(*strategies)(test))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


def pieces(samples: Samples, cuts: Sequence[float]) -> list[Samples]:
    places = sorted(round(cut * len(samples)) for cut in cuts)
    return np.split(samples, places)


# What is allowed.

CUTS = st.lists(st.floats(0, 1), max_size=12) | st.lists(st.floats(0.4, 0.401), max_size=60)


@hostile(7, RATES_HZ, st.integers(1, 3), st.sampled_from(DTYPES), CUTS, st.booleans())
def test_any_chunking_at_any_rate_gives_the_same_predictions(
    model: OnnxClassifier, rate: int, channels: int, dtype: str, cuts: list[float], vad: bool
) -> None:
    samples = as_format(demo_voice(rate, 1.7), channels, dtype)
    whole = run(StreamRecognizer(model, rate, channels, vad=vad), iter([samples]))
    assert {p.label is None for p in whole} == {True, False}
    check_numbers(whole)
    cut = run(StreamRecognizer(model, rate, channels, vad=vad), iter(pieces(samples, cuts)))
    assert cut == whole


STRANGE = st.sampled_from(
    (0.0, -0.0, 1e-45, -1e-42, 1e-38, 1e-20, 1.0, -1.0, 1.0000001, 32768.0, 1e6, -1e6)
)


@hostile(10, st.lists(STRANGE, min_size=1, max_size=5), st.integers(1, 3000), CUTS, st.booleans())
@example([1e6, -1e6], 1, [], True)
@example([1e-45], 1, [], False)
def test_strange_values_give_finite_numbers_in_any_chunks(
    model: OnnxClassifier, values: list[float], run_samples: int, cuts: list[float], vad: bool
) -> None:
    samples = np.resize(np.repeat(np.array(values, np.float32), run_samples), 24000)
    samples[8000:12000] = np.clip(samples[8000:12000] + demo_voice(16000, 0.25, 1.0), -1e6, 1e6)
    whole = run(StreamRecognizer(model, vad=vad), iter([samples]))
    assert len(whole) == 6
    check_numbers(whole)
    assert run(StreamRecognizer(model, vad=vad), iter(pieces(samples, cuts))) == whole


@pytest.mark.parametrize("name", ["emotion", "emotion-light", "issa-ravdess"])
@pytest.mark.parametrize("loudness", [1e-45, 1e-30, 1e-10, 1.0, 1e6])
def test_the_shipped_models_stay_finite_at_any_level(name: str, loudness: float) -> None:
    voice = demo_voice(16000, 1.6)
    samples = (voice / np.abs(voice).max()).astype(np.float64) * loudness
    check_numbers(run(StreamRecognizer(name, vad=False), iter([samples])))


LAYOUTS: dict[str, Callable[[Samples], Any]] = {
    "every second": lambda x: np.repeat(x, 2, axis=0)[::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "by channel": np.asfortranarray,
    "a part of more channels": lambda x: np.concatenate((x, x), axis=1)[:, : x.shape[1]],
    "read-only": lambda x: np.broadcast_to(x, x.shape),
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
    "a masked array": np.ma.masked_array,
    "a list": list,
    "a subclass": lambda x: x.view(type("Mine", (np.ndarray,), {})),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_layout_is_the_same_sound(layout: str, dtype: str) -> None:
    samples = as_format(demo_voice(16000, 0.3, 1.0), 2, dtype)
    expected = to_mono(samples, 2)
    given_samples = LAYOUTS[layout](samples)
    np.testing.assert_array_equal(to_mono(given_samples, 2), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 2])
def test_one_value_may_stand_for_all(dtype: str, channels: int) -> None:
    block = np.broadcast_to(np.array(1, dtype), (500, channels))
    assert block.strides == (0, 0)
    expected = 1 / 32768 if dtype == "int16" else 1.0
    np.testing.assert_array_equal(to_mono(block, channels), np.full(500, expected))


# What is not allowed: the next predictions equal those of a twin that never saw the bad block.

OTHER_DTYPES = ("int8", "uint8", "uint16", "int32", "uint32", "int64", "uint64", "bool", "float16",
                "longdouble", "complex64", "complex128", "object", "S4", "U4", "V8", "M8[s]",
                "m8[s]", "i2,f4")  # fmt: skip


class Raising:
    def __array__(self, *_: object, **__: object) -> Samples:
        raise RuntimeError("no\nsamples \x1b[2J")


SHAPES = {"flat": (700,), "three channels": (700, 3), "cube": (7, 2, 1), "nothing": (), "0": (2, 0)}
BAD: dict[str, Any] = {
    **{f"dtype {name}": np.zeros((700, 2), name) for name in OTHER_DTYPES},
    **{f"shape {name}": np.zeros(shape, np.float32) for name, shape in SHAPES.items()},
    "swapped axes": np.zeros((2, 700), np.float32),
    "ragged": [[0.0, 0.0], [0.0]],
    "text": "samples",
    "None": None,
    "a raising object": Raising(),
    "a dictionary": {"samples": [0.0]},
}


def check_refused(model: OnnxClassifier, bad: Any, before: int, message: str) -> None:
    voice = as_format(demo_voice(16000, 1.5), 2, "float32")
    stranger, twin = (StreamRecognizer(model, channels=2) for _ in range(2))
    first = stranger.process(voice[:before])
    counted = stranger.stats.samples_in
    with pytest.raises(SerError, match=message) as caught:
        stranger.process(bad)
    check_message(caught.value)
    assert stranger.stats.samples_in == counted
    rest = stranger.process(voice[before:]) + stranger.flush()
    assert first + rest == run(twin, iter([voice]))


@pytest.mark.parametrize("bad", BAD.values(), ids=list(BAD))
def test_what_is_no_sound_leaves_no_trace(model: OnnxClassifier, bad: Any) -> None:
    wanted = r"^samples (are|have shape) .*[,;] wanted (int16, float32 or float64|\(n, 2\))$"
    check_refused(model, bad, 17000, wanted)


@hostile(
    6,
    st.sampled_from((math.nan, math.inf, -math.inf, 1.1e6, -3.4028235e38)),
    st.sampled_from(("float32", "float64")),
    st.integers(0, 1599),
    st.integers(0, 24000),
)
def test_one_bad_number_anywhere_leaves_no_trace(
    model: OnnxClassifier, value: float, dtype: str, at: int, before: int
) -> None:
    message = (
        "samples reach .*, wanted floats in" if math.isfinite(value) else "hold NaN or infinity"
    )
    block = as_format(demo_voice(16000, 0.05, 1.0), 2, dtype)
    block.flat[at] = value
    check_refused(model, block, before, message)


@pytest.mark.parametrize(
    ("rate", "channels"),
    [
        *((rate, 1) for rate in (7999, 384001, 0, -1, 16000.0, "16000", None, True, 2**80)),
        *((16000, channels) for channels in (0, 65, 1.0, "1", None, True)),
    ],
)
def test_formats_that_no_stream_has(model: OnnxClassifier, rate: Any, channels: Any) -> None:
    with pytest.raises(SerError, match="wanted a whole number from") as caught:
        StreamRecognizer(model, sample_rate_hz=rate, channels=channels)
    check_message(caught.value)
    with pytest.raises(SerError, match=r"stdin: .*wanted a whole number from"):
        RawSource(io.BytesIO(), rate, channels)


# Sources.


@hostile(
    15,
    st.binary(max_size=300).filter(lambda data: container_of(data) is None),
    st.integers(1, 5),
    st.sampled_from(("s16le", "f32le")),
    st.lists(st.integers(1, 17), max_size=300),
)
def test_bytes_in_any_portions_are_the_same_samples(
    data: bytes, channels: int, sample_format: Any, sizes: list[int]
) -> None:
    dtype = {"s16le": "<i2", "f32le": "<f4"}[sample_format]
    frame_bytes = np.dtype(dtype).itemsize * channels
    whole = len(data) // frame_bytes * frame_bytes
    source = RawSource(raw.Portions(data, sizes), 16000, channels, sample_format)
    if whole == 0:
        with source, pytest.raises(SerError, match="before the first sample"):
            list(source)
        return
    with source:
        blocks = [block.samples for block in source]
    assert np.concatenate(blocks).tobytes() == data[:whole]
    assert bool(source.notes) == (whole < len(data))
    assert source.counters.processed == whole // frame_bytes


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (io.StringIO("text"), "gives 'text', wanted bytes"),
        (open(os.devnull, "rb", buffering=0), "before the first sample"),  # noqa: PTH123, SIM115
    ],
)
def test_streams_that_give_no_samples(stream: Any, message: str) -> None:
    with pytest.raises(SerError, match=message), RawSource(stream, channels=2) as source:
        list(source)


def test_a_closed_stream_is_an_error() -> None:
    stream = io.BytesIO(bytes(100))
    source = RawSource(stream)
    stream.close()
    with pytest.raises(SerError, match="cannot read"):
        source.__enter__()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)

    def write() -> None:
        while not os.get_blocking(reader):
            time.sleep(0.001)
        os.write(writer, bytes(1000))
        os.close(writer)

    threading.Thread(target=write).start()
    with open(reader, "rb") as stream, RawSource(stream) as source:  # noqa: PTH123
        assert sum(len(block.samples) for block in source) == 500


def gathered(source: FileSource) -> Samples:
    with source:
        return np.concatenate([block.samples for block in source])


@hostile(6, RATES_HZ, st.integers(1, 8), st.sampled_from((1, 2, 99, 1000)), st.floats(0, 1))
def test_files_of_any_format_cut_anywhere(
    folder: Path, rate: int, channels: int, frames: int, share: float
) -> None:
    path = folder / "sound.wav"
    sound = np.random.default_rng(frames).uniform(-0.9, 0.9, (frames, channels))
    soundfile.write(path, sound, rate, subtype="FLOAT")
    whole = soundfile.read(path, dtype="float32", always_2d=True)[0]
    source = FileSource(path)
    got = gathered(source)
    assert (source.sample_rate_hz, source.channels, source.notes) == (rate, channels, ())
    np.testing.assert_array_equal(got, whole)
    data = path.read_bytes()
    path.write_bytes(data[: round(share * len(data))])
    source = FileSource(path)
    part = attempt(gathered, source, begins=f"{path}: ")
    if part is not None:
        np.testing.assert_array_equal(part, whole[: len(part)])
    is_whole = part is not None and len(part) == len(whole)
    assert is_whole == (round(share * len(data)) == len(data))
    is_told = part is not None and len(whole) - len(part) > 0.1 * rate  # less may be padding
    assert bool(source.notes) == is_told


@pytest.mark.parametrize("rate", [1, 4000, 7999, 384001, 2**31 - 1])
def test_files_of_impossible_rates_are_named(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "odd.wav"
    soundfile.write(path, np.zeros(100), 16000)
    data = bytearray(path.read_bytes())
    data[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(data)
    with (
        pytest.raises(SerError, match=rf"odd\.wav: sample_rate_hz is {rate}, wanted .* 384000"),
        FileSource(path),
    ):
        pass


NAMES: list[Any] = ["a" * 5000 + ".wav", "a\0b.wav", "\x1b[2J.wav", "", 3, None, b"a.wav", "."]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:12])
def test_names_that_no_file_has(name: Any) -> None:
    with pytest.raises(SerError) as caught, FileSource(name):
        pass
    check_message(caught.value)


def test_another_pace_is_refused() -> None:
    with pytest.raises(SerError, match="pace is 'slow', wanted realtime or fast"):
        FileSource("a.wav", "slow")  # type: ignore[arg-type]


# Model files.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from((10**400, -(2**63), "\ud800", "\x1b", "x" * 2000)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)  # fmt: skip


@hostile(40, st.randoms(use_true_random=False))
def test_cards_with_any_change(random: Random) -> None:
    cards.check(cards.mutate(random.choice(cards.seeds()), random))


@hostile(15, JSON.map(json.dumps) | st.text())
def test_any_text_as_a_card(text: str) -> None:
    cards.check(text.encode())


@hostile(
    20,
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=4),
    st.floats(0.5, 1) | st.just(1.0),
)
def test_damaged_model_files_are_refused_or_work(
    folder: Path, damage: list[tuple[float, int]], share: float
) -> None:
    data = bytearray(write_tiny_model(folder / "whole.onnx").read_bytes())
    for place, byte in damage:
        data[round(place * (len(data) - 1))] = byte
    models.check(bytes(data[: round(share * len(data))]))


@hostile(25, st.binary(max_size=200))
def test_any_bytes_as_a_graph(data: bytes) -> None:
    attempt(check_graph, data, "file.onnx", begins="file.onnx: ")
    graph = b"\x3a" + bytes([min(len(data), 127)]) + data
    attempt(check_graph, graph, "file.onnx", begins="file.onnx: ")


# Tables of recordings.

CELLS = st.text(max_size=6) | st.sampled_from(
    ("happy", "a.wav", "", '"', "\x1b[2J", "\0", "\ud7ff")
)


@hostile(
    15,
    st.sampled_from(("path,label,speaker", "speaker,label,path,path", "path;label;speaker", "")),
    st.lists(st.lists(CELLS, max_size=4).map(",".join), max_size=4).map("\n".join),
    st.sampled_from(("utf-8", "utf-16", "utf-8-sig")),
)
def test_any_text_as_a_manifest(head: str, rows: str, encoding: str) -> None:
    manifests.check(f"{head}\n{rows}".encode(encoding))


@pytest.mark.parametrize("name", ["missing", "file.txt", "a\0b", "a" * 5000, "empty"])
def test_folders_without_a_corpus(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(SerError) as caught:
        find_clips(tmp_path / name)
    check_message(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_folder_of_strange_names_is_listed_harmlessly(tmp_path: Path) -> None:
    for name in (b"\xff\xfe", b"\x1b[2J\n", "\u202egpj".encode()):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    with pytest.raises(SerError, match="holds ") as caught:
        find_clips(tmp_path)
    check_message(caught.value)


@pytest.mark.parametrize(
    "table",
    [b"\xff\xfe", b"file_id\temotion\n\0\ta", b"file_id\temotion\tspeaker_id\na.wav\n", b"x\ny"],
)
def test_a_corpus_with_a_damaged_table(tmp_path: Path, table: bytes) -> None:
    (tmp_path / "data.tsv").write_bytes(table)
    (tmp_path / "a.wav").touch()
    with pytest.raises(SerError, match=r"data\.tsv") as caught:
        find_clips(tmp_path)
    check_message(caught.value)
