"""The sample of docs/deploy/nginx.conf with the real nginx, before two real servers."""

import asyncio
import contextlib
import signal
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import soxr

from helpers import nginx, serving
from ser_live import Event, Prediction, StreamRecognizer
from ser_live.client import AsyncStream, Ended, Item, ServerError, Stream, recognize_file
from ser_live.testing import demo_voice

pytestmark = [pytest.mark.integration, nginx.is_installed]

RATE_HZ = 16000
BLOCK, HOP = RATE_HZ // 10, RATE_HZ // 4
VOICE = np.round(demo_voice(RATE_HZ)[: 8 * RATE_HZ] * 32767).astype(np.int16)
# Between two points of the grid: something is always on its way when a replica goes.
HALF = 4 * RATE_HZ + BLOCK
REPLICA = ("--root-path", "/ser", "--trusted-proxy", "127.0.0.1", "--allow-host", nginx.NAME)
SECONDS = 60.0


@contextlib.contextmanager
def replicas(*options: object) -> Iterator[list[serving.ServerProcess]]:
    with contextlib.ExitStack() as all_of_them:
        yield [
            all_of_them.enter_context(serving.process(*REPLICA, *options, ends_well=False))
            for _ in range(2)
        ]


@pytest.fixture(scope="module")
def pair() -> Iterator[list[serving.ServerProcess]]:
    with replicas("--max-streams", 2, "--max-upload-bytes", 4_000_000) as both:
        yield both


@pytest.fixture(scope="module")
def proxy(
    pair: Sequence[serving.ServerProcess], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[nginx.Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    with nginx.running(folder, [one.port for one in pair]) as running:
        yield running


@pytest.fixture(autouse=True)
def trust(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clients trust the certificate as any program of the machine would."""
    if "proxy" in request.fixturenames:
        certificate = request.getfixturevalue("proxy").certificate
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


def get(proxy: nginx.Nginx, path: str, **headers: str) -> httpx.Response:
    trusting = ssl.create_default_context(cafile=str(proxy.certificate))
    url = f"https://127.0.0.1:{proxy.port}{path}"
    return httpx.get(url, headers=headers, verify=trusting, timeout=SECONDS)


def recognized(samples: Any, at_sample: int = 0) -> list[Prediction]:
    """Return what a recognizer gives for samples that begin at a place of the stream."""
    recognizer = StreamRecognizer(serving.FAST_MODEL)
    recognizer.skip(at_sample)
    return recognizer.process(samples) + recognizer.flush()


def predictions(items: Sequence[Item]) -> list[Prediction]:
    return [item for item in items if isinstance(item, Prediction)]


def gaps(items: Sequence[Item]) -> list[Event]:
    return [item for item in items if isinstance(item, Event) and item.kind == "gap"]


def test_the_page_and_its_paths(proxy: nginx.Nginx) -> None:
    lost = get(proxy, "/ser")
    assert (lost.status_code, lost.headers["location"]) == (301, f"{proxy.url}/")
    assert "page.js" in get(proxy, "/ser/").text
    assert get(proxy, "/ser/openapi.json").json()["servers"] == [{"url": "/ser"}]
    assert get(proxy, "/ser/readyz").status_code == 200
    assert get(proxy, "/ser/metrics").status_code == 404
    assert get(proxy, "/ser/v1/stream").status_code == 426


def test_the_log_names_the_client_and_why_it_was_refused(
    pair: Sequence[serving.ServerProcess], tmp_path: Path
) -> None:
    with nginx.running(tmp_path, [pair[0].port]) as proxy:  # whose log it is, is known then
        answer = get(proxy, "/ser/v1/schema", Origin="https://evil.example")
    assert answer.status_code == 403
    request_id = answer.headers["x-request-id"]
    (line,) = pair[0].log.wait_for("request", request_id=request_id, reason="origin")
    assert line["client"] == "127.0.0.1"


def test_a_stream_is_what_the_recognizer_gives(proxy: nginx.Nginx) -> None:
    with Stream(proxy.url) as stream:
        stream.send(VOICE)
        stream.end()
        assert predictions(list(stream)) == recognized(VOICE)


def test_streams_go_past_a_full_replica_to_the_other(
    proxy: nginx.Nginx, pair: Sequence[serving.ServerProcess]
) -> None:
    for one in pair:
        if opened := len(one.log.lines("stream opened")):
            one.log.wait_for("stream closed", opened)
    with contextlib.ExitStack() as open_ones:
        for _ in range(4):
            open_ones.enter_context(Stream(proxy.url))
        assert [one.figure("ser_streams_open") for one in pair] == [2, 2]
        with pytest.raises(ServerError, match="2 of 2 streams are open"):
            Stream(proxy.url).__enter__()


def test_uploads_beyond_what_nginx_takes_by_itself(proxy: nginx.Nginx, tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    soundfile.write(path, soxr.resample(VOICE, RATE_HZ, 48000).repeat(4), 48000)
    assert path.stat().st_size > 2_000_000
    assert recognize_file(path, proxy.url, hop_seconds=1.0).seconds == pytest.approx(32, abs=0.1)
    soundfile.write(path, soxr.resample(VOICE, RATE_HZ, 48000).repeat(8), 48000)
    with pytest.raises(ServerError, match="4000000") as refused:
        recognize_file(path, proxy.url)
    assert refused.value.code == "too_large"


@dataclass
class Told:
    """All that a client of one stream was told."""

    stream_id: str
    """That it began with."""
    items: list[Item]
    ended: Ended


async def call(url: str, is_half_told: asyncio.Barrier) -> Told:
    """Send the voice, and listen, with a break in the middle for all of them to come there."""
    async with AsyncStream(url, reconnect_seconds=SECONDS) as stream:
        stream_id, items = stream.started.stream_id, list[Item]()

        async def listen() -> None:
            async for item in stream:
                items.append(item)

        listening = asyncio.create_task(listen())
        await stream.send(VOICE[:HALF])
        while len(predictions(items)) < HALF // HOP:
            await asyncio.sleep(0.05)
        await is_half_told.wait()
        for at in range(HALF, len(VOICE), BLOCK):
            await stream.send(VOICE[at : at + BLOCK])
            await asyncio.sleep(0.05)  # for so long in all that a drain ends before
        await stream.end()
        await listening
        return Told(stream_id, items, stream.ended)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_replica_goes_in_the_middle_of_ten_streams(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def calls(url: str, going: serving.ServerProcess) -> list[Told]:
        is_half_told = asyncio.Barrier(11)
        async with asyncio.timeout(3 * SECONDS), asyncio.TaskGroup() as group:
            ten = [group.create_task(call(url, is_half_told)) for _ in range(10)]
            await is_half_told.wait()
            going.process.send_signal(number)
        return [await one for one in ten]

    with replicas("--drain-seconds", 0.3) as both:
        with nginx.running(tmp_path, [one.port for one in both]) as proxy:
            monkeypatch.setenv("SSL_CERT_FILE", str(proxy.certificate))
            told = asyncio.run(calls(proxy.url, both[0]))
        gone = {line["stream_id"] for line in both[0].log.lines("stream opened")}
    whole = recognized(VOICE)
    assert len(gone) == 5
    for one in told:
        found = predictions(one.items)
        assert one.ended.seconds == len(VOICE) / RATE_HZ
        if one.stream_id not in gone:
            assert (found, gaps(one.items)) == (whole, [])
            assert one.ended.received_samples == one.ended.processed_samples == len(VOICE)
            continue
        (gap,) = gaps(one.items)
        resumed_at = one.ended.skipped_samples
        assert one.ended.received_samples == len(VOICE) - resumed_at
        # Nothing that was answered is missing, and nothing that was not is kept quiet.
        before = [item for item in found if item.end_seconds <= gap.at_seconds]
        assert before == recognized(VOICE[: round(gap.at_seconds * RATE_HZ)])
        assert found == before + recognized(VOICE[resumed_at:], resumed_at)
        missing_seconds = float(gap.detail.partition(" s are missing")[0])
        assert missing_seconds == pytest.approx(resumed_at / RATE_HZ - gap.at_seconds, abs=1e-3)
        assert missing_seconds > 0 or number == signal.SIGTERM
