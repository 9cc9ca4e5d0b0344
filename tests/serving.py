"""The real ``ser-serve`` as a process on a free port, for tests that speak to it over sockets."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SOURCE_ROOT = Path(__file__).parent.parent / "realtime"
START_SECONDS = 60.0
END_SECONDS = 30.0

_ADDRESS = re.compile(r"(https?://[^\s#]+?)/?(?:#token=(\S+))?(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs."""

    url: str
    """Without a slash at the end: ``http://127.0.0.1:PORT``."""
    token: str | None
    """What it asks for, if anything."""
    process: "subprocess.Popen[str]"
    log_path: Path

    @property
    def ws_url(self) -> str:
        """Where streams go: ``ws://127.0.0.1:PORT/v1/stream``."""
        return self.url.replace("http", "ws", 1) + "/v1/stream"

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> list[dict[str, Any]]:
        """What it has logged up to now, a record per line."""
        return [json.loads(line) for line in self.log_path.read_text("utf-8").splitlines()]

    def terminate(self) -> None:
        """Ask it to end, as a service manager does."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = END_SECONDS) -> int:
        """Wait for its end and give the exit code."""
        return self.process.wait(seconds)


@contextlib.contextmanager
def server(
    *options: object, environment: dict[str, str] | None = None, ends_well: bool = True
) -> Iterator[Server]:
    """Start ``ser-serve --port 0`` with further options, and end it by its process id.

    Parameters
    ----------
    environment : dict or None
        Variables beside those of this process.
    ends_well : bool
        It must not crash: still run at the end, or have ended with 0.
    """
    with tempfile.TemporaryDirectory() as folder:
        log_path = Path(folder) / "stderr.jsonl"
        with log_path.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "ser_live.server", "--port", "0", *map(str, options)],
                env={**os.environ, "PYTHONPATH": str(SOURCE_ROOT), **(environment or {})},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            url, token = _address(process, log_path)
            yield Server(url, token, process, log_path)
            if ends_well:
                assert process.poll() in (None, 0), log_path.read_text()[-4000:]
        finally:
            _end(process)


def _address(process: "subprocess.Popen[str]", log_path: Path) -> tuple[str, str | None]:
    """Read the line that says where the server is."""
    assert process.stdout is not None
    watchdog = threading.Timer(START_SECONDS, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline().strip()
    finally:
        watchdog.cancel()
    found = _ADDRESS.search(line)
    assert found is not None, f"no address in {line!r}; the log: {log_path.read_text()[-4000:]}"
    return found[1], found[2]


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
