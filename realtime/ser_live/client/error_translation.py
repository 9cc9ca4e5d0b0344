"""Error translation: what fails between client and server becomes one line each."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from ser_live.client.address import Address
from ser_live.client.messages import ServerError
from ser_live.errors import SerError
from ser_live.stream_protocol import BAD_START, CLOSE_CODES
from ser_live.text import sanitize

# What a close frame says, where no error message came through before it.
_CLOSE_REASONS = {code: reason for reason, code in CLOSE_CODES.items() if reason != "end"} | {
    1008: "policy",
    BAD_START: "bad_message",
}
_STATUS_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    413: "too_large",
    415: "no_audio",
    422: "bad_option",
    429: "rate_limit",
    500: "internal",
    503: "overloaded",
}


@contextlib.contextmanager
def required_package(package: str) -> Iterator[None]:
    """Turn a missing package into a `SerError`."""
    try:
        yield
    except ImportError as error:
        raise SerError(
            f"a stream to a server needs the package {package} ({error}): pip install {package}"
        ) from error


@contextlib.contextmanager
def translated_errors(address: Address, waits: bool = True) -> Iterator[None]:
    """Turn errors of the ``websockets`` library into a `SerError`.

    Parameters
    ----------
    address : Address
        Of the server.
    waits : bool
        The caller waits, so a TimeoutError means that the server did not answer.
    """
    from websockets.exceptions import (  # noqa: PLC0415 - slow to load
        ConnectionClosed,
        InvalidStatus,
        WebSocketException,
    )

    try:
        yield
    except InvalidStatus as error:
        response = error.response
        raise refused(address, response.status_code, bytes(response.body or b"")) from error
    except ConnectionClosed as error:
        raise _closed(address, error) from error
    except TimeoutError as error:
        if not waits:
            raise
        raise SerError(f"{address}: no answer in time; is that a server of ser-live?") from error
    except OSError as error:
        raise unreachable(address, error) from error
    except WebSocketException as error:
        raise SerError(
            f"{address}: does not speak WebSocket as wanted ({sanitize(error)}); "
            "is that a server of ser-live?"
        ) from error


def unreachable(address: Address, error: Exception) -> SerError:
    """Return the error for a server that cannot be reached."""
    reason = getattr(error, "strerror", None) or error
    return SerError(f"{address}: cannot reach the server ({sanitize(reason)}); does ser-serve run?")


def refused(address: Address, status: int, body: bytes) -> ServerError:
    """Return the error that an HTTP answer stands for, from its ``problem+json`` if it has one."""
    problem = _problem(body)
    detail = problem.get("detail") or problem.get("title") or f"HTTP status {status}"
    code = problem.get("code") or _STATUS_CODES.get(status, f"http_{status}")
    return ServerError(str(code), f"{address}: {detail}")


def _problem(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        problem = json.loads(body)
        if isinstance(problem, dict):
            return problem
    return {}


def _closed(address: Address, error: Any) -> ServerError:
    received = error.rcvd
    if received is None:
        return ServerError("connection_lost", f"{address}: the connection was lost")
    code = _CLOSE_REASONS.get(received.code, f"close_{received.code}")
    reason = f": {received.reason}" if received.reason else ""
    return ServerError(code, f"{address}: the server closed the stream{reason}")
