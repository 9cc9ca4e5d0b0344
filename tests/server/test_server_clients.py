"""The clients of docs/clients, run as their heads say: Python, Node, a page of another site."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from helpers import serving
from helpers.server_talk import RATE_HZ, VOICE, offline

CLIENTS = Path(__file__).parents[2] / "docs" / "clients"
TOKEN = "open-sesame-0123456789"

pytestmark = pytest.mark.integration


def node() -> list[str]:
    """Return the command of a Node that knows WebSockets; nothing: there is none."""
    if (program := shutil.which("node")) is None:
        return []
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    major, minor = map(int, told.stdout.strip().removeprefix("v").split(".")[:2])
    if major >= 22:
        return [program]
    return [program, "--experimental-websocket"] if (major, minor) >= (20, 10) else []


CLIENT_COMMANDS = {
    "python": [sys.executable, str(CLIENTS / "stream.py")],
    "node": [*node(), str(CLIENTS / "stream.mjs")],
}


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Server]:
    with serving.server("--token", TOKEN) as running:
        yield running


@pytest.fixture(params=CLIENT_COMMANDS)
def command(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "node" and not node():
        pytest.skip("no Node of 20.10 or later")
    return CLIENT_COMMANDS[request.param]


def run(
    command: list[str], *arguments: str, audio: bytes = b""
) -> "subprocess.CompletedProcess[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(serving.SOURCE_ROOT)}
    return subprocess.run(
        [*command, *arguments], input=audio, env=environment,
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip


def test_a_client_prints_what_the_engine_says(command: list[str], server: serving.Server) -> None:
    at_16k = soxr.resample(VOICE[:, 0], RATE_HZ, 16000)
    samples = (at_16k * 32767).astype("<i2")
    done = run(command, f"{server.url}/#token={TOKEN}", audio=samples.tobytes())
    assert done.returncode == 0, done.stderr
    assert f"{len(samples)} samples recognized" in done.stderr.decode()
    told = [line.split()[:2] for line in done.stdout.decode().splitlines()]
    wanted = [
        [f"{p['end_seconds']:.2f}", p["label"] or p["state"]]
        for p in offline(samples[:, np.newaxis], 16000)
        if p["changed"]
    ]
    assert told == wanted
    assert len(told) > 5


def test_a_client_that_is_refused_says_so(command: list[str], server: serving.Server) -> None:
    done = run(command, f"{server.url}/#token=wrong")
    assert done.returncode == 1
    assert done.stdout == b""
    assert server.url.partition("//")[2] in done.stderr.decode()


def test_a_client_without_a_right_address_says_so(command: list[str]) -> None:
    (line,) = run(command, "nonsense").stderr.decode().splitlines()
    assert "nonsense" in line
    assert "is no address of a server; wanted one like http://127.0.0.1:8321" in line


@pytest.fixture
def site() -> Iterator[str]:
    """Another site that has the page of the browser's client."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(CLIENTS))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_page_of_another_site_listens_where_it_may(site: str, tmp_path: Path) -> None:
    pytest.importorskip("selenium")
    from helpers import browser  # noqa: PLC0415

    if not browser.is_installed():
        pytest.skip("chromium is not installed")
    soundfile.write(tmp_path / "voice.wav", np.tile(VOICE, (4, 1)), RATE_HZ)
    page = f"{site}/browser.html?server=%s#token={TOKEN}"
    (tmp_path / "browser").mkdir()
    with (
        browser.Browser(tmp_path / "browser", tmp_path / "voice.wav") as window,
        serving.server("--token", TOKEN) as closed,
        serving.server("--token", TOKEN, "--origin", site) as server,
    ):
        window.get(page % closed.url)
        window.click("#start")
        window.wait_for("#label", f"start it with --origin {site}")
        window.get(page % f"{server.url}/")  # as it is printed
        window.click("#start")
        window.wait_for("#label", " %")
        window.click("#stop")
        window.wait_for("#label", "samples recognized")
        (ended,) = server.log.wait_for("stream closed")
        assert (ended["reason"], ended["dropped_samples"]) == ("end", 0)
        assert ended["processed_samples"] > 16000
