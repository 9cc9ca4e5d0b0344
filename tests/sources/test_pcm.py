"""Raw samples in every format: the values that another decoder gives, however they come."""

import io
import itertools
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from fuzz.raw import Portions
from ser_live import SerError, listen
from ser_live.engine.resample import as_float
from ser_live.sources import RawSource, SampleFormat
from ser_live.sources.pcm import decode_samples
from ser_live.stream_protocol import SAMPLE_BYTES

SUBTYPES = {
    "u8": "PCM_U8", "mulaw": "ULAW", "alaw": "ALAW", "s16": "PCM_16", "s24": "PCM_24",
    "s32": "PCM_32", "f32": "FLOAT", "f64": "DOUBLE",
}  # fmt: skip
formats = pytest.mark.parametrize("sample_format", SAMPLE_BYTES)


def every_byte(sample_format: SampleFormat) -> bytes:
    """Return samples that hold each byte at each place; floats are usual ones."""
    rng, size = np.random.default_rng(0), SAMPLE_BYTES[sample_format]
    if sample_format.startswith("f"):
        order = ">" if sample_format.endswith("be") else "<"
        return rng.uniform(-1, 1, 256).astype(f"{order}f{size}").tobytes()
    return np.stack([rng.permutation(256).astype(np.uint8) for _ in range(size)], axis=1).tobytes()


def by_libsndfile(data: bytes, sample_format: str, channels: int = 1) -> NDArray[np.float32]:
    subtype = SUBTYPES.get(sample_format) or SUBTYPES[sample_format[:3]]
    endian = "BIG" if sample_format.endswith("be") else "LITTLE"
    form = {"format": "RAW", "subtype": subtype, "endian": endian, "channels": channels}
    stream = io.BytesIO(data)
    samples, _ = soundfile.read(stream, dtype="float32", samplerate=8000, always_2d=True, **form)
    return np.asarray(samples)


@formats
def test_each_value_is_that_of_another_decoder(sample_format: SampleFormat) -> None:
    data = every_byte(sample_format)
    got = decode_samples(data, sample_format)
    assert got.dtype == (np.int16 if sample_format == "s16le" else np.float32)
    wanted = by_libsndfile(data, sample_format)[:, 0]
    np.testing.assert_array_equal(as_float(got), wanted)
    assert len(np.unique(wanted)) > 250


def test_noise_declared_as_floats_is_decoded_without_a_warning() -> None:
    noise = np.array([np.nan, -np.inf, 1e300]).astype("<f8").tobytes() + bytes(range(248, 256)) * 8
    signalling = np.array([0x7FF0000000000001], "<u8").tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = decode_samples(noise + signalling, "f64le")
    assert not np.isfinite(got[:3]).any()


@formats
def test_bytes_come_in_any_portions(sample_format: SampleFormat) -> None:
    data = every_byte(sample_format)
    data = data[: len(data) // 3 // SAMPLE_BYTES[sample_format] * 3 * SAMPLE_BYTES[sample_format]]
    wanted = by_libsndfile(data, sample_format, 3)
    sizes: list[Iterator[int]] = [itertools.repeat(1), itertools.cycle((7, 2, 100))]
    for portions in sizes:
        source = RawSource(Portions(data + b"\x01", portions), 8000, 3, sample_format)
        with source:
            got = np.concatenate([block.samples for block in source])
        np.testing.assert_array_equal(as_float(got), wanted)
        assert "1 of its" in source.notes[0]


def test_silence_in_mu_law_is_taken_at_once_and_is_no_mp3() -> None:
    class OnceOnly(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            assert self.tell() == 0, "it was asked for more before the first samples were given"
            return super().read1(160)

    with RawSource(OnceOnly(b"\xff" * 800), 8000, 1, "mulaw") as source:
        block = next(iter(source))
    assert not block.samples.any()


def test_an_unknown_format_is_refused_in_one_line() -> None:
    with pytest.raises(SerError, match=r"^stdin: format is 's20le', wanted one of s16le, [^\n]*$"):
        RawSource(io.BytesIO(), sample_format="s20le")  # type: ignore[arg-type]


@pytest.mark.parametrize(("rate_hz", "told"), [(8000, ["input_narrow_band"]), (16000, [])])
def test_a_telephones_band_is_told_once(tiny_model: object, rate_hz: int, told: list[str]) -> None:
    noise = np.random.default_rng(0).integers(90, 166, 3 * rate_hz).astype(np.uint8).tobytes()
    source = RawSource(io.BytesIO(noise), rate_hz, 1, "u8")
    with listen(source, events=True, model=tiny_model) as items:  # type: ignore[call-overload]
        assert [item.kind for item in items if hasattr(item, "kind")] == told
