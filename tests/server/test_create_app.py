"""The application alone, as other ASGI servers run it."""

import asyncio
import pickle
import subprocess
import sys

import httpx
import pytest
import uvicorn

from helpers.serving import SOURCE_ROOT
from ser_live.server import ServeApp, Settings, create_app

pytestmark = pytest.mark.integration

LIGHT = Settings(models=("emotion-light",))


def test_a_server_of_ones_own_starts_drains_and_closes_it() -> None:
    """Run uvicorn in a coroutine, as a program with other things to do would."""

    async def run() -> list[int]:
        app = create_app(LIGHT)
        assert isinstance(app, ServeApp)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.05)
        (port,) = {s.getsockname()[1] for one in server.servers for s in one.sockets}
        url = f"http://127.0.0.1:{port}/readyz"
        async with httpx.AsyncClient() as client:
            statuses = [(await client.get(url)).status_code]
            drained = app.begin_drain()
            assert app.begin_drain() is drained
            statuses.append((await client.get(url)).status_code)
        await asyncio.wrap_future(drained)
        server.should_exit = True
        await serving
        assert not app.streams.engine.is_alive
        return statuses

    assert asyncio.run(run()) == [200, 503]


def test_it_travels_to_another_process_by_its_name_and_settings() -> None:
    make, settings = pickle.loads(pickle.dumps((create_app, LIGHT)))
    assert make is create_app
    assert settings == LIGHT


def test_uvicorn_makes_it_itself() -> None:
    command = [sys.executable, "-m", "uvicorn", "--factory", "ser_live.server:create_app"]
    with subprocess.Popen(
        [*command, "--port", "0", "--app-dir", str(SOURCE_ROOT)],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            address = next(line for line in process.stderr if "running on" in line).split()[-5]
            assert httpx.get(f"{address}/readyz").json() == {"status": "ready"}
            assert "/v1/recognize" in httpx.get(f"{address}/openapi.json").json()["paths"]
        finally:
            process.terminate()
