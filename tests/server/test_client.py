"""The Python client against the real server: what it gives is what the recognizer gives."""

import asyncio
import contextlib
import dataclasses
import doctest
import importlib
import math
import os
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from helpers import serving
from helpers.processes import imported
from ser_live import Event, Prediction, SerError, StreamRecognizer
from ser_live.client import AsyncStream, Item, ServerError, Stream, recognize_file
from ser_live.client.address import Address
from ser_live.client.messages import decode
from ser_live.engine.segments import Segment, Segmenter
from ser_live.server import connection
from ser_live.sources.pcm import decode_samples
from ser_live.stream_protocol import SAMPLE_BYTES, SampleFormat
from ser_live.testing import demo_voice

RATE_HZ = 16000
VOICE: NDArray[np.float32] = demo_voice(RATE_HZ)[: 8 * RATE_HZ]
INTEGERS: NDArray[np.int16] = np.round(VOICE * 32767).astype(np.int16)
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Server]:
    with serving.server() as running:
        yield running


@pytest.fixture(scope="module")
def guarded() -> Iterator[serving.Server]:
    with serving.server("--token", TOKEN, "--max-streams", "1", "--idle-seconds", "2") as running:
        yield running


def offline(samples: NDArray[Any], **options: Any) -> list[Prediction]:
    recognizer = StreamRecognizer(serving.FAST_MODEL, **options)
    return recognizer.process(samples) + recognizer.flush()


def predictions(items: list[Item]) -> list[Prediction]:
    return [item for item in items if isinstance(item, Prediction)]


def sent(server: serving.Server, samples: Any, **options: Any) -> list[Prediction]:
    """Send all samples at once, and return the predictions."""
    with Stream(server.url, **options) as stream:
        stream.send(samples)
        stream.end()
        return predictions(list(stream))


def segments(found: list[Prediction]) -> list[Segment]:
    segmenter = Segmenter()
    return [s for p in found for s in segmenter.process(p)] + segmenter.flush()


@pytest.mark.integration
@pytest.mark.parametrize("block", [160, 7001, len(INTEGERS)])
def test_a_stream_gives_what_the_recognizer_gives(server: serving.Server, block: int) -> None:
    items: list[Item] = []
    with Stream(server.url) as stream:
        assert stream.started.sample_rate_hz == RATE_HZ
        assert stream.started.model.name == serving.FAST_MODEL
        assert stream.started.model.labels == StreamRecognizer(serving.FAST_MODEL).labels
        for start in range(0, len(INTEGERS), block):
            stream.send(INTEGERS[start : start + block])
            items += stream.received()
        stream.end()
        items += stream
        assert list(stream) == []
    assert predictions(items) == offline(INTEGERS)
    assert [i for i in items if isinstance(i, Segment)] == segments(offline(INTEGERS))
    ended = stream.ended
    assert (ended.reason, ended.predictions) == ("end", len(predictions(items)))
    assert ended.received_samples == ended.processed_samples == len(INTEGERS)


@pytest.mark.integration
def test_the_twin_gives_the_same_and_skipped_audio_moves_the_clock(server: serving.Server) -> None:
    first, second = INTEGERS[: 2 * RATE_HZ], INTEGERS[2 * RATE_HZ : 4 * RATE_HZ]
    with Stream(server.url) as stream:
        stream.send(first)
        stream.skip(3 * RATE_HZ)
        stream.send(second)
        stream.end()
        items = list(stream)

    async def main() -> list[Item]:
        async with AsyncStream(server.url) as twin:
            await twin.send(first)
            await twin.skip(3 * RATE_HZ)
            await twin.send(second)
            await twin.end()
            same = [item async for item in twin]
        assert twin.ended == stream.ended
        return same

    assert asyncio.run(main()) == items
    assert [i.kind for i in items if isinstance(i, Event)] == ["gap"]
    assert predictions(items)[-1].end_seconds == pytest.approx(7.0)
    assert stream.ended.skipped_samples == 3 * RATE_HZ


@pytest.mark.integration
def test_another_thread_may_listen(server: serving.Server) -> None:
    with ThreadPoolExecutor() as threads, Stream(server.url) as stream:
        listening = threads.submit(list[Item], stream)
        stream.send(INTEGERS)
        stream.end()
        assert predictions(listening.result(30.0)) == offline(INTEGERS)


@pytest.mark.integration
def test_formats_channels_and_options(server: serving.Server) -> None:
    stereo = np.stack([VOICE, VOICE / 2], axis=1)
    told: dict[str, Any] = {"hop_seconds": 0.5, "smoothing_seconds": 0.0, "vad": False}
    for samples in (stereo, stereo.astype(np.float64)):
        options = {"channels": 2, "format": "f32le", "labels": ["sad", "angry"], **told}
        got = sent(server, samples, **options)
        wanted = offline(stereo, channels=2, **told)
        assert [(p.label, p.confidence) for p in got] == [(p.label, p.confidence) for p in wanted]
        for one, other in zip(got, wanted, strict=True):
            assert one.probabilities == two_of(other.probabilities)
            assert one.raw_probabilities == two_of(other.raw_probabilities)


def two_of(probabilities: Mapping[str, float] | None) -> Mapping[str, float] | None:
    return probabilities and {label: probabilities[label] for label in ("sad", "angry")}


@pytest.mark.integration
def test_bytes_and_integers_in_a_float_stream_are_the_same_audio(server: serving.Server) -> None:
    for samples in (INTEGERS, (INTEGERS / np.float32(32768)).tobytes()):
        assert sent(server, samples, format="f32le") == offline(INTEGERS)


@pytest.mark.integration
def test_channels_apart_are_what_each_gives_alone(server: serving.Server, tmp_path: Path) -> None:
    sides = {"left": INTEGERS, "right": INTEGERS[::-1]}
    stereo = np.stack(list(sides.values()), axis=1)
    wanted = {name: offline(samples) for name, samples in sides.items()}
    with Stream(server.url, channels=2, use_channels="split") as stream:
        for start in range(0, len(stereo), 7001):
            stream.send(stereo[start : start + 7001])
        stream.end()
        items = list(stream)
    soundfile.write(tmp_path / "call.wav", stereo, RATE_HZ)
    posted = recognize_file(tmp_path / "call.wav", server.url, use_channels="split")
    for found in (predictions(items), posted.predictions):
        for name, alone in wanted.items():
            mine = [dataclasses.replace(p, channel=None) for p in found if p.channel == name]
            assert mine == alone
    told = [item for item in items if isinstance(item, Segment)]
    assert sorted(told, key=str) == sorted(posted.segments, key=str)
    assert {segment.channel for segment in told} == {"left", "right"}
    assert stream.ended.predictions == len(predictions(items))
    (right,) = {p.channel for p in sent(server, stereo, channels=2, use_channels="2")}
    assert right == "right"


@pytest.mark.integration
@pytest.mark.parametrize("sample_format", ["alaw", "s24be"])
def test_other_formats_are_what_they_decode_to(
    server: serving.Server, sample_format: SampleFormat
) -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, 2 * 8000 * SAMPLE_BYTES[sample_format]).astype(np.uint8).tobytes()
    samples = decode_samples(data, sample_format)
    wanted = offline(samples, sample_rate_hz=8000, vad=False)
    got = sent(server, data, sample_rate_hz=8000, format=sample_format, vad=False)
    assert got == wanted


@pytest.mark.integration
def test_a_file_sent_at_full_speed_keeps_the_servers_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_BURST_SECONDS", 0.2)
    with (
        serving.server("--max-bytes-per-second", "400000", "--max-frame-bytes", "20000") as slow,
        Stream(slow.url) as stream,
    ):
        for start in range(0, 40 * 200, 40):  # the smallest messages count for more
            stream.send(INTEGERS[start : start + 40])
        stream.send(INTEGERS)
        stream.end()
        list(stream)
    assert stream.ended.reason == "end"
    assert stream.ended.dropped_samples == 0


@pytest.mark.integration
def test_a_mistake_that_is_not_fatal_may_be_caught(server: serving.Server) -> None:
    with Stream(server.url) as stream:
        stream._links[-1].connection.send(b"odd")
        with pytest.raises(ServerError, match="bad_frame") as caught:
            next(stream)
        assert (caught.value.code, caught.value.is_fatal) == ("bad_frame", False)
        stream.send(INTEGERS)
        stream.end()
        assert predictions(list(stream)) == offline(INTEGERS)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"model": "nonesuch"}, "unknown_model"),
        ({"labels": ["bored"]}, "bad_option"),
        ({"channels": "x"}, "bad_message"),
        ({"use_channels": "both"}, "bad_option"),
        ({"use_channels": "right"}, "bad_option"),
        ({"use_channels": "split", "channels": 9}, "bad_option"),
    ],
)
def test_what_the_server_refuses(server: serving.Server, options: Any, code: str) -> None:
    with pytest.raises(ServerError) as caught, Stream(server.url, **options):
        pass
    assert caught.value.code == code
    assert caught.value.is_fatal
    assert "\n" not in str(caught.value)

    async def twin() -> None:
        async with AsyncStream(server.url, **options):
            pass

    with pytest.raises(ServerError, match=code):
        asyncio.run(twin())


@pytest.mark.parametrize(
    ("samples", "options", "words"),
    [
        (VOICE, {}, "announced as s16le"),
        (INTEGERS.astype(np.int32), {"format": "f32le"}, "wanted int16, float32 or float64"),
        (INTEGERS[None, None], {}, r"wanted \(n, 1\) or \(n,\)"),
        (INTEGERS, {"channels": 2}, r"wanted \(n, 2\)"),
        (np.stack([INTEGERS] * 3, axis=1), {"channels": 2}, r"wanted \(n, 2\)"),
        (b"odd", {}, "no whole number of samples"),
        (INTEGERS, {"format": "mulaw"}, "announced as mulaw; give bytes"),
    ],
)
def test_samples_that_were_not_announced_never_leave(
    samples: Any, options: Any, words: str
) -> None:
    with pytest.raises(SerError, match=words):
        Stream("http://127.0.0.1", **options).send(samples)


@pytest.mark.integration
def test_the_door(guarded: serving.Server) -> None:
    for wrong in (None, "wrong"):
        with pytest.raises(ServerError, match="token") as caught:
            Stream(guarded.url, token=wrong).__enter__()
        assert caught.value.code == "unauthorized"
    with Stream(f"{guarded.url}/#token={TOKEN}") as stream:
        assert stream.started.stream_id
        with pytest.raises(ServerError) as caught:
            Stream(guarded.url, token=TOKEN).__enter__()
        assert caught.value.code == "overloaded"


@pytest.mark.integration
def test_the_close_reason_reaches_the_reader_and_the_sender(guarded: serving.Server) -> None:
    with Stream(guarded.url, token=TOKEN) as stream:
        stream.send(INTEGERS[:16000])
        with pytest.raises(ServerError, match="idle"):
            predictions(list(stream))
        assert list(stream) == []
        assert stream.ended.reason == "idle"
        with pytest.raises(ServerError) as caught:
            stream.send(np.tile(INTEGERS, 100))
        assert caught.value.code == "idle"


@pytest.mark.integration
def test_a_recording_over_http(server: serving.Server, tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    soundfile.write(path, INTEGERS, RATE_HZ)
    heard = recognize_file(path, server.url)
    assert list(heard.predictions) == offline(INTEGERS)
    assert list(heard.segments) == segments(offline(INTEGERS))
    assert (heard.model, heard.sample_rate_hz, heard.channels) == (serving.FAST_MODEL, RATE_HZ, 1)
    assert heard.seconds == pytest.approx(len(INTEGERS) / RATE_HZ)
    assert (heard.events, heard.notes) == ((), ())
    coarse = recognize_file(path, server.url, hop_seconds=1.0, vad=False, labels=["sad"])
    wanted = offline(INTEGERS, hop_seconds=1.0, vad=False)
    assert [p.label for p in coarse.predictions] == [p.label for p in wanted]
    assert {*(coarse.predictions[-1].probabilities or ())} == {"sad"}


@pytest.mark.integration
def test_recordings_that_are_refused(
    server: serving.Server, guarded: serving.Server, tmp_path: Path
) -> None:
    noise, good = tmp_path / "noise.wav", tmp_path / "good.wav"
    noise.write_bytes(os.urandom(2000))
    soundfile.write(good, INTEGERS, RATE_HZ)
    for path, options, code in (
        (noise, {}, "no_audio"),
        (good, {"model": "nonesuch"}, "not_found"),
        (good, {"hop_seconds": -1.0}, "bad_option"),
    ):
        with pytest.raises(ServerError) as caught:
            recognize_file(path, server.url, **options)
        assert caught.value.code == code
    with pytest.raises(ServerError, match="unauthorized"):
        recognize_file(good, guarded.url)
    assert recognize_file(good, guarded.url, token=TOKEN).model == serving.FAST_MODEL
    with pytest.raises(SerError, match="cannot read it"):
        recognize_file(tmp_path / "nothing.wav", server.url)


@pytest.mark.integration
def test_a_recording_that_is_too_large_hears_why(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.tile(INTEGERS, 20), RATE_HZ)
    with serving.server("--max-upload-bytes", "100000") as small:
        with pytest.raises(ServerError) as caught:
            recognize_file(path, small.url)
        assert caught.value.code == "too_large"


@pytest.mark.integration
def test_a_recording_may_come_through_a_pipe(server: serving.Server, tmp_path: Path) -> None:
    path, pipe = tmp_path / "talk.wav", tmp_path / "pipe"
    soundfile.write(path, INTEGERS, RATE_HZ)
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as threads:
        threads.submit(pipe.write_bytes, path.read_bytes())
        assert list(recognize_file(pipe, server.url).predictions) == offline(INTEGERS)


_BEGUN = b"""{"type": "started", "stream_id": "1", "sample_rate_hz": 16000, "channels": 1, \
"hop_seconds": 0.25, "window_seconds": 5.0, "smoothing_seconds": 1.0, "vad": true, \
"prior": "even", "delay_seconds": 0.5, "limits": {}, \
"model": {"name": "m", "labels": ["a", "b"], "licence": ""}}
{"type": "event", "event": "input_silent", "at_seconds": 1.0, "detail": "silent"}
"""


@pytest.mark.integration
@pytest.mark.parametrize("body", [_BEGUN, _BEGUN[:-9], _BEGUN[:-80]])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_an_answer_that_is_cut_is_a_lost_connection(
    tmp_path: Path, body: bytes, is_chunked: bool
) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(b"RIFF")
    head = b"HTTP/1.1 200 OK\r\n"
    if is_chunked:
        head, body = head + b"Transfer-Encoding: chunked\r\n", b"%x\r\n" % len(body) + body
    with ThreadPoolExecutor() as threads, socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            with other.accept()[0] as line:
                told = b""
                while not told.endswith(b"\r\n\r\nRIFF"):
                    told += line.recv(4096)
                line.sendall(head + b"\r\n" + body)

        threads.submit(answer)
        with pytest.raises(ServerError, match="connection was lost before") as caught:
            recognize_file(path, f"http://127.0.0.1:{other.getsockname()[1]}")
        assert caught.value.code == "connection_lost"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        *[({"timeout_seconds": bad}, "timeout_seconds is") for bad in (0, -1, "x", math.inf)],
        ({"token": "a\nb"}, "the token has"),
        ({"token": "\N{SNOWMAN}"}, "the token has"),
        ({"labels": 5}, "the options of the stream are|labels"),
        ({"prior": object()}, "the options of the"),
        ({"prior": {"happy": object()}}, "the options of the"),
    ],
)
def test_options_that_cannot_be_sent(options: Any, told: str) -> None:
    with pytest.raises(SerError, match=told):
        Stream(**options)._start_message()
    if "labels" not in options:  # of which any text may be sent
        with pytest.raises(SerError, match=told):
            recognize_file(__file__, "http://127.0.0.1:9", **options)


@pytest.mark.parametrize("bad", [-1, "x", None, math.nan])
def test_no_reconnecting_for_less_than_no_time(bad: Any) -> None:
    with pytest.raises(SerError, match=r"reconnect_seconds is .* wanted 0 to inf"):
        Stream(reconnect_seconds=bad)


@pytest.mark.integration
def test_no_server_is_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SerError, match="cannot reach the server"):
            Stream(server).__enter__()
        with pytest.raises(SerError, match="cannot reach the server"):
            recognize_file(__file__, server)


@pytest.mark.integration
def test_another_program_is_there() -> None:
    with ThreadPoolExecutor() as threads, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def answer() -> None:
            for _ in range(2):
                with other.accept()[0] as line:
                    line.recv(4096)
                    line.sendall(b"220 mail.example ESMTP\r\n")

        threads.submit(answer)
        server = f"http://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(SerError, match="is that a server of ser-live"):
            Stream(server).__enter__()
        with pytest.raises(SerError):
            recognize_file(__file__, server)


@pytest.mark.integration
def test_a_stream_goes_on_where_its_server_is_replaced() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        options = ("--port", free.getsockname()[1], "--drain-seconds", 0)
    half = 4 * RATE_HZ + 100
    recognizer = StreamRecognizer(serving.FAST_MODEL)
    recognizer.skip(half)
    after = recognizer.process(INTEGERS[half:]) + recognizer.flush()
    with contextlib.ExitStack() as open_ones:
        with serving.server(*options) as old:
            stream = open_ones.enter_context(Stream(old.url, reconnect_seconds=60.0))
            stream.send(INTEGERS[:half])
            items: list[Item] = []
            while len(predictions(items)) < 16:
                items.append(next(stream))
        with serving.server(*options):
            for start in range(half, len(INTEGERS), 1600):
                stream.send(INTEGERS[start : start + 1600])
            stream.end()
            items += stream
    assert predictions(items) == offline(INTEGERS[:half]) + after
    (gap,) = [item for item in items if isinstance(item, Event) and item.kind == "gap"]
    assert gap.at_seconds == half / RATE_HZ
    assert gap.detail.startswith("0.000 s are missing")
    assert (stream.ended.skipped_samples, stream.ended.seconds) == (half, 8.0)
    with serving.server(*options) as last, Stream(last.url, reconnect_seconds=0.5) as stream:
        last.running.should_exit = True
        with pytest.raises(SerError, match="cannot reach the server"):
            list(stream)


@pytest.mark.integration
def test_the_server_goes() -> None:
    with serving.process(ends_well=False) as doomed, Stream(doomed.url) as stream:
        stream.send(INTEGERS[:RATE_HZ])
        doomed.process.kill()
        with pytest.raises(ServerError) as caught:
            list(stream)
        assert caught.value.code == "connection_lost"


@pytest.mark.integration
def test_a_server_that_stops_answers_for_what_it_got() -> None:
    with serving.server() as ending, Stream(ending.url) as stream:
        stream.send(INTEGERS)
        first = next(stream)
        ending.running.should_exit = True
        items = [first, *stream]
    assert stream.ended.reason == "draining"
    heard = stream.ended.processed_samples
    assert 0 < heard == stream.ended.received_samples <= len(INTEGERS)
    assert predictions(items) == offline(INTEGERS[:heard])


@pytest.mark.integration
def test_a_stream_goes_on_when_the_server_is_going_to_stop() -> None:
    with serving.server("--drain-seconds", 600) as ending, Stream(ending.url) as stream:
        stream.send(INTEGERS[:RATE_HZ])
        items = [next(stream)]
        ending.running.should_exit = True
        ending.log.wait_for("draining")
        stream.send(INTEGERS[RATE_HZ:])
        stream.end()
        items += stream
    assert stream.ended.reason == "end"
    assert [i.kind for i in items if isinstance(i, Event)] == ["draining"]
    assert predictions(items) == offline(INTEGERS)


@pytest.mark.parametrize(
    ("server", "url", "token"),
    [
        ("http://127.0.0.1:8321", "ws://127.0.0.1:8321/v1/stream", None),
        ("https://voice.example/ser/#token=abc", "wss://voice.example:443/ser/v1/stream", "abc"),
        ("ws://[::1]:80", "ws://[::1]:80/v1/stream", None),
    ],
)
def test_addresses(server: str, url: str, token: str | None) -> None:
    address = Address.parse(server)
    assert (address.stream_url, address.token) == (url, token)
    assert Address.parse(server, "other").token == "other"


@pytest.mark.parametrize("server", ["", "127.0.0.1:8321", "ftp://x", "http://", "http://x:y", None])
def test_no_addresses(server: Any) -> None:
    with pytest.raises(SerError, match="is no address of a server"):
        Address.parse(server)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"type":"hello"}', '{"type":"ended"}', '{"type":"started","model":1}']
)
def test_strange_messages_are_told(text: str) -> None:
    with pytest.raises(SerError, match="is no message of"):
        decode(text)


@pytest.mark.integration
@pytest.mark.parametrize("name", ["", ".stream", ".files"])
def test_examples_run(server: serving.Server, name: str, tmp_path: Path) -> None:
    recording = tmp_path / "talk.wav"
    soundfile.write(recording, INTEGERS, RATE_HZ)
    told = {"server": server.url, "blocks": np.array_split(INTEGERS, 40), "recording": recording}
    done = doctest.testmod(importlib.import_module(f"ser_live.client{name}"), extraglobs=told)
    assert done.attempted >= 2
    assert done.failed == 0


@pytest.mark.integration
def test_importing_it_needs_neither_numpy_nor_websockets(environment: dict[str, str]) -> None:
    needless = ("numpy", "onnxruntime", "websockets", "fastapi")
    assert imported("import ser_live.client", needless, environment) == "[]"
