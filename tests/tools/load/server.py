"""The server under test: one that already runs, or one of our own."""

import asyncio
import contextlib
import http.client
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode
from websockets.typing import Origin, Subprotocol

from helpers import serving
from ser_live.client.address import Address
from ser_live.errors import SerError
from ser_live.stream_protocol import SUBPROTOCOL
from ser_live.text import sanitize
from tools.machine import Usage, usage
from tools.report import Figure, none

_ANSWER_SECONDS = 10.0
_CONNECT_SECONDS = 30.0
_IDLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server to measure."""

    address: Address
    pid: int | None
    """None: unknown, so its process cannot be looked at."""
    log: serving.Log | None
    """Lines that it logs; None: it is not our own."""

    def usage(self) -> Usage:
        """Return what its process uses, which takes no part in telling it."""
        return usage(self.pid)

    async def usage_when_idle(self) -> Usage:
        """Wait until no stream is open and its handles stay the same, and return its usage."""
        deadline, before = time.monotonic() + _IDLE_SECONDS, self.usage()
        while time.monotonic() < deadline:
            await asyncio.sleep(1.0)
            now = self.usage()
            if before.handles == now.handles and not self.gauge("ser_streams_open"):
                break
            before = now
        return self.usage()

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of a GET; status 0: no answer in time."""
        address = self.address
        asking = http.client.HTTPConnection(address.host, address.port, timeout=_ANSWER_SECONDS)
        try:
            asking.request("GET", address.folder + path, headers=address.headers)
            response = asking.getresponse()
            return response.status, response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, sanitize(error)
        finally:
            asking.close()

    def is_healthy(self) -> bool:
        """Tell whether it answers ``/healthz``."""
        return self.get("/healthz")[0] == HTTPStatus.OK

    def gauge(self, name: str) -> int | None:
        """Return a number of ``/metrics``; None: it does not tell."""
        found = re.search(rf"^{name} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return None if found is None else round(float(found[1]))

    def model(self) -> str:
        """Return the name of its default model."""
        status, text = self.get("/v1/models")
        if status != HTTPStatus.OK:
            said = sanitize(text)
            raise SerError(f"{self.address}: GET /v1/models gave status {status} ({said})")
        return next(str(model["name"]) for model in json.loads(text) if model.get("default"))

    def log_errors(self) -> dict[str, int]:
        """Return the errors that it logged, and how often each."""
        lines = [] if self.log is None else self.log.text.splitlines()
        return dict(Counter(error for line in lines if (error := _logged_error(line)) is not None))

    def figures_at_end(self) -> list[Figure]:
        """Return the figures that are asked of every server: its log, and whether it answers."""
        is_healthy = self.is_healthy()
        return [
            none("errors in the server's log", self.log_errors()),
            Figure("answers at the end", is_healthy, "", "yes", is_healthy),
        ]

    async def connect(
        self,
        origin: str | None = None,
        headers: dict[str, str] | None = None,
        subprotocols: tuple[str, ...] = (SUBPROTOCOL,),
    ) -> ClientConnection:
        """Open a WebSocket whose transport takes any bytes and may be cut at any moment.

        Parameters
        ----------
        origin : str or None
            Header of that name.
        headers : dict or None
            Instead of those of the address, which hold its token.
        subprotocols : tuple of str
            Offered in the handshake.
        """
        return await connect(
            self.address.stream_url,
            origin=None if origin is None else Origin(origin),
            additional_headers=self.address.headers if headers is None else headers,
            subprotocols=[Subprotocol(name) for name in subprotocols],
            compression=None,
            proxy=None,
            open_timeout=_CONNECT_SECONDS,
            ping_interval=None,
            max_queue=None,
        )


@contextlib.contextmanager
def server_at(url: str | None, pid: int | None, *options: str) -> Iterator[Server]:
    """Take the server at an address, or start one on a free port of this machine.

    Parameters
    ----------
    url : str or None
        Its address, its token included; None: start one.
    pid : int or None
        Its process, if it runs on this machine.
    *options : str
        Of ``ser-serve``, for one that is started.
    """
    if url is None:
        with serving.process(*options, model=None, ends_well=False) as own:
            yield Server(Address.parse(own.url, own.token), own.pid, own.log)
        return
    server = Server(Address.parse(url), pid, None)
    if server.address.is_secure:
        raise SerError(f"{server.address}: wanted plain http, as the server itself speaks it")
    status, text = server.get("/healthz")
    if status != HTTPStatus.OK:
        raise SerError(f"{server.address}: no healthy server there: status {status} ({text})")
    yield server


def frame(data: bytes, opcode: Opcode = Opcode.BINARY, is_last: bool = True) -> bytes:
    """Return a WebSocket frame as bytes, to be sent often, in part or beside others."""
    return Frame(opcode, data, is_last).serialize(mask=True)


def text_frame(message: Any) -> bytes:
    """Return the frame of a text, or of a message as JSON."""
    text = message if isinstance(message, str) else json.dumps(message)
    return frame(text.encode(), Opcode.TEXT)


def _logged_error(line: str) -> str | None:
    """Return the error that a line of the log tells of: what happened, and the end of its trace."""
    try:
        record = json.loads(line)
        if str(record["level"]).lower() not in ("error", "critical"):
            return None
        last = str(record.get("traceback") or "").strip().rpartition("\n")[2]
        return sanitize(f"{record['message']} {last}")
    except (ValueError, KeyError, TypeError):
        return sanitize(line)  # only records belong there: this is a traceback or a warning
