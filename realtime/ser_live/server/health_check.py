"""Health of a server from outside: for containers and service managers without a client of HTTP."""

import ssl
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from ser_live.text import sanitize

_TIMEOUT_SECONDS = 4.0


def check_health(host: str, port: int, *, is_secure: bool) -> str:
    """Ask a server on this machine; return nothing if it is healthy, or else what came."""
    connection = HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
    if is_secure:
        # The certificate is for the public name, and this is the machine itself.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = HTTPSConnection(host, port, timeout=_TIMEOUT_SECONDS, context=context)
    try:
        with closing(connection):
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            return "" if answer.status == 200 else f"{answer.status} {answer.reason}"
    except (OSError, HTTPException) as error:
        return sanitize(error) or type(error).__name__
