"""The server for tests that speak to it over sockets: in a thread, or as the real process."""

import contextlib
import io
import json
import logging
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import soundfile
from numpy.typing import NDArray

from ser_live.server.observability import json_handler
from ser_live.server.settings import parse
from ser_live.server.uvicorn_server import Server as Running

SOURCE_ROOT = Path(__file__).parents[2] / "realtime"
FAST_MODEL = "emotion-light"
"""Served unless a test asks for another: real, and quick beside others that are shipped."""
START_SECONDS = 60.0
END_SECONDS = 30.0

_ADDRESS = re.compile(r"(https?://[^\s#]+?)/?(?:#token=(\S+))?(?=\s|$)")

Line = dict[str, Any]


class Log:
    """Lines that a server logs, to wait for."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._has_grown = threading.Condition()
        self.text = ""

    def write(self, text: str) -> None:
        """Take a line, as the stream of a handler."""
        with self._has_grown:
            self.text += text.rstrip("\n") + "\n"
            with contextlib.suppress(ValueError):  # of another program: a traceback, say
                self._lines.append(json.loads(text))
            self._has_grown.notify_all()

    def flush(self) -> None:
        """Do nothing: every line is there at once."""

    def lines(self, message: str | None = None) -> list[Line]:
        """Return the lines up to now, of one message or all."""
        with self._has_grown:
            return [one for one in self._lines if message in (None, one["message"])]

    def wait_for(
        self, message: str, count: int = 1, holding: str = "", **fields: object
    ) -> list[Line]:
        """Wait for so many lines of a message, with some words and values, and return them."""

        def found() -> list[Line]:
            wanted = {"message": message, **fields}
            lines = [one for one in self._lines if wanted.items() <= one.items()]
            lines = [one for one in lines if holding in str(one)]
            return lines if len(lines) >= count else []

        with self._has_grown:
            lines = self._has_grown.wait_for(found, END_SECONDS)
        assert lines, f"no {message!r} with {fields} in {self.text[-4000:]}"
        return lines


class Server:
    """A server that runs.

    Parameters
    ----------
    address : str
        As it is announced.
    log : Log
        Of it.
    """

    def __init__(self, address: str, log: Log) -> None:
        found = _ADDRESS.search(address)
        assert found is not None, f"no address in {address!r}; the log: {log.text[-4000:]}"
        self.log = log
        self.url, self.token = found[1], found[2]
        """Without a slash at the end: ``http://127.0.0.1:PORT``; the token that it asks for."""
        self.ws_url = self.url.replace("http", "ws", 1) + "/v1/stream"
        self.host = urlsplit(self.url).hostname or ""
        self.port = urlsplit(self.url).port or 0

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, **{"timeout": END_SECONDS, **options})

    def post(self, recording: Any, **options: Any) -> httpx.Response:
        """Send a whole recording."""
        url = f"{self.url}/v1/recognize"
        return httpx.post(url, content=recording, params=options, timeout=300)

    def recognized(self, recording: bytes, **options: Any) -> dict[str, Any]:
        """Return what it gives for a whole recording."""
        answer = self.post(recording, **options)
        assert answer.status_code == 200
        told: dict[str, Any] = answer.json()
        return told

    def figure(self, name: str) -> float:
        """Read one of its metrics, as ``name{label="value"}``; 0 if it is not told."""
        lines = self.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith(f"{name} ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0


class ServerThread(Server):
    """A server in a thread of this process, by sockets all the same."""

    def __init__(self, address: str, log: Log, running: Running) -> None:
        super().__init__(address, log)
        self.running = running


class ServerProcess(Server):
    """The real ``ser-serve``."""

    def __init__(self, address: str, log: Log, process: "subprocess.Popen[str]") -> None:
        super().__init__(address, log)
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def terminate(self) -> None:
        """Ask it to end, as a service manager does."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = END_SECONDS) -> int:
        """Wait for its end and return the exit code."""
        return self.process.wait(seconds)


@contextlib.contextmanager
def server(*options: object, model: str | None = FAST_MODEL) -> Iterator[ServerThread]:
    """Run a server with further options in a thread; without a model it has its own default."""
    log, addresses = Log(), queue.SimpleQueue[str]()
    with _logged_to(log):
        running = Running(parse(["--port", "0", *_words(options, model)]), addresses.put)
        thread = threading.Thread(target=running.serve_until_stopped)
        thread.start()
        try:
            yield ServerThread(addresses.get(timeout=START_SECONDS), log, running)
        finally:
            running.should_exit = True
            thread.join(END_SECONDS)
            assert not thread.is_alive()


@contextlib.contextmanager
def _logged_to(log: Log) -> Iterator[None]:
    handler = json_handler(log)
    loggers = [logging.getLogger("ser_live"), logging.getLogger("uvicorn.error")]
    loggers[0].setLevel(logging.INFO)
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


@contextlib.contextmanager
def process(
    *options: object, model: str | None = FAST_MODEL, ends_well: bool = True
) -> Iterator[ServerProcess]:
    """Start ``ser-serve --port 0`` with further options, and end it by its process id.

    Parameters
    ----------
    model : str or None
        Default model, unless the options name one; None: that of the server.
    ends_well : bool
        It must not crash: still run at the end, or have ended with 0.
    """
    log = Log()
    with subprocess.Popen(
        [sys.executable, "-m", "ser_live.server", "--port", "0", *_words(options, model)],
        env={**os.environ, "PYTHONPATH": str(SOURCE_ROOT)},
        stdin=subprocess.DEVNULL,  # as a service, whatever terminal the tests have
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        reader = threading.Thread(target=_read, args=(started.stderr, log))
        reader.start()
        watchdog = threading.Timer(START_SECONDS, started.kill)
        watchdog.start()
        try:
            address = started.stdout.readline()
            watchdog.cancel()
            yield ServerProcess(address, log, started)
            if ends_well:
                assert started.poll() in (None, 0), log.text[-4000:]
        finally:
            watchdog.cancel()
            started.terminate()
            try:
                started.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                started.kill()
            reader.join()


def _words(options: Iterable[object], model: str | None) -> list[str]:
    words = [str(option) for option in options]
    if "--drain-seconds" not in words:
        words += ["--drain-seconds", "0"]  # else each server waits for what a test left open
    return words if model is None or "--model" in words else [*words, "--model", model]


def recording(samples: NDArray[Any], rate_hz: int, subtype: str = "FLOAT") -> bytes:
    """Return a WAV file of samples."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, subtype, format="WAV")
    return file.getvalue()


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate of a name and of this machine, signed by itself, and its key."""
    files = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"]
    command += ["-keyout", str(files[1]), "-out", str(files[0])]
    subprocess.run(command, check=True, capture_output=True)
    return files


def _read(stream: Iterable[str], log: Log) -> None:
    for line in stream:
        log.write(line)
