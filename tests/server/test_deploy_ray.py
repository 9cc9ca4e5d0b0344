"""Streams on two replicas of Ray Serve: the sample of docs/scale-out.md on this machine."""

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from helpers.server_talk import (
    END,
    RATE_HZ,
    VOICE,
    Talk,
    blocks,
    connect,
    offline,
    refusal,
    start,
)
from helpers.serving import FAST_MODEL, Log, Server

pytestmark = pytest.mark.long
FOLDER = Path(__file__).parents[2] / "docs" / "deploy"
SPOKEN = VOICE[: 4 * RATE_HZ]
WAIT_SECONDS = 240.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, int]]:
    """The sample with two replicas, and the port of Ray's figures."""
    ray = pytest.importorskip("ray")
    serve = pytest.importorskip("ray.serve")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER), *sys.path]))
    ours = {"SER_MODEL": FAST_MODEL, "SER_DRAIN_SECONDS": "2", "SER_IDLE_SECONDS": "900"}
    rays = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    for name, value in {**ours, **rays}.items():
        monkeypatch.setenv(name, value)
    port, figures_port = free_port(), free_port()
    ray.init(num_cpus=2, include_dashboard=False, _metrics_export_port=figures_port)
    try:
        serve.start(http_options={"port": port})
        deploy(2)
        until(lambda: "RUNNING" in [app.status for app in serve.status().applications.values()])
        yield Server(f"http://127.0.0.1:{port}", Log()), figures_port
    finally:
        serve.shutdown()
        ray.shutdown()


def deploy(replicas: int) -> None:
    """Deploy the sample as ``serve deploy`` does: another number of replicas restarts none."""
    from ray.serve.context import _get_global_client  # noqa: PLC0415 - an extra
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415

    deployments = [{"name": "Emotions", "num_replicas": replicas}]
    app = {"import_path": "ray_serve:app", "deployments": deployments}
    _get_global_client().deploy_apps(ServeDeploySchema(applications=[app]))


def streams_by_replica(port: int) -> dict[str, float]:
    """Return the open streams of each replica, as Ray tells them."""
    text = urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    lines = [line for line in text.splitlines() if line.startswith("ray_ser_streams_open{")]
    return {
        line.partition('replica="')[2].partition('"')[0]: float(line.rpartition(" ")[2])
        for line in lines
    }


def take(stream: ClientConnection, said: Talk) -> bool:
    """Take what has come, and tell whether the stream is over."""
    try:
        while True:
            said.messages.append(json.loads(stream.recv(0)))
    except TimeoutError:
        return False
    except ConnectionClosed:
        return True


def test_ten_streams_on_two_replicas_of_which_one_drains(
    running: tuple[Server, int],
) -> None:
    server, figures_port = running
    assert refusal(server, origin="https://elsewhere.example") == 403
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(connect(server)) for _ in range(10)]
        said = [Talk() for _ in streams]
        for stream in streams:
            for message in (start(), *blocks(SPOKEN, 4410)):
                stream.send(message)
        until(lambda: sum(streams_by_replica(figures_port).values()) == len(streams))
        shares = streams_by_replica(figures_port).values()
        assert len(shares) == 2
        assert min(shares) >= 1
        deploy(1)
        until(lambda: sum(map(take, streams, said)) in shares)
        for stream in streams:
            with contextlib.suppress(ConnectionClosed):
                stream.send(END)
        until(lambda: all(map(take, streams, said)))
    reasons = [talk.ended["reason"] for talk in said]
    assert reasons.count("draining") in shares
    assert reasons.count("draining") + reasons.count("end") == len(streams)
    told = [any(event["event"] == "draining" for event in talk.events) for talk in said]
    assert told == [reason == "draining" for reason in reasons]
    wanted = offline(SPOKEN)
    assert [talk.predictions == wanted for talk in said] == [True] * len(streams)
