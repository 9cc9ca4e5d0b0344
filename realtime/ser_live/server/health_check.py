"""Health of a server from outside: for containers and service managers without a client of HTTP."""

import ssl
import sys
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from ser_live.server.settings import OWN_NAMES, PROGRAM, Settings
from ser_live.text import sanitize

_TIMEOUT_SECONDS = 4.0


def check_health(settings: Settings) -> int:
    """Ask the server that runs with these settings; return 0, or 1 and say what came."""
    host = OWN_NAMES.get(settings.host, settings.host)
    connection = HTTPConnection(host, settings.port, timeout=_TIMEOUT_SECONDS)
    if settings.certificate is not None:
        # The certificate is for the public name, and this is the machine itself.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = HTTPSConnection(host, settings.port, timeout=_TIMEOUT_SECONDS, context=context)
    try:
        with closing(connection):
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            came = f"{answer.status} {answer.reason}"
    except (OSError, HTTPException) as error:
        came = sanitize(error)
    if came == "200 OK":
        return 0
    print(f"{PROGRAM}: {host} port {settings.port} is not healthy: {came}", file=sys.stderr)
    return 1
