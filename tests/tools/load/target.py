"""The server that is measured: one that runs already, or one of our own."""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_live.client.address import Address
from ser_live.errors import SerError
from ser_live.text import sanitize
from tools import process_usage

_START_SECONDS = 60.0
_END_SECONDS = 30.0
_ANSWER_SECONDS = 10.0
_ADDRESS = re.compile(r"https?://\S+")
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{.*\})? (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Look:
    """What the server's process used at one moment; None is what nobody tells."""

    at_seconds: float
    resident_bytes: int | None
    processor_seconds: float | None
    threads: int | None
    handles: int | None
    tasks: int | None
    """Of its event loop."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server to measure."""

    address: Address
    pid: int | None
    """None: nobody told."""
    log_path: Path | None
    """What it logs; None: it is not ours."""
    process: "subprocess.Popen[str] | None" = None

    def look(self, with_tasks: bool = False) -> Look:
        """Look at its process, which takes part only in telling its tasks."""
        pid = self.pid or 0
        return Look(
            at_seconds=time.monotonic(),
            resident_bytes=process_usage.resident_bytes(pid),
            processor_seconds=process_usage.processor_seconds(pid),
            threads=process_usage.threads(pid),
            handles=process_usage.handles(pid),
            tasks=self._tasks() if with_tasks else None,
        )

    def is_alive(self) -> bool:
        """It still runs, as far as anybody knows."""
        return self.process is None or self.process.poll() is None

    def get(self, path: str) -> tuple[int, str]:
        """Ask over HTTP; status 0: no answer in time."""
        connection = http.client.HTTPConnection(
            self.address.host, self.address.port, timeout=_ANSWER_SECONDS
        )
        try:
            connection.request("GET", self.address.folder + path, headers=self.address.headers)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, sanitize(error)
        finally:
            connection.close()

    def gauges(self) -> dict[str, float]:
        """Give what ``/metrics`` tells, summed over labels; nothing where there is none."""
        status, text = self.get("/metrics")
        found: dict[str, float] = {}
        if status == http.HTTPStatus.OK:
            for name, value in _SAMPLE.findall(text):
                with contextlib.suppress(ValueError):
                    found[name] = found.get(name, 0.0) + float(value)
        return found

    def _tasks(self) -> int | None:
        told = [value for name, value in self.gauges().items() if name.endswith("_tasks")]
        return int(told[0]) if told else None

    def model(self) -> str:
        """Give the name of its default model."""
        status, text = self.get("/v1/models")
        if status != http.HTTPStatus.OK:
            raise SerError(
                f"{self.address}: GET /v1/models gave status {status} ({sanitize(text)})"
            )
        return next(str(model["name"]) for model in json.loads(text) if model.get("default"))

    def log_errors(self) -> dict[str, int]:
        """Give the errors of its own that it has logged, and how often each."""
        if self.log_path is None:
            return {}
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return dict(Counter(error for line in lines if (error := _error(line)) is not None))


def _error(line: str) -> str | None:
    """Give the error that a line of the log tells of: what happened, and the end of its trace."""
    try:
        record = json.loads(line)
        if str(record["level"]).lower() not in ("error", "critical"):
            return None
        last = str(record.get("traceback") or "").strip().rpartition("\n")[2]
        return sanitize(f"{record['message']} {last}")
    except (ValueError, KeyError, TypeError):
        return sanitize(line)  # nothing but records belongs there: a traceback, a warning of Python


@contextlib.contextmanager
def target_of(
    server: str | None, pid: int | None, token: str | None, options: Sequence[str]
) -> Iterator[Target]:
    """Take the server at an address, or start one.

    Parameters
    ----------
    server : str or None
        Its address; None: start one, on a free port of this machine.
    pid : int or None
        Its process, if it runs on this machine.
    token : str or None
        What opens it.
    options : sequence of str
        Of ``ser-serve``, for one that is started.
    """
    if server is not None:
        target = Target(Address.parse(server, token), pid, None)
        if target.address.is_secure:
            raise SerError(f"{target.address}: wanted plain http, as the server itself speaks it")
        status, text = target.get("/healthz")
        if status != http.HTTPStatus.OK:
            raise SerError(f"{target.address}: no healthy server there: status {status} ({text})")
        yield target
        return
    with tempfile.TemporaryDirectory() as folder:
        log_path = Path(folder) / "server.jsonl"
        with log_path.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "ser_live.server", "--port", "0", *options],
                stdout=subprocess.PIPE, stderr=log, text=True, env=_environment(),
            )  # fmt: skip
        try:
            yield Target(_address_of(process, log_path), process.pid, log_path, process)
        finally:
            _end(process)


def _environment() -> dict[str, str]:
    """Let it find the same packages."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _address_of(process: "subprocess.Popen[str]", log_path: Path) -> Address:
    """Read the line in which it says where it is."""
    assert process.stdout is not None
    watchdog = threading.Timer(_START_SECONDS, process.kill)
    watchdog.start()
    try:
        found = _ADDRESS.search(process.stdout.readline())
    finally:
        watchdog.cancel()
    if found is None:
        process.wait()
        said = log_path.read_text(encoding="utf-8", errors="replace").strip()[-400:]
        raise SerError(f"the server did not start: {sanitize(said) or 'it said nothing'}")
    return Address.parse(found[0])


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
