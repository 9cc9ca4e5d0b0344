"""The check of a container's health: the image's own command, against the real process."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers import serving
from helpers.in_process import call
from ser_live.server import main

pytestmark = pytest.mark.integration

DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"


@contextmanager
def started(folder: Path, *options: object) -> Iterator[tuple[int, dict[str, str]]]:
    """Run ``ser-serve`` as its installed script does; return its process and the environment."""
    script = folder / "ser-serve"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nfrom ser_live.server import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(serving.SOURCE_ROOT)}
    words = ["ser-serve", "--host", "0.0.0.0", *map(str, options)]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"ser-serve: http")
            yield process.pid, environment
        finally:
            process.terminate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["http", "https"])
def test_it_follows_the_options_of_the_server(tmp_path: Path, is_encrypted: bool) -> None:
    (folder := tmp_path / "a folder").mkdir()
    options: list[object] = ["--port", free_port(), "--allow-host", "public.example"]
    options += ["--model", serving.FAST_MODEL]
    if is_encrypted:
        certificate, key = serving.certificate(folder, "public.example")
        options += ["--certificate", certificate, "--key", key]
    (command,) = re.findall(r"^HEALTHCHECK [^\n]*\\\n +CMD (.*)$", DOCKERFILE.read_text(), re.M)
    assert "/proc/1/" in command
    with started(tmp_path, *options) as (pid, environment):
        command = command.replace("/proc/1/", f"/proc/{pid}/")
        cmdline = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert subprocess.run(["sh", "-c", command], env=environment, check=False).returncode == 0
    # With the options of a server that has ended:
    (tmp_path / "cmdline").write_bytes(cmdline)
    command = command.replace(f"/proc/{pid}/cmdline", str(tmp_path / "cmdline"))
    ended = subprocess.run(
        ["sh", "-c", command], env=environment, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert str(options[1]) in ended.stderr


def test_what_answers_otherwise_is_not_healthy() -> None:
    with serving.server() as server:
        server.running.app.streams.engine.close()
        done = call("--check-health", "--port", server.port, main=main)
    assert done.returncode == 1
    assert "503" in done.stderr


def test_a_port_that_is_not_known_is_a_mistake() -> None:
    done = call("--check-health", "--port", 0, main=main)
    assert done.returncode == 2
    assert "give the port that the server printed" in done.stderr
