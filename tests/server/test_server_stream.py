"""A stream over a real socket gives what the recognizer gives, and says what is wrong."""

import contextlib
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import soxr

from helpers import serving
from helpers.server_talk import (
    END,
    RATE_HZ,
    VOICE,
    blocks,
    connect,
    listen,
    offline,
    start,
    talk,
    timeless,
)
from helpers.serving import recording
from ser_live import StreamRecognizer
from ser_live.output import json_record

pytestmark = pytest.mark.integration

SHORT = VOICE[: 6 * RATE_HZ]


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Server]:
    with serving.server("--max-bytes-per-second", 10**9) as running:
        yield running


def test_socket_and_recording_give_what_the_recognizer_gives(server: serving.Server) -> None:
    wanted = offline(VOICE)
    posted = server.recognized(recording(VOICE, RATE_HZ))
    assert [timeless(p) for p in posted["predictions"]] == wanted
    form = (posted["model"], posted["sample_rate_hz"], posted["channels"])
    assert form == (serving.FAST_MODEL, RATE_HZ, 1)
    for size in (441, 7001, 1 << 18):
        said = talk(server, [start(), *blocks(VOICE, size), END])
        assert said.predictions == wanted
        assert said.segments == posted["segments"]
        assert said.events == posted["events"]
        assert said.close_code == 1000
    assert len(posted["segments"]) >= 3


def test_the_smallest_blocks_and_empty_ones_change_nothing(server: serving.Server) -> None:
    samples = SHORT[: 3 * RATE_HZ]
    sent = [start(), *blocks(samples[:500], 1), b"", *blocks(samples[500:], 17), b"", END]
    said = talk(server, sent)
    assert said.predictions == offline(samples)
    assert said.ended["received_samples"] == said.ended["processed_samples"] == len(samples)
    assert said.ended["predictions"] == len(said.predictions)


def test_stereo_integers_with_options(server: serving.Server) -> None:
    high = soxr.resample(SHORT[:, 0], RATE_HZ, 48000)
    stereo = np.stack([high, 0.5 * high], axis=1)
    integers = (np.clip(stereo, -1, 1) * 32767).astype(np.int16)
    options: dict[str, Any] = {
        "hop_seconds": 0.1,
        "window_seconds": 2.0,
        "smoothing_seconds": 0,
        "vad": False,
        "model": "issa-ravdess",
    }
    form = {"sample_rate_hz": 48000, "channels": 2, "format": "s16le"}
    said = talk(server, [start(**form, **options), *blocks(integers, 4800), END])
    wanted = offline(integers, 48000, **options)
    assert said.predictions == wanted
    started = said.messages[0]
    assert started["model"]["name"] == "issa-ravdess"
    assert (started["hop_seconds"], started["window_seconds"]) == (0.1, 2.0)
    posted = server.recognized(recording(integers, 48000, "PCM_16"), **options)
    assert [timeless(p) for p in posted["predictions"]] == wanted


def test_a_skip_is_a_gap_on_the_timeline(server: serving.Server) -> None:
    before, after, hole = SHORT[:50000], SHORT[50000:], 33333
    skip = json.dumps({"type": "skip", "samples": hole})
    said = talk(server, [start(), *blocks(before, 3000), skip, *blocks(after, 3000), END])
    recognizer = StreamRecognizer(serving.FAST_MODEL, RATE_HZ)
    wanted = recognizer.process(before) + recognizer.skip(hole)
    wanted += recognizer.process(after) + recognizer.flush()
    assert said.predictions == [timeless(json.loads(json.dumps(json_record(p)))) for p in wanted]
    (gap,) = said.events
    assert gap["event"] == "gap"
    assert gap["at_seconds"] == len(before) / RATE_HZ
    assert said.ended["skipped_samples"] == hole
    assert said.ended["seconds"] == pytest.approx((len(SHORT) + hole) / RATE_HZ)


def test_what_is_no_number_becomes_silence_and_is_marked(server: serving.Server) -> None:
    broken = SHORT.copy()
    broken[40000:40010] = np.nan
    broken[40020] = np.inf
    clean = np.where(np.isfinite(broken), broken, 0).astype(np.float32)
    said = talk(server, [start(), *blocks(broken, 2000), END])
    wanted = offline(clean)
    for got, want in zip(said.predictions, wanted, strict=True):
        touched = got["start_seconds"] < 40021 / RATE_HZ and got["end_seconds"] > 40000 / RATE_HZ
        assert got == {**want, "degraded": touched}
    assert any(p["degraded"] for p in said.predictions)
    assert said.ended["replaced_samples"] == 11


def test_wrong_levels_are_told(server: serving.Server) -> None:
    silent = np.zeros((3 * RATE_HZ, 1), np.float32)
    clipping = np.clip(20 * SHORT, -1, 1).astype(np.float32)
    samples = np.concatenate([silent, clipping])
    said = talk(server, [start(), *blocks(samples, 1234), END])
    assert [event["event"] for event in said.events] == ["input_silent", "input_clipping"]
    # A recording may have been edited, with pauses that hold nothing.
    (posted,) = server.recognized(recording(samples, RATE_HZ))["events"]
    assert (posted["event"], posted["at_seconds"]) == ("input_clipping", 4.0)


def test_a_wrong_format_is_told(server: serving.Server) -> None:
    said = talk(server, [start(format="s16le"), *blocks(SHORT, 1001), END])
    (event,) = said.events  # not what such samples seem to be: an offset, clipping
    assert event["detail"].startswith("the samples look like f32le")
    integers = (SHORT * 32767).astype("<i2")[: len(SHORT) // 2 * 2]
    said = talk(server, [start(), *blocks(integers, 1000), END])
    assert "are they integers, declared as floats?" in said.of("error")[0]["detail"]


def test_a_stream_survives_mistakes_and_tells_each(server: serving.Server) -> None:
    huge = np.full((100, 1), 1e9, np.float32).tobytes()
    mistakes: list[tuple[str | bytes, str]] = [
        (b"123", "bad_frame"),
        ("{", "bad_json"),
        ('{"type": "dance"}', "bad_message"),
        (start(), "wrong_order"),
        ('{"type": "skip", "samples": -1}', "bad_message"),
        (huge, "bad_frame"),
    ]
    sent: list[str | bytes] = [start()]
    for (mistake, _), block in zip(mistakes, blocks(SHORT, -(-len(SHORT) // 6)), strict=True):
        sent += [block, mistake]
    said = talk(server, [*sent, END])
    assert [error["code"] for error in said.of("error")] == [code for _, code in mistakes]
    assert not any(error["fatal"] for error in said.of("error"))
    assert said.predictions == offline(SHORT)
    ended = said.ended
    assert ended["dropped_samples"] == 100
    assert ended["received_samples"] == ended["processed_samples"] + 100


def test_sixteen_mistakes_end_it_with_everything_answered(server: serving.Server) -> None:
    odd: list[str | bytes] = [b"odd"] * 20
    said = talk(server, [start(), *blocks(SHORT, 5000), *odd])
    assert said.close_code == 4400
    assert [error["fatal"] for error in said.of("error")] == [False] * 15 + [True]
    assert said.predictions == offline(SHORT)
    assert said.ended["reason"] == "bad_frame"


BAD_STARTS: dict[str, tuple[str | bytes, str]] = {
    "audio": (b"\0\0", "wrong_order"),
    "end": (END, "wrong_order"),
    "no json": ("hello", "bad_json"),
    "a list": ("[]", "bad_message"),
    "no rate": ('{"type": "start"}', "bad_message"),
    "unknown field": (start(gain=2), "bad_message"),
    "text for a number": (start(sample_rate_hz="16000"), "bad_message"),
    "not finite": (start(hop_seconds=float("nan")), "bad_message"),
    "rate": (start(sample_rate_hz=100), "bad_option"),
    "channels": (start(channels=0), "bad_option"),
    "hop": (start(hop_seconds=0.013), "bad_option"),
    "window": (start(window_seconds=90), "bad_option"),
    "smoothing": (start(smoothing_seconds=-1), "bad_option"),
    "label": (start(labels=["bored"]), "bad_option"),
    "model": (start(model="nonesuch"), "unknown_model"),
    "path of a model": (start(model="/etc/passwd"), "unknown_model"),
}


@pytest.mark.parametrize("name", BAD_STARTS)
def test_a_bad_start_is_refused_in_words(server: serving.Server, name: str) -> None:
    message, code = BAD_STARTS[name]
    said = talk(server, [message])
    (error,) = said.messages
    assert (error["type"], error["code"], error["fatal"]) == ("error", code, True)
    assert "wanted" in error["detail"] or "schema" in error["detail"] or "knows" in error["detail"]
    assert "\n" not in error["detail"]
    assert said.close_code == 4400


def test_predictions_come_while_the_voice_goes_on(server: serving.Server) -> None:
    """Each as soon as the samples of its hop are there, with what the resampler holds back."""
    with connect(server) as stream:
        stream.send(start())
        assert json.loads(stream.recv(10))["type"] == "started"
        hop, ahead = RATE_HZ // 4 + 1, RATE_HZ // 20
        stream.send(SHORT[:ahead].tobytes())
        for index in range(7):
            at = ahead + index * hop
            stream.send(SHORT[at : at + hop].tobytes())
            message = json.loads(stream.recv(10))
            assert (message["type"], message["index"]) == ("prediction", index)
            assert 0 <= message["lag_seconds"] < 1
        stream.send(END)


def test_a_client_that_vanishes_leaves_nothing_behind(server: serving.Server) -> None:
    before = server.figure('ser_streams_total{reason="disconnect"}')
    for _ in range(5):
        with contextlib.suppress(OSError), connect(server) as stream:
            stream.send(start())
            stream.send(SHORT[:30000].tobytes())
            stream.recv(10)
            stream.socket.shutdown(socket.SHUT_RDWR)
    server.log.wait_for("stream closed", 5, reason="disconnect")
    assert server.figure("ser_streams_open") == 0
    assert server.figure('ser_streams_total{reason="disconnect"}') == before + 5


def test_metrics_move(server: serving.Server) -> None:
    names = [
        'ser_predictions_total{state="speech"}',
        "ser_lag_seconds_count",
        'ser_batch_size_count{kind="network"}',
        'ser_batch_seconds_count{kind="gate"}',
        "ser_received_bytes_total",
        "ser_heard_seconds_total",
        'ser_streams_total{reason="end"}',
        'ser_stream_errors_total{code="bad_frame"}',
        'ser_http_requests_total{method="GET",route="/metrics",status="200"}',
    ]
    before = [server.figure(name) for name in names]
    said = talk(server, [start(), b"1", *blocks(SHORT, 5000), END])
    after = [server.figure(name) for name in names]
    assert all(late > early for early, late in zip(before, after, strict=True))
    speech = [p for p in said.predictions if p["state"] == "speech"]
    assert after[0] - before[0] == len(speech)
    assert after[4] - before[4] == SHORT.nbytes + 1


def test_an_unknown_or_no_subprotocol_is_taken_too(server: serving.Server) -> None:
    for offered in (None, ["chat"]):
        said = talk(server, [start(), END], subprotocols=offered)
        assert said.ended["reason"] == "end"


def test_a_client_that_sends_all_before_reading_gets_all(server: serving.Server) -> None:
    """A small receive buffer holds nothing back for ever: sender and reader may be two."""
    with connect(server, max_queue=4) as stream, ThreadPoolExecutor() as threads:
        reading = threads.submit(listen, stream, 0.5)  # all buffers between the two fill up
        stream.send(start(hop_seconds=0.05))
        for block in blocks(VOICE, 1 << 15):
            stream.send(block)
        stream.send(END)
        said = reading.result(60)
    assert said.predictions == offline(VOICE, hop_seconds=0.05)
